// Package content applies the content rules (package rules) to a message. Each rule is a symbol of its own.
package content

import (
	"context"
	"strings"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/rules"
)

// Settings are the filter's settings.
type Settings struct {
	// MaxDepth, MaxParts and MaxText (octets) are how far a message is read.
	MaxDepth int `toml:"max_depth"`
	MaxParts int `toml:"max_parts"`
	MaxText  int `toml:"max_text"`
	// Outbound says whether mail of our own users is looked at, too.
	Outbound bool `toml:"outbound"`
}

func defaults() Settings {
	return Settings{MaxDepth: mimeview.DefaultDepth, MaxParts: mimeview.DefaultParts, MaxText: mimeview.DefaultText, Outbound: true}
}

// limitSymbol is the one symbol that is no rule.
const limitSymbol = "MIME_LIMIT"

// Spec is what is known of the filter when it works with these rules.
func Spec(set *rules.Set) filters.Spec {
	symbols := []filters.Symbol{{Name: limitSymbol, Score: 2, Help: "The message has more parts, levels or text than are read"}}
	for _, s := range set.Symbols() {
		help := s.Describe
		if help == "" {
			help = "Content rule of " + s.File
		}
		symbols = append(symbols, filters.Symbol{Name: s.Name, Score: s.Score, Help: help})
	}
	return filters.Spec{
		Name:     "content",
		Help:     "Applies the content rules to header, text and links.",
		Stages:   mail.StageMessage,
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
	v := mimeview.New(tx.Message, mimeview.Options{Depth: f.settings.MaxDepth, Parts: f.settings.MaxParts, Text: f.settings.MaxText})
	if err := v.Err(); err != nil {
		return nil, err
	}
	var found []filters.Finding
	if limits := v.Limits(); len(limits) > 0 {
		found = append(found, filters.Finding{Symbol: limitSymbol, Evidence: strings.Join(limits, ", ")})
	}
	for _, h := range f.set.Match(rules.Input{View: v, EnvelopeFrom: tx.From.String()}) {
		found = append(found, filters.Finding{Symbol: h.Rule, Evidence: filters.Printable(h.Evidence)})
	}
	return found, nil
}
