package perlre_test

import (
	"os"
	"slices"
	"testing"

	"postern/internal/testing/perlcases"
	"postern/rules/perlre"
)

const steps = 4 << 20

// compared is what a comparison with Perl came to.
type compared struct {
	cases, found, differ, slow, wide int
}

// TestAsPerl compares with Perl: whether there is a match, where it is and what its groups are, for texts that are made
// from each expression. POSTERN_STOCK_RULES=all takes every case of the installed rules, otherwise a sample is taken.
func TestAsPerl(t *testing.T) {
	perlcases.Need(t)
	own := perlcases.Own(t, "testdata/patterns.txt")
	t.Run("own", func(t *testing.T) {
		c := compare(t, own, 140, 1)
		if c.cases < 30000 {
			t.Errorf("only %d cases", c.cases)
		}
	})
	t.Run("installed", func(t *testing.T) {
		patterns, each := perlcases.Stock(t), 4
		if patterns == nil {
			t.Skip("no rules are installed here")
		}
		if os.Getenv("POSTERN_STOCK_RULES") == "all" {
			each = 40
		}
		compare(t, patterns, each, 2)
	})
}

func compare(t *testing.T, patterns []perlcases.Pattern, each int, seed uint64) compared {
	t.Helper()
	var all []*perlcases.Asked
	var compiled []*perlre.Regexp
	for i, p := range patterns {
		re, err := perlre.Compile(p.Expr, p.Flags())
		if err != nil {
			t.Errorf("%s: /%s/%s: %v", p.Name, p.Expr, p.Mods, err)
			continue
		}
		compiled = append(compiled, re)
		all = append(all, &perlcases.Asked{Pattern: p, Cases: perlcases.Make(re.Tree(), each, seed*1000003+uint64(i))})
	}
	if err := perlcases.Ask(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	var sum compared
	b := perlre.NewBudget(steps)
	for i, a := range all {
		if a.Refused != "" {
			t.Errorf("%s: Perl refuses /%s/%s: %s", a.Pattern.Name, a.Pattern.Expr, a.Pattern.Mods, a.Refused)
			continue
		}
		for j, c := range a.Cases {
			b.Reset(steps)
			got := find(compiled[i], c, b)
			sum.cases++
			want := a.Answers[j]
			switch {
			case compiled[i].Tree().Wide: // meant otherwise: Perl never finds such a character in octets
				sum.wide++
			case want.Slow || b.Exhausted():
				sum.slow++
			case got.Found != want.Found || !sameGroups(got.At, want.At):
				if sum.differ++; sum.differ < 20 {
					t.Errorf("%s: /%.200s/%s on %.200q: %v, Perl has %v", a.Pattern.Name, a.Pattern.Expr, a.Pattern.Mods, c.Text, got.At, want.At)
				}
			case want.Found:
				sum.found++
			}
		}
	}
	t.Logf("%d patterns, %d cases, %d of them matches, %d differ, %d without an answer, %d with characters above 0xff", len(all), sum.cases, sum.found, sum.differ, sum.slow, sum.wide)
	return sum
}

func find(re *perlre.Regexp, c perlcases.Case, b *perlre.Budget) perlcases.Answer {
	m, ok := re.Find(c.Text, c.From, b)
	if !ok {
		return perlcases.Answer{}
	}
	a := perlcases.Answer{Found: true, At: []int{m.Start, m.End}}
	for n := 1; n <= re.Groups(); n++ {
		start, end := m.Span(n)
		a.At = append(a.At, start, end)
	}
	return a
}

// sameGroups compares the places; Perl lists groups only up to the last one that took part.
func sameGroups(got, want []int) bool {
	for len(want) < len(got) {
		want = append(want, -1)
	}
	return slices.Equal(got, want)
}
