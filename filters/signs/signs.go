// Package signs adds up the signs of phishing and fraud that other filters and content rules have found. Each is weak by
// itself and occurs in honest mail; several of different aspects together hardly ever do. What counts as a sign, how much,
// and which combinations count more is a table of text, signs.txt.
package signs

import (
	"context"
	_ "embed" // for the table
	"fmt"
	"strings"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
)

//go:embed signs.txt
var shipped string

// Settings are the filter's settings.
type Settings struct {
	// Lines are lines of the table besides the shipped ones, such as "sign MY_RULE demand 1 asks for a fax". A line about
	// a symbol replaces the shipped one; a strength of 0 takes it out.
	Lines []string `toml:"lines"`
}

// maxPoints is what all signs together can count: as the score of a symbol, so that a policy can weigh it.
const maxPoints = 8

const phishSigns = "PHISH_SIGNS"

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:   "signs",
	Help:   "Adds up weak signs of phishing and fraud: who the mail claims to be, where answers go, where it comes from, what it shows, where its links lead and what it wants.",
	Stages: mail.StageMessage, Content: true,
	Inline: true,
	After:  []string{"spf", "dkim", "dmarc", "correspondents", "reputation", "headers", "impersonation", "brands", "origin", "mime", "attachments", "links", "lures", "content", "campaigns"},
	Symbols: []filters.Symbol{
		{Name: phishSigns, Score: maxPoints, Help: "Several signs of phishing or fraud that are seldom together in honest mail"},
	},
	Settings: func() any { return &Settings{} },
	New:      newFilter,
}

type filter struct{ table *table }

func newFilter(section config.Section, _ filters.Env) (filters.Filter, error) {
	var s Settings
	if err := section.Decode(&s); err != nil {
		return nil, err
	}

	t := newTable()
	if err := t.read(strings.Split(shipped, "\n")); err != nil {
		return nil, fmt.Errorf("signs.txt: %w", err)
	}
	if err := t.read(s.Lines); err != nil {
		return nil, fmt.Errorf("[filters.signs]: lines: %w", err)
	}

	return filter{t}, nil
}

// share is the part of maxPoints that counts.
type share float64

// Weight implements policy.Weighted.
func (s share) Weight() float64 { return float64(s) }

// Inspect implements filters.Filter.
func (f filter) Inspect(_ context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	if tx.Session.Outbound() {
		return nil, nil
	}

	s := f.table.sum(tx.AllFindings(), filters.ProvenList(tx))
	s.points = min(s.points, maxPoints)
	if s.points < faint {
		return nil, nil
	}

	return []filters.Finding{{Symbol: phishSigns, Evidence: filters.Printable(s.explain()), Value: share(s.points / maxPoints)}}, nil
}

// faint is the number of points below which nothing is reported.
const faint = 0.6

// listTrust is the part that counts of mail that came over a mailing list.
const listTrust = 0.6
