package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/ledger"
)

// Mark is a message that was judged wrongly, according to the admin.
type Mark struct {
	ID    string
	Facts *policy.Facts
	To    mail.Address
	// Wanted says that it should have been let in; else it should have been held or refused.
	Wanted bool
}

func (m Mark) right(p *policy.Policy) bool {
	return (p.Decide(m.Facts, m.To).Disposition < policy.Quarantine) == m.Wanted
}

// Proposal is a change of scores that puts all marks right.
type Proposal struct {
	// Scores are the new ones, by symbol; Change is how far they are from the old ones, in sum.
	Scores map[string]float64 `json:"scores"`
	Change float64            `json:"change"`
	// Others is how many other verdicts of the past would flip, and which.
	Others  int            `json:"others"`
	Changes map[string]int `json:"changes"`
}

// Errors of Tune.
var (
	ErrAllRight  = errors.New("all of them are judged as they should be")
	ErrNoScores  = errors.New("no change of scores puts them right: an action, a list, a rule or a threshold decides")
	errNoneMarks = errors.New("no message is marked")
)

// The steps in which scores are changed, and how far.
const (
	tuneStep  = 0.1
	tuneMost  = 15.0
	tuneDeep  = 3 // symbols changed at a time
	proposals = 3
)

// Compile makes the policy in force with other scores for some symbols.
type Compile func(scores map[string]float64) (*policy.Policy, error)

