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
	All   bool            `help:"Also list the rules that never hit, and what all rules take."`
}

// ruleStats is what content rules did, as JSON.
type ruleStats struct {
	Since    time.Time     `json:"since"`
	Messages int           `json:"messages"`
	Rules    []replay.Hits `json:"rules"`
	// NeverHit are rules that no message had, Idle those whose score never made a disposition.
	NeverHit []string `json:"never_hit"`
	Idle     []string `json:"idle"`
	// Costs are what rules took on the messages that a gateway timed, the dearest first.
	Costs      []ruleCost `json:"costs"`
	CostsSince time.Time  `json:"costs_since,omitzero"`
	Timed      int64      `json:"timed"`
}

// ruleCost is what a rule takes.
type ruleCost struct {
	Rule string `json:"rule"`
	rules.Cost
	// Share is its part of the time that all rules take, in percent; Micros is its time for a message, in microseconds.
	Share  float64 `json:"share"`
	Micros float64 `json:"micros"`
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
	costs, err := app.RuleCosts(cfg)
	if err != nil {
		return err
	}
	report.takeCosts(costs)
	return c.tell(w, report, c.describe(report))
}

// takeCosts puts the costs in order.
func (r *ruleStats) takeCosts(c rules.CostReport) {
	r.Costs, r.CostsSince, r.Timed = []ruleCost{}, c.Since, c.Messages
	var all int64
	for _, one := range c.Rules {
		all += one.Nanos
	}
	for name, one := range c.Rules {
		r.Costs = append(r.Costs, ruleCost{name, one, 100 * float64(one.Nanos) / float64(max(all, 1)), float64(one.Nanos) / 1000 / float64(max(c.Messages, 1))})
	}
	slices.SortFunc(r.Costs, func(a, b ruleCost) int {
		return cmp.Or(cmp.Compare(b.Nanos, a.Nanos), cmp.Compare(a.Rule, b.Rule))
	})
}

// dearest is how many of the dearest rules are listed.
const dearest = 20

func (r *ruleStats) describeCosts(text *strings.Builder, all bool) {
	if r.Timed == 0 {
		text.WriteString("no gateway has timed rules yet: it does so with one message in 64\n")
		return
	}
	fmt.Fprintf(text, "\n%d messages timed since %s\n%-32s %8s %10s %8s %10s %9s\n", r.Timed, r.CostsSince.Local().Format("2006-01-02 15:04"),
		"DEAREST", "TIME %", "µs/MSG", "RUN", "CANDIDATE", "CONFIRMED")
	for i, c := range r.Costs {
		if i == dearest && !all {
			break
		}
		fmt.Fprintf(text, "%-32s %8.1f %10.1f %8d %10d %9d\n", ledger.Printable(c.Rule), c.Share, c.Micros, c.Tried, c.Candidates, c.Confirmed)
	}
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
	r.describeCosts(&text, c.All)
	if c.All {
		for _, name := range r.NeverHit {
			fmt.Fprintf(&text, "never hit: %s\n", ledger.Printable(name))
		}
	}
	return text.String()
}
