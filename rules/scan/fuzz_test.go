package scan_test

import (
	"testing"

	"postern/internal/testing/perlcases"
	"postern/rules/perlre"
	"postern/rules/scan"
)

// FuzzCandidates: what is found is a candidate, and what is sure is found.
func FuzzCandidates(f *testing.F) {
	for _, p := range perlcases.Own(f, "../perlre/testdata/patterns.txt") {
		re, err := perlre.Compile(p.Expr, p.Flags())
		if err != nil {
			f.Fatal(err)
		}
		for _, c := range perlcases.Make(re.Tree(), 2, 12) {
			f.Add(p.Expr, uint8(p.Flags()), `\bfoo\b|x$`, c.Text)
		}
	}
	f.Fuzz(func(t *testing.T, expr string, flags uint8, other, text string) {
		if len(expr) > 200 || len(other) > 100 || len(text) > 500 {
			return
		}
		var all []*perlre.Regexp
		for _, e := range []string{expr, other} {
			re, err := perlre.Compile(e, perlre.Flags(flags&31))
			if err != nil {
				return
			}
			all = append(all, re)
		}
		b := perlre.NewBudget(0)
		for _, o := range []scan.Options{{}, {Worth: 1 << 20}} {
			set := scan.NewWith(all, o)
			found := set.NewFound()
			set.Candidates(text, found)
			for i, re := range all {
				b.Reset(1 << 20)
				_, ok := re.Find(text, 0, b)
				if b.Exhausted() {
					continue
				}
				if ok && !found.May(i) || !ok && found.Sure(i) {
					t.Errorf("/%s/ (%d) on %q: matches %v, may %v, sure %v (%+v)", re, flags, text, ok, found.May(i), found.Sure(i), o)
				}
			}
		}
	})
}
