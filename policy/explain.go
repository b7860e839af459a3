package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"postern/filters"
	"postern/internal/mail"
)

// maxWays is how many ways Counterfactuals gives.
const maxWays = 5

// change is one thing that could have been otherwise.
type change struct {
	text string
	// size orders changes: thousandths of score that they take away, or how much an admin would have to do.
	size int64
	// facts is nil where the facts stay as they are.
	facts *Facts
	but   *without
}

// The size of changes without a score of their own.
const (
	sizeOfAction   = 20_000 // a symbol whose action decides
	sizeOfProof    = 30_000
	sizeOfRule     = 40_000
	sizeOfEntry    = 50_000
	sizeOfFailure  = 10_000
	maxTried       = 100
	maxTogether    = 10
	sizeOfTogether = 60_000
)

// Counterfactuals says in up to five sentences what would have led to another disposition, the smallest change first.
// Each was tried by deciding again. An example: "without R_SPF_FAIL it would be accepted: the score of 3.1 is below 4".
func (p *Policy) Counterfactuals(f *Facts, rcpt mail.Address) []string {
	now := p.Decide(f, rcpt)
	changes := slices.Concat(withoutSymbols(f, &now), withoutFailures(f), withProof(f), p.withoutCauses(&now))
	slices.SortStableFunc(changes, func(a, b change) int { return cmp.Compare(a.size, b.size) })
	var ways []string
	for _, c := range changes[:min(len(changes), maxTried)] {
		if way, ok := p.try(c, f, rcpt, &now); ok {
			if ways = append(ways, way); len(ways) == maxWays {
				return ways
			}
		}
	}
	if len(ways) == 0 {
		if way, ok := p.together(f, rcpt, &now); ok {
			ways = append(ways, way)
		}
	}
	return ways
}

// try decides again with one change.
func (p *Policy) try(c change, f *Facts, rcpt mail.Address, now *Verdict) (string, bool) {
	facts := f
	if c.facts != nil {
		facts = c.facts
	}
	then := p.decide(facts, rcpt, c.but)
	if then.Disposition == now.Disposition {
		return "", false
	}
	verb, why, _ := strings.Cut(strings.TrimSuffix(then.Decisive, "."), ": ")
	return fmt.Sprintf("%s it would be %s: %s", c.text, strings.ToLower(verb), why), true
}

// withoutSymbols leaves out each symbol in turn, all its findings.
func withoutSymbols(f *Facts, now *Verdict) []change {
	var all []change
	for _, r := range now.Reasons {
		if !found(f, r.Symbol) || r.Symbol == filters.Failed {
			continue
		}
		c := change{text: "without " + r.Symbol, size: abs(thousandths(r.Score)), facts: leaving(f, func(n *Finding) bool { return n.Symbol == r.Symbol })}
		if c.size == 0 {
			c.size = sizeOfAction
		}
		all = append(all, c)
	}
	return all
}

func found(f *Facts, symbol string) bool {
	return slices.ContainsFunc(f.Findings, func(n Finding) bool { return n.Symbol == symbol })
}

// leaving gives a copy of the facts without some findings.
func leaving(f *Facts, out func(*Finding) bool) *Facts {
	then := *f
	then.Findings = nil
	for i := range f.Findings {
		if !out(&f.Findings[i]) {
			then.Findings = append(then.Findings, f.Findings[i])
		}
	}
	return &then
}

func withoutFailures(f *Facts) []change {
	failed := func(n *Finding) bool { return n.Symbol == filters.Failed }
	for i := range f.Findings {
		if failed(&f.Findings[i]) {
			return []change{{text: "if no filter had failed", size: sizeOfFailure, facts: leaving(f, failed)}}
		}
	}
	return nil
}

// withProof lets SPF or DKIM prove the sender.
func withProof(f *Facts) []change {
	then := *f
	then.Authenticated = slices.Clone(f.Authenticated)
	for _, a := range append([]mail.Address{f.From}, f.HeaderFrom...) {
		if domain := a.ASCIIDomain(); domain != "" && !slices.Contains(then.Authenticated, domain) {
			then.Authenticated = append(then.Authenticated, domain)
		}
	}
	if len(then.Authenticated) == len(f.Authenticated) {
		return nil
	}
	slices.Sort(then.Authenticated)
	return []change{{text: "if SPF or DKIM proved the sender", size: sizeOfProof, facts: &then}}
}

// withoutCauses leaves out the rules and the entry of a list that matched.
func (p *Policy) withoutCauses(now *Verdict) []change {
	var all []change
	for _, r := range now.Reasons {
		if len(r.Evidence) == 0 {
			continue
		}
		name := r.Evidence[0]
		switch r.Symbol {
		case Ruled, RuleFailed:
			all = append(all, change{text: fmt.Sprintf("without the rule %q", name), size: sizeOfRule, but: &without{rule: name}})
		case Blocked, Allowed:
			list := map[string]string{Blocked: "block", Allowed: "allow"}[r.Symbol]
			all = append(all, change{text: "without the " + list + " entry (" + name + ")", size: sizeOfEntry, but: &without{entries: map[string]bool{name: true}}})
		}
	}
	return all
}

// together leaves out the heaviest symbols until the verdict is another.
func (p *Policy) together(f *Facts, rcpt mail.Address, now *Verdict) (string, bool) {
	heavy := slices.DeleteFunc(slices.Clone(now.Reasons), func(r Reason) bool { return r.Score <= 0 || !found(f, r.Symbol) })
	slices.SortStableFunc(heavy, func(a, b Reason) int { return cmp.Compare(b.Score, a.Score) })
	var names []string
	for _, r := range heavy[:min(len(heavy), maxTogether)] {
		names = append(names, r.Symbol)
		last := len(names) - 1
		if last == 0 {
			continue // was tried alone
		}
		way, ok := p.try(change{
			text: "without " + strings.Join(names[:last], ", ") + " and " + names[last], size: sizeOfTogether,
			facts: leaving(f, func(n *Finding) bool { return slices.Contains(names, n.Symbol) }),
		}, f, rcpt, now)
		if ok {
			return way, true
		}
	}
	return "", false
}
