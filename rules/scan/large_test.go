package scan_test

import (
	"fmt"
	"strings"
	"testing"

	"postern/rules/perlre"
	"postern/rules/scan"
)

// TestLargeListsTellTextsApart: however long a list of words is and however often it is repeated, a text without such a run
// is no candidate, and one with it is.
func TestLargeListsTellTextsApart(t *testing.T) {
	var words []string
	for i := range 200 {
		words = append(words, fmt.Sprintf("field%c%c", 'a'+i/26, 'a'+i%26))
	}
	list := "(?:your )?(?:" + strings.Join(words, "|") + "){1,3}(?: in full)?"
	re, err := perlre.Compile("(?:"+list+`[-=_.,:\s]{1,100}){5}`, perlre.IgnoreCase)
	if err != nil {
		t.Fatal(err)
	}
	set := scan.NewWith([]*perlre.Regexp{re}, scan.Options{Group: 16, Table: 4 << 20})
	for text, want := range map[string]bool{
		"Thank you for the letter, which I passed on to the others this morning.":     false,
		"Please fill in your fieldab and send it back to the office in the new town":  false,
		"Form: Your fieldaa: ___ Fieldab in full: ... fieldac ... fieldhj = fieldcz.": true,
		"form: " + strings.Repeat("your fieldaafieldab in full: ", 5):                 true,
	} {
		found := set.NewFound()
		set.Candidates(text, found)
		_, matches := re.Find(text, 0, perlre.NewBudget(1<<20))
		if matches && !found.May(0) || !want && found.May(0) {
			t.Errorf("%q: a candidate: %v, matches: %v", text, found.May(0), matches)
		}
	}
}

// TestManyTextsAtOnce: texts that are looked at together show what each shows alone, whether patterns wait for words, share
// tables, or are in almost any text.
func TestManyTextsAtOnce(t *testing.T) {
	var all []*perlre.Regexp
	for i, expr := range []string{`\S`, `e`, `[\x80-\xff]`, `a[bc]+d`, `\b[0-9]{3}\b`, `x.?y.?z`, `^\s*$`, `[a-z]{12}`, `win(?:ner)?\s\$\d`, `q[^u]`, `(?:re){2}`} {
		re, err := perlre.Compile(expr, 0)
		if err != nil {
			t.Fatal(i, err)
		}
		all = append(all, re)
	}
	texts := []string{"", "\n", "abcd 123", "x y-z", "extraordinarily", "a winner $5 of Iraq", "here \xe9", "rere q", "XYZ"}
	for _, o := range []scan.Options{{}, {Group: 1}, {Group: 2, Worth: 1 << 20}} {
		set := scan.NewWith(all, o)
		founds := set.NewFounds(len(texts))
		var pointers []*scan.Found
		for i := range founds {
			pointers = append(pointers, &founds[i])
		}
		set.CandidatesOf(texts, pointers)
		for i, text := range texts {
			alone := set.NewFound()
			set.Candidates(text, alone)
			for j, re := range all {
				_, matches := re.Find(text, 0, perlre.NewBudget(1<<20))
				f := pointers[i]
				if f.May(j) != alone.May(j) || matches && !f.May(j) || f.Sure(j) && !matches {
					t.Errorf("/%s/ on %q (%+v): together %v, alone %v, matches %v", re, text, o, f.May(j), alone.May(j), matches)
				}
			}
		}
	}
}
