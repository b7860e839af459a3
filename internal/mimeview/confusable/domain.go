package confusable

import (
	"strings"
	"unicode"
)

// Mixed says whether a label of a domain name has Latin letters together with letters of a script that has look-alikes of
// them.
func Mixed(label string) bool {
	latin, foreign := scripts(label)
	return latin && foreign
}

// Imitates gives the ASCII name that a label of letters of another script looks like, "" if it looks like none: every
// letter of it has a look-alike (UTS 39 section 5, whole-script confusables).
func Imitates(label string) string {
	if _, foreign := scripts(label); !foreign {
		return ""
	}
	if folded := Fold(strings.ToLower(label)); firstWide(folded) == len(folded) {
		return folded
	}
	return ""
}

func scripts(label string) (latin, foreign bool) {
	for _, r := range label {
		latin = latin || unicode.Is(unicode.Latin, r)
		foreign = foreign || unicode.In(r, unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Cherokee)
	}
	return latin, foreign
}
