package signs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"postern/filters"
)

// seen is a sign that a message shows.
type seen struct {
	sign
	symbol string
}

// total is what all signs of a message amount to.
type total struct {
	points  float64
	aspects [][]seen // those with a sign, the strongest sign first
	best    *combination
	trusted string // the symbol of the finding that takes weight away
}

// The points of signs: what each counts beyond the first aspect, and which part of its strength a second sign of the same
// aspect adds.
const (
	pointsEach = 3.3
	secondPart = 0.4
)

// sum adds up what was found. One aspect alone amounts to nothing, however many signs it shows.
func (t *table) sum(found []filters.Finding, list bool) total {
	var all total
	trust := 1.0
	if list {
		trust, all.trusted = listTrust, "a mailing list"
	}
	by := map[aspect][]seen{}
	formOnly := true
	for _, f := range found {
		if s, ok := t.signs[f.Symbol]; ok && s.strength > 0 {
			by[s.aspect] = append(by[s.aspect], seen{s, f.Symbol})
			formOnly = formOnly && t.form[f.Symbol]
		}
		if factor, ok := t.trust[f.Symbol]; ok && factor < trust {
			trust, all.trusted = factor, f.Symbol
		}
	}

	if formOnly {
		return total{} // the form of a mail alone says nothing of what it is
	}

	strength := 0.0
	for _, a := range aspects() {
		if len(by[a]) == 0 {
			continue
		}
		slices.SortStableFunc(by[a], func(x, y seen) int { return cmp.Compare(y.strength, x.strength) })
		all.aspects = append(all.aspects, by[a])
		strength += by[a][0].strength
		if len(by[a]) > 1 {
			strength += secondPart * by[a][1].strength
		}
	}
	if len(all.aspects) > 1 {
		all.points = max(0, strength-1) * pointsEach
	}
	all.best = t.combination(found, by)
	if all.best != nil {
		all.points += all.best.points
	}
	all.points *= trust

	return all
}

// combination is the one with the most points of those whose terms were all seen.
func (t *table) combination(found []filters.Finding, by map[aspect][]seen) *combination {
	there := map[string]bool{}
	for a := range by {
		there[string(a)] = true
	}
	for _, f := range found {
		there[f.Symbol] = t.signs[f.Symbol].strength > 0 || t.named[f.Symbol]
	}
	var best *combination
	for i, c := range t.combinations {
		missing := slices.ContainsFunc(c.terms, func(any []string) bool {
			return !slices.ContainsFunc(any, func(term string) bool { return there[term] })
		})
		if !missing && (best == nil || c.points > best.points) {
			best = &t.combinations[i]
		}
	}

	return best
}

// explain says it in one line. The evidence of each sign stands in its own finding.
func (s total) explain() string {
	var parts []string
	if s.best != nil {
		parts = append(parts, s.best.words)
	}
	for _, list := range s.aspects {
		for _, one := range list[:min(len(list), 2)] {
			parts = append(parts, one.words)
		}
	}
	less := ""
	if s.trusted != "" {
		less = ", less for " + s.trusted
	}

	return fmt.Sprintf("%.1f points%s: %s", s.points, less, strings.Join(parts, "; "))
}
