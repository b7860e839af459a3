package filters

import (
	"strings"
	"unicode/utf8"
)

// maxEvidence bounds the evidence of a finding, in octets.
const maxEvidence = 160

// Printable makes text from outside fit to be shown as evidence: short, on one line, without anything that moves a
// terminal's cursor or turns the reading direction.
func Printable(text string) string {
	if len(text) > maxEvidence {
		cut := maxEvidence - 3
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "..."
	}

	return strings.Map(func(r rune) rune {
		if controls(r) {
			return '?'
		}
		return r
	}, text)
}

// controls holds for characters that don't show themselves but change how others are shown.
func controls(r rune) bool {
	switch {
	case r < ' ', r >= 0x7f && r < 0xa0, r == utf8.RuneError, r == 0x2028, r == 0x2029, r == 0xfeff:
		return true
	case r >= 0x200b && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x2069:
		return true
	}

	return false
}
