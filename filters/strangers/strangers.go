// Package strangers weighs who sends a document that acts by itself: of somebody to whom the recipient writes a macro or a
// page with script is daily work, of a stranger it is held until somebody has looked.
package strangers

import (
	"context"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
)

// active are the symbols that stand for content which acts when it is opened, without anything that would be odd in
// itself.
func active(symbol string) bool {
	switch symbol {
	case "ATTACHMENT_MACRO_AUTO", "ATTACHMENT_HTML_SCRIPT", "ATTACHMENT_SVG_SCRIPT", "ATTACHMENT_DDE":
		return true
	}
	return false
}

// known are those that stand for a sender whom the recipient knows and who is proven, or for an answer to a message of
// which only its recipients know the Message-ID.
func known(symbol string) bool { return symbol == "KNOWN_SENDER" || symbol == "REPLY" }

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:   "strangers",
	Help:   "Holds macros that run by themselves, and pages and pictures with script, unless the recipient has written to the sender before.",
	Stages: mail.StageMessage,
	Inline: true,
	After:  []string{"attachments", "correspondents"},
	Symbols: []filters.Symbol{
		{Name: "ATTACHMENT_ACTIVE_STRANGER", Score: 0, Action: filters.ActionQuarantine, Help: "A macro that runs by itself, a page or picture with script, or DDE, of a sender to whom the recipient has not written, or whom nothing proves"},
	},
	Settings: func() any { return &struct{}{} },
	New: func(section config.Section, _ filters.Env) (filters.Filter, error) {
		var none struct{}
		if err := section.Decode(&none); err != nil {
			return nil, err
		}
		return filter{}, nil
	},
}

type filter struct{}

// Inspect implements filters.Filter.
func (filter) Inspect(_ context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	if tx.Session.Outbound() {
		return nil, nil
	}
	var found []filters.Finding
	for _, f := range tx.AllFindings() {
		switch {
		case known(f.Symbol):
			return nil, nil
		case active(f.Symbol) && len(found) == 0:
			found = []filters.Finding{{Symbol: "ATTACHMENT_ACTIVE_STRANGER", Evidence: f.Symbol + " " + f.Evidence, Value: f.Value}}
		}
	}
	return found, nil
}
