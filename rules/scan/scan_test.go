package scan_test

import (
	"os"
	"sync"
	"testing"

	"postern/internal/testing/perlcases"
	"postern/rules/perlre"
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

// TestNothingIsLost: what matches is always among the candidates, and an exact pattern that is found matches.
func TestNothingIsLost(t *testing.T) {
	own := perlcases.Own(t, "../perlre/testdata/patterns.txt")
	t.Run("own", func(t *testing.T) { nothingLost(t, own, 120, 3, scan.Options{}) })
	t.Run("own, by automata only", func(t *testing.T) { nothingLost(t, own, 40, 4, scan.Options{Worth: 1 << 20}) })
	t.Run("own, small tables", func(t *testing.T) {
		nothingLost(t, own, 40, 5, scan.Options{Worth: 1 << 20, Table: 4 << 10, Group: 30})
	})
	t.Run("installed", func(t *testing.T) {
		patterns, each := perlcases.Stock(t), 4
		if patterns == nil {
			t.Skip("no rules are installed here")
		}
		if os.Getenv("POSTERN_STOCK_RULES") == "all" {
			each = 40
		}
		nothingLost(t, patterns, each, 6, scan.Options{})
		nothingLost(t, patterns, each, 7, scan.Options{Worth: 1 << 20})
	})
}

func nothingLost(t *testing.T, patterns []perlcases.Pattern, each int, seed uint64, o scan.Options) {
	t.Helper()
	compiled := compileAll(t, patterns)
	set := scan.NewWith(compiled, o)
	var texts []string
	var makers []int
	for i, re := range compiled {
		for _, c := range perlcases.Make(re.Tree(), each, seed*1000003+uint64(i)) {
			texts = append(texts, c.Text)
			makers = append(makers, i)
		}
	}
	var wait sync.WaitGroup
	for part := range 2 { // at once, as messages come
		wait.Go(func() {
			found, b := set.NewFound(), perlre.NewBudget(steps)
			for at := part; at < len(texts); at += 2 {
				found.Clear()
				set.Candidates(texts[at], found)
				check(t, patterns, compiled, set, found, texts[at], makers[at], b)
			}
		})
	}
	wait.Wait()
	t.Logf("%d texts, %+v", len(texts), set.Stats())
}

// check compares for the pattern that a text was made from and for some others.
func check(t *testing.T, patterns []perlcases.Pattern, compiled []*perlre.Regexp, set *scan.Set, found *scan.Found, text string, maker int, b *perlre.Budget) {
	t.Helper()
	for i := maker % 8; i < len(compiled); i += 8 {
		b.Reset(steps)
		_, matches := compiled[i].Find(text, 0, b)
		switch {
		case b.Exhausted():
		case matches && !found.May(i):
			t.Errorf("%s: /%.200s/%s is lost on %.200q", patterns[i].Name, patterns[i].Expr, patterns[i].Mods, text)
		case !matches && found.Sure(i):
			t.Errorf("%s: /%.200s/%s is said to match %.200q", patterns[i].Name, patterns[i].Expr, patterns[i].Mods, text)
		}
	}
}
