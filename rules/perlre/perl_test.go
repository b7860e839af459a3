package perlre_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"postern/internal/testing/perlcases"
	"postern/rules/perlre"
	"postern/rules/perlre/syntax"
)

const steps = 4 << 20

// TestAsPerl compares with Perl: whether there is a match, where it is and what its groups are, for texts that are made
// from each expression. POSTERN_STOCK_RULES=all takes many texts for each of the installed rules, otherwise some.
func TestAsPerl(t *testing.T) {
	perlcases.Need(t)
	t.Run("own", func(t *testing.T) {
		texts, part := 120, 24
		if raced {
			texts = 16
		}
		asked := ask(t, perlcases.Own(t, "testdata/patterns.txt"), texts, 1)
		c := compare(t, asked, compilePattern)
		c.report(t)
		if !raced && c.cases < 30000 {
			t.Errorf("only %d cases", c.cases)
		}
		if raced {
			return // whether the test notices what is wrong is no matter of races
		}
		for _, a := range asked { // a part of them is enough to notice what is wrong
			a.Cases, a.Answers = a.Cases[:part], a.Answers[:part]
		}
		for _, m := range mutants() {
			t.Run(m.name, func(t *testing.T) {
				if c := compare(t, asked, m.compile); c.differ == 0 {
					t.Error("a translator that is wrong here is not noticed")
				} else {
					t.Logf("%d differ", c.differ)
				}
			})
		}
	})
	t.Run("installed", func(t *testing.T) {
		patterns, each := stockRules(t), 2
		if patterns == nil {
			t.Skip("no rules are installed here")
		}
		if os.Getenv("POSTERN_STOCK_RULES") == "all" {
			each = 40
		}
		compare(t, ask(t, patterns, each, 2), compilePattern).report(t)
	})
}

// stockRules lists the installed rules, of which the race detector sees a part.
func stockRules(t *testing.T) []perlcases.Pattern {
	t.Helper()
	all := perlcases.Stock(t)
	if !raced || os.Getenv("POSTERN_STOCK_RULES") == "all" {
		return all
	}
	var some []perlcases.Pattern
	for i := 0; i < len(all); i += 10 {
		some = append(some, all[i])
	}
	return some
}

func compilePattern(p perlcases.Pattern) (*perlre.Regexp, error) {
	return perlre.Compile(p.Expr, p.Flags())
}

func ask(t *testing.T, patterns []perlcases.Pattern, each int, seed uint64) []*perlcases.Asked {
	t.Helper()
	var all []*perlcases.Asked
	for i, p := range patterns {
		re, err := compilePattern(p)
		if err != nil {
			t.Errorf("%s: /%s/%s: %v", p.Name, p.Expr, p.Mods, err)
			continue
		}
		all = append(all, &perlcases.Asked{Pattern: p, Cases: perlcases.Make(re.Tree(), each, seed*1000003+uint64(i))})
	}
	if err := perlcases.Ask(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if a.Refused != "" {
			t.Errorf("%s: Perl refuses /%s/%s: %s", a.Pattern.Name, a.Pattern.Expr, a.Pattern.Mods, a.Refused)
		}
	}
	return all
}

// compared is what a comparison with Perl came to.
type compared struct {
	cases, found, differ, slow, wide int
	first                            []string
}

func compare(t *testing.T, all []*perlcases.Asked, compile func(perlcases.Pattern) (*perlre.Regexp, error)) (sum compared) {
	t.Helper()
	b := perlre.NewBudget(steps)
	for _, a := range all {
		re, err := compile(a.Pattern)
		if err != nil {
			t.Errorf("%s: /%s/%s: %v", a.Pattern.Name, a.Pattern.Expr, a.Pattern.Mods, err)
			continue
		}
		for j, c := range a.Cases {
			b.Reset(steps)
			got := find(re, c, b)
			sum.cases++
			want := a.Answers[j]
			switch {
			case re.Tree().Wide: // meant otherwise: Perl never finds such a character in octets
				sum.wide++
			case want.Slow || b.Exhausted():
				sum.slow++
			case got.Found != want.Found || !sameGroups(got.At, want.At):
				if sum.differ++; sum.differ < 20 {
					sum.first = append(sum.first, fmt.Sprintf("%s: /%.200s/%s on %.200q: %v, Perl has %v",
						a.Pattern.Name, a.Pattern.Expr, a.Pattern.Mods, c.Text, got.At, want.At))
				}
			case want.Found:
				sum.found++
			}
		}
	}
	return sum
}