// Tune looks for the least change of scores that puts all marks right, and says what else it would flip among the mail that
// the source has. Its best proposals come first: those that touch the fewest other messages, then those that change least.
func Tune(ctx context.Context, marks []Mark, compile Compile, source Source, o Options) ([]Proposal, error) {
	if len(marks) == 0 {
		return nil, errNoneMarks
	}
	t := &tuner{marks: marks, compile: compile}
	base, err := compile(nil)
	if err != nil {
		return nil, err
	}
	if t.wrong(base) == 0 {
		return nil, ErrAllRight
	}
	t.gather(base)
	found, err := t.candidates()
	if err == nil && len(found) == 0 {
		found, err = t.bothWays(base)
	}
	if err != nil || len(found) == 0 {
		return nil, cmp.Or(err, ErrNoScores)
	}
	slices.SortStableFunc(found, func(a, b Proposal) int { return cmp.Compare(a.Change, b.Change) })
	found = found[:min(len(found), 2*proposals)]
	for i := range found {
		each := o
		if o.Progress != nil {
			each.Progress = func(share float64, n int) { o.Progress((float64(i)+share)/float64(len(found)), n) }
		}
		if err := t.weigh(ctx, &found[i], source, each); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(found, func(a, b Proposal) int {
		return cmp.Or(cmp.Compare(a.Others, b.Others), cmp.Compare(a.Change, b.Change))
	})
	return found[:min(len(found), proposals)], nil
}

// candidates are changes in one direction: of one symbol, or of a few together.
func (t *tuner) candidates() (found []Proposal, err error) {
	for _, s := range t.symbols {
		if p, ok, err := t.search([]string{s}); err != nil {
			return nil, err
		} else if ok {
			found = append(found, p)
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	p, ok, err := t.greedy()
	if ok {
		found = append(found, p)
	}
	return found, err
}

// bothWays makes some symbols lighter for what is wanted, and others heavier for what is not.
func (t *tuner) bothWays(base *policy.Policy) (found []Proposal, err error) {
	var halves [2][]Proposal
	for i, wanted := range []bool{true, false} {
		half := &tuner{compile: t.compile}
		for _, m := range t.marks {
			if m.Wanted == wanted && !m.right(base) {
				half.marks = append(half.marks, m)
			}
		}
		half.gather(base)
		if halves[i], err = half.candidates(); err != nil || len(halves[i]) == 0 {
			return nil, err
		}
	}
	for _, a := range halves[0] {
		for _, b := range halves[1] {
			both := Proposal{Scores: map[string]float64{}, Change: round(a.Change + b.Change)}
			maps.Copy(both.Scores, a.Scores)
			maps.Copy(both.Scores, b.Scores)
			p, err := t.compile(both.Scores)
			if err != nil {
				return nil, err
			}
			if len(both.Scores) == len(a.Scores)+len(b.Scores) && t.wrong(p) == 0 {
				found = append(found, both)
			}
		}
	}
	return found, nil
}

type tuner struct {
	marks   []Mark
	compile Compile
	symbols []string
	scores  map[string]float64 // of the policy in force
}

func (t *tuner) wrong(p *policy.Policy) (n int) {
	for _, m := range t.marks {
		if !m.right(p) {
			n++
		}
	}
	return n
}

// gather finds the symbols that the marked messages have, with their scores.
func (t *tuner) gather(p *policy.Policy) {
	t.scores = map[string]float64{}
	for _, m := range t.marks {
		for _, r := range p.Decide(m.Facts, m.To).Reasons {
			if _, known := t.scores[r.Symbol]; !known && r.Symbol != policy.Allowed && r.Symbol != policy.Blocked {
				t.symbols = append(t.symbols, r.Symbol)
			}
			t.scores[r.Symbol] = r.Score
		}
	}
	slices.Sort(t.symbols)
}

// search finds the least change of these symbols, all by the same amount, that puts all marks right.
func (t *tuner) search(symbols []string) (Proposal, bool, error) {
	for _, sign := range []float64{-1, 1} {
		// the greatest change first: where that does not do, no smaller one does
		all, err := t.tried(symbols, sign*tuneMost)
		if err != nil {
			return Proposal{}, false, err
		}
		low, high := 0, int(tuneMost/tuneStep)
		if t.wrong(all) > 0 {
			// too much of it may put another mark wrong: look whether any step does
			high = 0
			for step := 1; step <= int(tuneMost/tuneStep) && high == 0; step += 5 {
				p, err := t.tried(symbols, sign*float64(step)*tuneStep)
				if err != nil {
					return Proposal{}, false, err
				}
				if t.wrong(p) == 0 {
					high = step
				}
			}
			if high == 0 {
				continue
			}
		}
		for high-low > 1 {
			middle := (low + high) / 2
			p, err := t.tried(symbols, sign*float64(middle)*tuneStep)
			if err != nil {
				return Proposal{}, false, err
			}
			if t.wrong(p) == 0 {
				high = middle
			} else {
				low = middle
			}
		}
		change := sign * float64(high) * tuneStep
		return Proposal{Scores: t.changed(symbols, change), Change: round(float64(high) * tuneStep * float64(len(symbols)))}, true, nil
	}
	return Proposal{}, false, nil
}

// greedy takes the symbols together that put most marks right, up to a few.
func (t *tuner) greedy() (Proposal, bool, error) {
	var chosen []string
	for len(chosen) < tuneDeep {
		best, least := "", math.MaxInt
		for _, s := range t.symbols {
			if slices.Contains(chosen, s) {
				continue
			}
			for _, sign := range []float64{-1, 1} {
				p, err := t.tried(append(slices.Clone(chosen), s), sign*tuneMost/2)
				if err != nil {
					return Proposal{}, false, err
				}
				if n := t.wrong(p); n < least {
					best, least = s, n
				}
			}
		}
		if best == "" {
			return Proposal{}, false, nil
		}
		chosen = append(chosen, best)
		if p, ok, err := t.search(chosen); ok || err != nil {
			return p, ok, err
		}
	}
	return Proposal{}, false, nil
}

func (t *tuner) changed(symbols []string, by float64) map[string]float64 {
	scores := map[string]float64{}
	for _, s := range symbols {
		scores[s] = round(t.scores[s] + by)
	}
	return scores
}

func (t *tuner) tried(symbols []string, by float64) (*policy.Policy, error) {
	return t.compile(t.changed(symbols, by))
}

// weigh counts what else a proposal would flip.
func (t *tuner) weigh(ctx context.Context, p *Proposal, source Source, o Options) error {
	changed, err := t.compile(p.Scores)
	if err != nil {
		return err
	}
	marked := map[string]bool{}
	for _, m := range t.marks {
		marked[m.ID] = true
	}
	report, err := Rescore(ctx, except{source, marked}, changed, o)
	if err != nil {
		return fmt.Errorf("tune: %w", err)
	}
	p.Others, p.Changes = report.Flipped, report.Changes
	return nil
}

// except is a source without some messages.
type except struct {
	Source
	ids map[string]bool
}

// Walk implements Source.
func (e except) Walk(ctx context.Context, since, until time.Time, f func(*ledger.Transaction) error) error {
	return e.Source.Walk(ctx, since, until, func(t *ledger.Transaction) error {
		if e.ids[t.ID] {
			return nil
		}
		return f(t)
	})
}

func round(f float64) float64 { return math.Round(f*10) / 10 }
