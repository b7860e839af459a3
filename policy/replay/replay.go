// Package replay judges mail of the past again: by a policy that is not in force yet, from the facts that the ledger has.
// Nothing is asked of the network and nothing is changed, so an admin can see what a policy would have done before it does.
package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/ledger"
)

// Source gives what was decided, in the order of time.
type Source interface {
	Walk(ctx context.Context, since, until time.Time, f func(*ledger.Transaction) error) error
}

// Options say what is judged again.
type Options struct {
	// Since is included, Until isn't.
	Since, Until time.Time
	// Released reports whether a held message was released; nil if unknown.
	Released func(heldID string) bool
	// Progress hears of how far it is, from 0 to 1, now and then.
	Progress func(share float64, messages int)
	// Flips (default 1000) is how many changed verdicts are kept; all are counted.
	Flips int
	// PolicyVersion takes only what was judged by that policy, "" takes all.
	PolicyVersion string
}

// Flip is a verdict that would have been another.
type Flip struct {
	ID          string             `json:"id"`
	Time        time.Time          `json:"time"`
	From        string             `json:"from"`
	Recipient   string             `json:"recipient"`
	Subject     string             `json:"subject,omitempty"`
	Before      policy.Disposition `json:"before"`
	After       policy.Disposition `json:"after"`
	ScoreBefore float64            `json:"score_before"`
	ScoreAfter  float64            `json:"score_after"`
	Why         string             `json:"why"`
	// Released says that a user had released it: a stricter verdict would withhold wanted mail.
	Released bool `json:"released,omitempty"`
}

// Stricter says whether the message would have met with more.
func (f Flip) Stricter() bool { return f.After > f.Before }

// Report is what came of it.
type Report struct {
	// Messages were judged again, for so many Verdicts; Skipped had no facts, or met no verdict of policy's.
	Messages int `json:"messages"`
	Verdicts int `json:"verdicts"`
	Skipped  int `json:"skipped"`
	// Changes counts the flips by what they are, as in "accept to reject".
	Changes map[string]int `json:"changes"`
	// Flips are the first of them, Flipped is how many there are.
	Flips   []Flip `json:"flips"`
	Flipped int    `json:"flipped"`
	// Released is how many stricter verdicts would fall on messages that users had released.
	Released int `json:"released"`
	// Recipients and Senders are how many different ones are touched. TopSenders are the domains touched most.
	Recipients int      `json:"recipients"`
	Senders    int      `json:"senders"`
	TopSenders []string `json:"top_senders"`
	// Scores counts the verdicts that stay but whose score changes.
	Scores int `json:"scores"`
	// Monitored counts what the rules that only watch would have done.
	Monitored map[string]int `json:"monitored"`
}

// replayer is one replay on its way.
type replayer struct {
	o       Options
	p       *policy.Policy
	r       Report
	to      map[string]bool
	domains map[string]int
}

// Rescore judges again from stored facts.
func Rescore(ctx context.Context, source Source, p *policy.Policy, o Options) (Report, error) {
	if o.Flips == 0 {
		o.Flips = 1000
	}
	if o.Until.IsZero() {
		o.Until = time.Now()
	}
	x := &replayer{o: o, p: p, to: map[string]bool{}, domains: map[string]int{}}
	x.r.Changes, x.r.Flips, x.r.TopSenders, x.r.Monitored = map[string]int{}, []Flip{}, []string{}, map[string]int{}
	seen, span := 0, o.Until.Sub(o.Since).Seconds()
	err := source.Walk(ctx, o.Since, o.Until, func(t *ledger.Transaction) error {
		x.transaction(t)
		if seen++; seen%500 == 0 && o.Progress != nil {
			o.Progress(max(0, min(1, t.Time.Sub(o.Since).Seconds()/span)), seen)
		}
		return nil
	})
	if err != nil {
		return x.r, fmt.Errorf("replay: %w", err)
	}
	if o.Progress != nil {
		o.Progress(1, seen)
	}
	x.r.Recipients, x.r.Senders = len(x.to), len(x.domains)
	x.r.TopSenders = top(x.domains, 10)
	return x.r, nil
}

func (x *replayer) transaction(t *ledger.Transaction) {
	if t.Kind != ledger.SMTP || t.Facts == nil || t.PolicyVersion == "" || x.o.PolicyVersion != "" && t.PolicyVersion != x.o.PolicyVersion || t.Facts.Stage < mail.StageMessage {
		x.r.Skipped++
		return
	}
	judged := false
	for i := range t.Recipients {
		was := &t.Recipients[i]
		to, err := mail.ParseAddress(was.Address)
		// a recipient refused before the message has no thresholds: the message was not judged for it
		if err != nil || was.Required == (policy.Thresholds{}) {
			continue
		}
		judged = true
		x.verdict(t, was, x.p.Decide(t.Facts, to))
	}
	if judged {
		x.r.Messages++
	} else {
		x.r.Skipped++
	}
}

func (x *replayer) verdict(t *ledger.Transaction, was *ledger.Recipient, v policy.Verdict) {
	x.r.Verdicts++
	for _, m := range v.Monitored {
		x.r.Monitored[m.Rule]++
	}
	if v.Disposition == was.Disposition {
		if v.Score != was.Score {
			x.r.Scores++
		}
		return
	}
	f := Flip{ID: t.ID, Time: t.Time, From: t.From, Recipient: was.Address, Subject: t.Subject, Before: was.Disposition, After: v.Disposition,
		ScoreBefore: was.Score, ScoreAfter: v.Score, Why: v.Decisive}
	if f.Stricter() && t.HeldID != "" && x.o.Released != nil && x.o.Released(t.HeldID) {
		f.Released = true
		x.r.Released++
	}
	x.r.Flipped++
	x.r.Changes[f.Before.String()+" to "+f.After.String()]++
	x.to[strings.ToLower(was.Address)] = true
	_, domain, _ := strings.Cut(t.From, "@")
	x.domains[strings.ToLower(domain)]++
	if len(x.r.Flips) < x.o.Flips {
		x.r.Flips = append(x.r.Flips, f)
	}
}

// top gives the keys with the greatest numbers.
func top(numbers map[string]int, limit int) []string {
	keys := make([]string, 0, len(numbers))
	for k := range numbers {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int {
		if n := numbers[b] - numbers[a]; n != 0 {
			return n
		}
		return strings.Compare(a, b)
	})
	return keys[:min(len(keys), limit)]
}
