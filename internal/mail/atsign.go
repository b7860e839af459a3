package mail

import (
	"iter"
	"strings"
)

// atSign is an "@" in a text, with what a forgiving reader takes for the two sides of an address.
type atSign struct {
	local, domain string
	apart         bool // white space, a quote or a comment stands beside the "@"
}

// isAddress says whether a reader may take it for an address: "@handle" and "me @ Acme" are none, "me @ acme.example" is. Where the two
// sides touch, any domain will do: what is none to us may be one to others.
func (a atSign) isAddress() bool {
	dotted := strings.Contains(a.domain, ".") || strings.HasPrefix(a.domain, "[")
	return dotted || a.local != "" && !a.apart
}

// atSigns gives each "@" of a text in turn. What lies between two of them is looked at once for each.
func atSigns(text string) iter.Seq[atSign] {
	return func(yield func(atSign) bool) {
		before := 0

		for at := strings.IndexByte(text, '@'); at >= 0; {
			next := strings.IndexByte(text[at+1:], '@')
			end := len(text)
			if next >= 0 {
				end = at + 1 + next
			}

			if !yield(sidesOf(text[before:at], text[at+1:end])) || next < 0 {
				return
			}
			before, at = at+1, end
		}
	}
}

func sidesOf(left, right string) atSign {
	trimmedLeft := strings.TrimRight(left, " \t\"'")
	trimmedRight := strings.TrimLeft(right, " \t\"'")
	a := atSign{apart: trimmedLeft != left || trimmedRight != right}

	start := len(trimmedLeft)
	for start > 0 && (isAtext(trimmedLeft[start-1]) || trimmedLeft[start-1] == '.') {
		start--
	}
	a.local = strings.Trim(trimmedLeft[start:], ".'")

	if strings.HasPrefix(trimmedRight, "[") {
		literal, _, _ := strings.Cut(trimmedRight, "]")
		a.domain = literal
		return a
	}

	n := 0
	for n < len(trimmedRight) && isDomainByte(trimmedRight[n]) {
		n++
	}
	a.domain = strings.Trim(trimmedRight[:n], ".-_")

	return a
}
