package confusable

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// Folding again changes nothing, and the result is bounded and has no flood of marks.
func FuzzFold(f *testing.F) {
	for _, s := range []string{"abc", "Раураl", "V\u200bi\u00adagra", "Ｖ𝐕ⓥ🅥🇻", "V" + strings.Repeat("\u0300", 200), "ﷺ", "한국어", "हिन्दी", "\xff\xfe"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		folded := Fold(text)
		if len(folded) > 18*len(text) {
			t.Fatalf("%d octets of %d", len(folded), len(text))
		}
		if !utf8.ValidString(text) {
			return
		}
		if again := Fold(folded); again != folded {
			t.Fatalf("%q, then %q", folded, again)
		}
		marks := 0
		for _, r := range folded {
			if unicode.Is(unicode.Mn, r) {
				if marks++; marks > 2*maxMarks {
					t.Fatalf("%q", folded)
				}
			} else {
				marks = 0
			}
		}
	})
}

// The table is searched by halves.
func TestLookAlikesAreInOrder(t *testing.T) {
	for i := range lookAlikes[1:] {
		if lookAlikes[i].from >= lookAlikes[i+1].from {
			t.Errorf("%q stands before %q", lookAlikes[i].from, lookAlikes[i+1].from)
		}
	}
}
