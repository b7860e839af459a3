package scan_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/testing/perlcases"
	"postern/rules/perlre"
	"postern/rules/perlre/syntax"
	"postern/rules/scan"
)

const steps = 4 << 20

func compileAll(t testing.TB, patterns []perlcases.Pattern) []*perlre.Regexp {
	t.Helper()
	var all []*perlre.Regexp
	for _, p := range patterns {
		re, err := perlre.Compile(p.Expr, p.Flags())
		if err != nil {
			t.Fatalf("%s: /%s/%s: %v", p.Name, p.Expr, p.Mods, err)
		}
		all = append(all, re)
	}
	return all
}

// TestNothingIsLost: what matches is always among the candidates, and what is sure matches.
func TestNothingIsLost(t *testing.T) {
	texts := 24
	if raced {
		texts = 6
	}
	own := newTrial(t, perlcases.Own(t, "../perlre/testdata/patterns.txt"), texts, 3)
	for _, o := range []scan.Options{{}, {Worth: 1 << 20}, {Worth: 1 << 20, Table: 4 << 10, Group: 30}} {
		t.Run(fmt.Sprintf("own, %+v", o), func(t *testing.T) { own.run(t, scan.NewWith(own.compiled, o)).report(t) })
	}
	for name, change := range mutants() {
		if raced {
			continue // whether the test notices what is wrong is no matter of races
		}
		t.Run(name, func(t *testing.T) {
			var trees []*syntax.Tree
			for _, p := range own.patterns {
				tree, err := syntax.Parse(p.Expr, p.Flags())
				if err != nil {
					t.Fatal(err)
				}
				each(tree.Root, change)
				trees = append(trees, tree)
			}
			for _, o := range []scan.Options{{}, {Worth: 1 << 20}} {
				if r := own.run(t, scan.FromTrees(trees, o)); len(r.lost) == 0 {
					t.Errorf("a scan that is wrong here is not noticed (%+v)", o)
				}
			}
		})
	}
	t.Run("installed", func(t *testing.T) {
		if raced {
			t.Skip("what is at once is tried with our own")
		}
		patterns, each := perlcases.Stock(t), 1
		if patterns == nil {
			t.Skip("no rules are installed here")
		}
		if os.Getenv("POSTERN_STOCK_RULES") == "all" {
			each = 24
		}
		stock := newTrial(t, patterns, each, 6)
		stock.run(t, scan.New(stock.compiled)).report(t)
		stock.run(t, scan.NewWith(stock.compiled, scan.Options{Worth: 1 << 20})).report(t)
	})
}

// trial is texts and, for some of the patterns, whether they match.
type trial struct {
	patterns []perlcases.Pattern
	compiled []*perlre.Regexp
	texts    []string
	asked    [][]answer
}

type answer struct {
	pattern int
	matches bool
}

// every is the share of the patterns that is tried on a text that was made from another.
const every = 16

func newTrial(t *testing.T, patterns []perlcases.Pattern, each int, seed uint64) *trial {
	t.Helper()
	tr := &trial{patterns: patterns, compiled: compileAll(t, patterns)}
	b := perlre.NewBudget(steps)
	for i, re := range tr.compiled {
		for j, c := range perlcases.Make(re.Tree(), each, seed*1000003+uint64(i)) {
			var asked []answer
			for k := (i*7 + j) % every; k < len(patterns); k += every {
				asked = append(asked, ask(tr.compiled[k], k, c.Text, b)...)
			}
			tr.texts = append(tr.texts, c.Text)
			tr.asked = append(tr.asked, append(asked, ask(re, i, c.Text, b)...))
		}
	}
	return tr
}

// ask says whether a pattern matches, if that can be said.
func ask(re *perlre.Regexp, i int, text string, b *perlre.Budget) []answer {
	b.Reset(steps)
	_, ok := re.Find(text, 0, b)
	if b.Exhausted() {
		return nil
	}
	return []answer{{i, ok}}
}

// result names what went wrong.
type result struct {
	lost, wrong []string
	texts       int
	stats       scan.Stats
}

