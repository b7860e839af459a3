package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/cmd/postern/app"
	"postern/internal/config"
	"postern/policy/records/ledger"
	"postern/policy/replay"
	"postern/rules"
)

type rulesStatsCommand struct {
	where
	output
	Since config.Duration `default:"30d" help:"How far back the ledger is read."`
	All   bool            `help:"Also list the rules that never hit."`
}

// ruleStats is what content rules did, as JSON.
type ruleStats struct {
	Since    time.Time     `json:"since"`
	Messages int           `json:"messages"`
	Rules    []replay.Hits `json:"rules"`
	// NeverHit are rules that no message had, Idle those whose score never made a disposition.
	NeverHit []string `json:"never_hit"`
	Idle     []string `json:"idle"`
}

// Run counts what the rules did to the mail in the ledger.
func (c *rulesStatsCommand) Run(w world) (err error) {
	cfg, err := c.offline()
	if err != nil {
		return err
	}
	set, _, err := app.LoadRules(cfg)
	if err != nil {
		return err
	}
	flush(cfg)
	l, err := app.ReadLedger(cfg, quiet())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	symbols := map[string]bool{}
	for _, s := range set.Symbols() {
		symbols[s.Name] = true
	}
	since := time.Now().Add(-c.Since.Std())
	found, messages, err := replay.CountHits(w.ctx, l, since, symbols)
	if err != nil {
		return err
	}
	report := statsOf(set, found)
	report.Since, report.Messages = since, messages
	return c.tell(w, report, c.describe(report))
}

func statsOf(set *rules.Set, found map[string]*replay.Hits) ruleStats {
	report := ruleStats{Rules: []replay.Hits{}, NeverHit: []string{}, Idle: []string{}}
	for _, s := range set.Symbols() {
		h := found[s.Name]
		if h == nil {
			report.NeverHit = append(report.NeverHit, s.Name)
			continue
		}
		report.Rules = append(report.Rules, *h)
		if h.Changed == 0 {
			report.Idle = append(report.Idle, s.Name)
		}
	}
	slices.SortStableFunc(report.Rules, func(a, b replay.Hits) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Symbol, b.Symbol))
	})
	return report
}

func (c *rulesStatsCommand) describe(r ruleStats) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%d messages since %s\n", r.Messages, r.Since.Local().Format("2006-01-02 15:04"))
	if len(r.Rules) > 0 {
		fmt.Fprintf(&text, "%-32s %8s %8s %8s %8s %8s %8s\n", "RULE", "HITS", "SPAM", "HAM", "SPAM %", "RELEASED", "DECIDED")
	}
	for _, h := range r.Rules {
		share := "-"
		if n := h.Spam + h.Ham; n > 0 {
			share = fmt.Sprintf("%.1f", 100*float64(h.Spam)/float64(n))
		}
		fmt.Fprintf(&text, "%-32s %8d %8d %8d %8s %8d %8d\n", ledger.Printable(h.Symbol), h.Messages, h.Spam, h.Ham, share, h.Released, h.Changed)
	}
	fmt.Fprintf(&text, "%d rules never decided anything, %d never hit\n", len(r.Idle), len(r.NeverHit))
	if c.All {
		for _, name := range r.NeverHit {
			fmt.Fprintf(&text, "never hit: %s\n", ledger.Printable(name))
		}
	}
	return text.String()
}
