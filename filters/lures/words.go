package lures

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/internal/mimeview/confusable"
)

// folding gives each character the form in which texts are compared: small, without accents, look-alikes as what they look
// like. The characters of most mail are looked up.
type folding struct{ low [lowRunes]string }

const lowRunes = 0x600

func newFolding() *folding {
	f := &folding{}
	for r := range rune(lowRunes) {
		f.low[r] = fold(r)
	}

	return f
}

// fold gives "" for a mark that is left out and " " for what parts words.
func fold(r rune) string {
	if isCurrency(r) {
		return " " + string(r) + " "
	}
	folded := strings.ToLower(confusable.Fold(string(unicode.ToLower(r))))
	if folded == "" {
		return ""
	}
	for _, one := range folded {
		if !unicode.IsLetter(one) && !unicode.IsDigit(one) && !unicode.IsMark(one) {
			return " "
		}
	}

	return folded
}

func isCurrency(r rune) bool { return r == '$' || r == '£' || r == '€' || r == '₿' || r == '¥' }

// arabic is the form of a letter in which Arabic and Persian writers differ, or do not care: 0 for a mark of vowels.
func arabic(r rune) rune {
	switch {
	case r == 'ي', r == 'ى':
		return 'ی'
	case r == 'ك':
		return 'ک'
	case r == 'ة', r == 'ۀ':
		return 'ه'
	case r == 'أ', r == 'إ', r == 'آ', r == 'ٱ':
		return 'ا'
	case r >= 0x660 && r <= 0x669:
		return '0' + r - 0x660
	case r >= 0x6f0 && r <= 0x6f9:
		return '0' + r - 0x6f0
	case r >= 0x64b && r <= 0x65f, r == 0x640, r == 0x670:
		return 0
	case r == '،', r == '؛', r == '؟', r == '۔', r >= 0x600 && r < 0x620:
		return ' '
	}

	return r
}

// isArabic holds for the block of letters that Arabic and Persian are written in.
func isArabic(r rune) bool { return r >= 0x600 && r < 0x700 }

// needsNoSpace holds for kana and Chinese characters.
func needsNoSpace(r rune) bool { return r >= 0x3041 && r <= 0x30ff || r >= 0x3400 && r <= 0x9fff }

// writer writes words with one space between them.
type writer struct {
	*folding
	b []byte
}

func (w *writer) space() {
	if n := len(w.b); n > 0 && w.b[n-1] != ' ' {
		w.b = append(w.b, ' ')
	}
}

// write adds a text.
func (w *writer) write(text string) {
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			w.ascii(c)
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		w.rune(r)
		i += size
	}
	w.space()
}

func (w *writer) ascii(c byte) {
	switch {
	case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		w.letter(c)
	case c >= 'A' && c <= 'Z':
		w.letter(c + 'a' - 'A')
	case c == '$':
		w.space()
		w.b = append(w.b, '$', ' ')
	case c == '\n' && w.behindIdeograph():
	default:
		w.space()
	}
}

func (w *writer) letter(c byte) {
	if w.behindIdeograph() {
		w.b = append(w.b, ' ')
	}
	w.b = append(w.b, c)
}

func (w *writer) behindIdeograph() bool {
	n := len(w.b)

	return n > 2 && w.b[n-1] >= utf8.RuneSelf && isIdeograph(w.b[n-1], w.b, n-1)
}

func (w *writer) rune(r rune) {
	switch {
	case r < lowRunes:
		w.folded(w.low[r])
	case isArabic(r):
		if r = arabic(r); r == ' ' {
			w.space()
		} else if r != 0 {
			w.b = utf8.AppendRune(w.b, r)
		}
	case needsNoSpace(r):
		if n := len(w.b); n > 0 && w.b[n-1] < utf8.RuneSelf {
			w.space()
		}
		w.b = utf8.AppendRune(w.b, r)
	default:
		w.folded(fold(r))
	}
}

func (w *writer) folded(s string) {
	switch {
	case s == "":
	case s[0] == ' ':
		w.space()
		if len(s) > 1 {
			w.b = append(w.b, s[1:]...)
		}
	case s[0] < utf8.RuneSelf:
		w.letter(s[0])
		w.b = append(w.b, s[1:]...)
	default:
		w.b = append(w.b, s...)
	}
}