func (tr *trial) run(t *testing.T, set *scan.Set) *result {
	t.Helper()
	r := &result{texts: len(tr.texts)}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for part := range 2 { // at once, as messages come
		wait.Go(func() {
			found := set.NewFound()
			for at := part; at < len(tr.texts); at += 2 {
				found.Clear()
				set.Candidates(tr.texts[at], found)
				mu.Lock()
				for _, a := range tr.asked[at] {
					p := tr.patterns[a.pattern]
					line := fmt.Sprintf("%s: /%.200s/%s on %.200q", p.Name, p.Expr, p.Mods, tr.texts[at])
					if a.matches && !found.May(a.pattern) {
						r.lost = append(r.lost, line)
					}
					if !a.matches && found.Sure(a.pattern) {
						r.wrong = append(r.wrong, line)
					}
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	r.stats = set.Stats()
	return r
}

func (r *result) report(t *testing.T) {
	t.Helper()
	for _, line := range r.lost {
		t.Errorf("lost: %s", line)
	}
	for _, line := range r.wrong {
		t.Errorf("wrongly sure: %s", line)
	}
	t.Logf("%d texts, %+v", r.texts, r.stats)
}

func each(n *syntax.Node, do func(n *syntax.Node)) {
	for _, s := range n.Sub {
		each(s, do)
	}
	do(n)
}

// mutants are scans that are wrong in one way.
func mutants() map[string]func(n *syntax.Node) {
	return map[string]func(n *syntax.Node){
		"an alternative is dropped": func(n *syntax.Node) {
			if n.Op == syntax.OpAlt {
				n.Sub = n.Sub[:len(n.Sub)-1]
			}
		},
		"case counts": func(n *syntax.Node) {
			if n.Op == syntax.OpSet && n.Set.Len() == 2 {
				n.Set = syntax.Single(n.Set.Min())
			}
		},
		"a repeat ends too early": func(n *syntax.Node) {
			if n.Op == syntax.OpRepeat && n.Max > 1 && n.Max > n.Min {
				n.Max--
			}
		},
		"$ at the very end only": func(n *syntax.Node) {
			if n.Op == syntax.OpAssert && n.Assert == syntax.EndTextLine {
				n.Assert = syntax.EndText
			}
		},
		"look-ahead is followed": func(n *syntax.Node) {
			if n.Op == syntax.OpLook && !n.Negative {
				n.Op = syntax.OpConcat
			}
		},
		"references are empty": func(n *syntax.Node) {
			if n.Op == syntax.OpBackref {
				n.Op = syntax.OpEmpty
			}
		},
	}
}

// TestLongTexts: texts that are made to need many states, and a body of 1 MB, are read in a time that is bounded.
func TestLongTexts(t *testing.T) {
	patterns := perlcases.Own(t, "../perlre/testdata/patterns.txt")
	compiled := compileAll(t, patterns)
	for name, text := range map[string]string{
		"one letter": strings.Repeat("a", 1<<18),
		"words":      strings.Repeat("the quick brown fox, 12 a@b.c ", 10000),
		"pumped":     strings.Repeat("ab", 1000) + strings.Repeat("foo bar\n", 30000),
		"odd":        strings.Repeat("x a1\xc3\xa9_\v-<b>\"\"aab ", 20000),
	} {
		set := scan.New(compiled)
		found := set.NewFound()
		start := time.Now()
		set.Candidates(text, found)
		t.Logf("%s: %v for %d octets, %+v", name, time.Since(start), len(text), set.Stats())
		if st := set.Stats(); st.Bytes > 64<<20 {
			t.Errorf("%s: tables of %d octets", name, st.Bytes)
		}
	}
}

// TestScanLeavesNoGarbage: once the states are made, a text costs no memory.
func TestScanLeavesNoGarbage(t *testing.T) {
	if raced {
		t.Skip("the race detector's pools lose things on purpose")
	}
	compiled := compileAll(t, perlcases.Own(t, "../perlre/testdata/patterns.txt"))
	set := scan.New(compiled)
	found, b := set.NewFound(), perlre.NewBudget(0)
	text := strings.Repeat("Dear friend, foo bar click here: http://example.org/x 12 aab <b>x</b>\n", 20)
	work := func() {
		found.Clear()
		set.Candidates(text, found)
		for i, re := range compiled {
			if found.May(i) && !re.Tree().HasBackref {
				b.Reset(steps)
				re.Find(text, 0, b)
			}
		}
	}
	work()
	if n := testing.AllocsPerRun(20, work); n > 0 {
		t.Errorf("%v pieces of memory a text", n)
	}
}
