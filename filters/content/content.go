// Package content applies the content rules (package rules) to a message. Each rule is a symbol of its own.
package content

import (
	"context"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/rules"
)

// Settings are the filter's settings.
type Settings struct {
	// Outbound says whether mail of our own users is looked at, too.
	Outbound bool `toml:"outbound"`
}

func defaults() Settings {
	return Settings{Outbound: true}
}

// Spec is what is known of the filter when it works with these rules.
func Spec(set *rules.Set) filters.Spec {
	var symbols []filters.Symbol
	for _, s := range set.Symbols() {
		help := s.Describe
		if help == "" {
			help = "Content rule of " + s.File
		}
		symbols = append(symbols, filters.Symbol{Name: s.Name, Score: s.Score, Help: help})
	}
	return filters.Spec{
		Name:   "content",
		Help:   "Applies the content rules to header, text and links.",
		Stages: mail.StageMessage, Content: true,
		Symbols:  symbols,
		Settings: func() any { s := defaults(); return &s },
		New: func(section config.Section, _ filters.Env) (filters.Filter, error) {
			s := defaults()
			if err := section.Decode(&s); err != nil {
				return nil, err
			}
			return filter{set, s}, nil
		},
	}
}

type filter struct {
	set      *rules.Set
	settings Settings
}

func (f filter) Inspect(_ context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	if tx.Session.Outbound() && !f.settings.Outbound {
		return nil, nil
	}
	v := mimeview.Of(tx.Message) // what of it is too much to read is MIME_LIMIT, of the filter mime
	if err := v.Err(); err != nil {
		return nil, err
	}
	var found []filters.Finding
	for _, h := range f.set.Match(rules.Input{View: v, EnvelopeFrom: tx.From.String()}) {
		found = append(found, filters.Finding{Symbol: h.Rule, Evidence: filters.Printable(h.Evidence)})
	}
	return found, nil
}
