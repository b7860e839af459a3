package perlre

import (
	"strings"
	"testing"
)

// TestLookingIsPaidFor: what is done before an attempt is counted too. A text that begins like a match at every other octet
// costs at least a step for each place that is looked at, and more where the automaton reads on.
func TestLookingIsPaidFor(t *testing.T) {
	for _, c := range []struct {
		name, expr, unit string
		least            int // steps for a unit
	}{
		{"words of one beginning", `\b(?:confidential(?:ity)?|confirmation|confiscated|private|secrecy|sensitive|concealed|obscured|discretion)\b`, "confidence", 5},
		{"octets of a set", `(?:\xf0\x9d[\x90-\x9b][\x80-\xbf]|\xf0\x9f[\x84-\x85][\xb0-\xbf]|\xe1\xb4[\x80-\xbf]){5}`, "\xf0\x9d\x9e\xb6\xf0\x9d\xbc", 3},
		{"letters with blanks", `\b(?:business|marketing|advertising|e-?mail)\s(?:s\s?a\s?l\s?e\s?s|l\s?e\s?a\s?d\s?s|c\s?a\s?m\s?p\s?a\s?i\s?g\s?n)\b`, "business lea d", 3},
	} {
		re, err := Compile(c.expr, IgnoreCase)
		if err != nil {
			t.Fatal(err)
		}
		units := 20_000
		b := NewBudget(1 << 30)
		if _, ok := re.Find(strings.Repeat(c.unit, units), 0, b); ok {
			t.Errorf("%s: /%s/ is found", c.name, c.expr)
		}
		if b.Used() < c.least*units {
			t.Errorf("%s: %d steps for %d places, want %d at least", c.name, b.Used(), units, c.least*units)
		}
		b.Reset(units)
		if _, ok := re.Find(strings.Repeat(c.unit, units), 0, b); ok || !b.Exhausted() || b.Used() > units+100 {
			t.Errorf("%s: with %d steps: found %v, exhausted %v, %d taken", c.name, units, ok, b.Exhausted(), b.Used())
		}
	}
}
