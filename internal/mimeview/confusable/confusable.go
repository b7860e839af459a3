// Package confusable reads text by its looks: letters of other scripts that can't be told from Latin ones, ligatures and
// ornamental letters, and characters that show nothing (Unicode Technical Standard 39, the part that matters for mail).
package confusable

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxMarks is how many combining marks are left on a letter of a script that needs them.
const maxMarks = 3

// Fold gives the text as a reader takes it at a glance: compatibility forms made plain (NFKC), accents off Latin, Greek
// and Cyrillic letters, look-alikes as the ASCII letter they look like, and nothing invisible. Digits that stand for
// letters stay digits. The result has at most three combining marks in a row; it grows as NFKC does, at worst 18 times
// for a few characters. Text that has nothing to fold is given back as it is.
func Fold(text string) string {
	first := firstWide(text)
	if first == len(text) {
		return text
	}
	var b strings.Builder
	b.Grow(len(text))
	b.WriteString(text[:first])
	marks, accents, wide := 0, true, false
	for _, r := range norm.NFKD.String(text[first:]) {
		if r < utf8.RuneSelf {
			b.WriteByte(byte(r))
			marks, accents = 0, true
			continue
		}
		switch {
		case Invisible(r) || r == '\u034F': // the joiner that normalising a flood of marks puts between them
			continue
		case unicode.In(r, unicode.Mn, unicode.Me):
			if marks++; accents || marks > maxMarks {
				continue
			}
		default:
			plain := Letter(r)
			marks, accents = 0, losesAccents(r, plain)
			r = plain
		}
		wide = wide || r >= utf8.RuneSelf
		b.WriteRune(r)
	}
	folded := b.String()
	if wide {
		folded = norm.NFC.String(folded)
	}
	return folded
}

func firstWide(text string) int {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return i
		}
	}
	return len(text)
}

// losesAccents says whether accents on a letter are taken off: of letters that look like ASCII, and of scripts in which an
// accent makes no other letter.
func losesAccents(r, plain rune) bool {
	return plain < utf8.RuneSelf || unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Common)
}

// Invisible holds for characters that show nothing and part no words: zero-width characters, the soft hyphen, controls of
// the writing direction, variation selectors and tags.
func Invisible(r rune) bool {
	switch {
	case r == 0xAD, r == 0x061C, r == 0x115F, r == 0x1160, r == 0x17B4, r == 0x17B5, r == 0x3164, r == 0xFFA0, r == 0xFEFF:
		return true
	case r >= 0x180B && r <= 0x180F, r >= 0x200B && r <= 0x200F, r >= 0x202A && r <= 0x202E, r >= 0x2060 && r <= 0x206F:
		return true
	case r >= 0xFE00 && r <= 0xFE0F, r >= 0xFFF9 && r <= 0xFFFB, r >= 0xE0000 && r <= 0xE0FFF:
		return true
	}
	return false
}

// CountInvisible says how many such characters stand in a text.
func CountInvisible(text string) (n int) {
	for i := firstWide(text); i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if Invisible(r) {
			n++
		}
		i += size
	}
	return n
}

// Letter is the ASCII letter or digit that a character looks like in common fonts, or the character itself. Full-width,
// mathematical and accented letters are the business of NFKD, which comes before it.
func Letter(r rune) rune {
	if r < utf8.RuneSelf {
		return r
	}
	switch {
	case r >= 0x1F1E6 && r <= 0x1F1FF: // what flags are made of
		return r - 0x1F1E6 + 'A'
	case r >= 0x1F150 && r <= 0x1F169: // white in a black circle
		return r - 0x1F150 + 'A'
	case r >= 0x1F170 && r <= 0x1F189: // white in a black square
		return r - 0x1F170 + 'A'
	}

	i, ok := slices.BinarySearchFunc(lookAlikes[:], r, func(p lookAlike, r rune) int { return cmp.Compare(p.from, r) })
	if ok {
		return lookAlikes[i].to
	}

	return r
}