func (c compared) report(t *testing.T) {
	t.Helper()
	for _, line := range c.first {
		t.Error(line)
	}
	if c.slow*1000 > c.cases {
		t.Errorf("%d cases were too slow to be answered", c.slow)
	}
	t.Logf("%d cases, %d of them matches, %d differ, %d without an answer, %d with characters above 0xff", c.cases, c.found, c.differ, c.slow, c.wide)
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

// mutant is a translator that is wrong in one way.
type mutant struct {
	name   string
	change func(n *syntax.Node)
}

func (m mutant) compile(p perlcases.Pattern) (*perlre.Regexp, error) {
	tree, err := syntax.Parse(p.Expr, p.Flags())
	if err != nil {
		return nil, err
	}
	each(tree.Root, m.change)
	return perlre.FromTree(tree)
}

func each(n *syntax.Node, do func(n *syntax.Node)) {
	for _, s := range n.Sub {
		each(s, do)
	}
	do(n)
}

// without takes octets out of the sets that have all of others.
func without(octets, all string) func(n *syntax.Node) {
	return func(n *syntax.Node) {
		if want := syntax.Of(all); n.Op == syntax.OpSet && n.Set.And(want) == want {
			n.Set = n.Set.And(syntax.Of(octets).Not())
		}
	}
}

// swapped puts another assertion in the place of one.
func swapped(from, to syntax.Assert) func(n *syntax.Node) {
	return func(n *syntax.Node) {
		if n.Op == syntax.OpAssert && n.Assert == from {
			n.Assert = to
		}
	}
}

// plain puts another way to repeat in the place of one.
func plain(from, to syntax.Mode) func(n *syntax.Node) {
	return func(n *syntax.Node) {
		if n.Op == syntax.OpRepeat && n.Mode == from {
			n.Mode = to
		}
	}
}

func emptied(which func(n *syntax.Node) bool) func(n *syntax.Node) {
	return func(n *syntax.Node) {
		if which(n) {
			*n = syntax.Node{Op: syntax.OpEmpty}
		}
	}
}

func mutants() []mutant {
	return []mutant{
		{"$ at the very end only", swapped(syntax.EndTextLine, syntax.EndText)},
		{"$ at each line", swapped(syntax.EndTextLine, syntax.EndLine)},
		{"^ at each line", swapped(syntax.BeginText, syntax.BeginLine)},
		{"^ at the first line only", swapped(syntax.BeginLine, syntax.BeginText)},
		{"word boundaries swapped", swapped(syntax.WordBoundary, syntax.NoWordBoundary)},
		{"white space without \\v", without("\v", "\t\n\v\f\r ")},
		{"horizontal space without 0xA0", without("\xa0", "\t \xa0")},
		{"the dot matches \\n", func(n *syntax.Node) {
			if n.Op == syntax.OpSet && n.Set == syntax.Single('\n').Not() {
				n.Set = syntax.All()
			}
		}},
		{"case of ASCII only", func(n *syntax.Node) {
			if n.Op == syntax.OpSet && n.Set.Len() == 2 && n.Set.Min() >= 0xc0 {
				n.Set = syntax.Single(n.Set.Min() + 32)
			}
		}},
		{"more case than there is", func(n *syntax.Node) {
			if n.Op == syntax.OpSet {
				n.Set = n.Set.FoldedLatin()
			}
		}},
		{"references one too low", func(n *syntax.Node) {
			if n.Op == syntax.OpBackref && n.N > 1 {
				n.N--
				n.Refs = nil
			}
		}},
		{"references with case", func(n *syntax.Node) { n.Fold = syntax.FoldNone }},
		{"lazy is greedy", plain(syntax.Lazy, syntax.Greedy)},
		{"possessive is greedy", plain(syntax.Possessive, syntax.Greedy)},
		{"atomic groups give back", func(n *syntax.Node) {
			if n.Op == syntax.OpAtomic {
				n.Op = syntax.OpConcat
			}
		}},
		{"no look-behind", emptied(func(n *syntax.Node) bool { return n.Op == syntax.OpLook && n.Behind })},
		{"no look-ahead", emptied(func(n *syntax.Node) bool { return n.Op == syntax.OpLook && !n.Behind })},
		{"no \\K", emptied(func(n *syntax.Node) bool { return n.Op == syntax.OpKeep })},
		{"the last alternative first", func(n *syntax.Node) {
			if n.Op == syntax.OpAlt {
				slices.Reverse(n.Sub)
			}
		}},
		{"one time too many", func(n *syntax.Node) {
			if n.Op == syntax.OpRepeat && n.Max > 1 {
				n.Max++
			}
		}},
		{"one time too few", func(n *syntax.Node) {
			if n.Op == syntax.OpRepeat && n.Min > 1 {
				n.Min--
			}
		}},
	}
}
