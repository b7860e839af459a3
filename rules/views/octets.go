package views

import "strings"

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isQuote(c byte) bool { return c == '"' || c == '\'' }

// stands says whether an octet stands at an offset.
func stands(text string, i int, c byte) bool { return i < len(text) && text[i] == c }

// wordEnd gives the offset of the next white space, that of the end if there is none.
func wordEnd(text string, i int) int {
	for i < len(text) && !isSpace(text[i]) {
		i++
	}
	return i
}

// before gives the offset of the next of some marks, that of the end if there is none.
func before(text string, i int, marks string) int {
	if n := strings.IndexAny(text[i:], marks); n >= 0 {
		return i + n
	}
	return len(text)
}

// wordRun counts the letters, digits and underscores at the front, up to a limit.
func wordRun(text string, limit int) (n int) {
	for n < len(text) && n < limit && isWordByte(text[n]) {
		n++
	}
	return n
}

// digitRun counts the digits at the front, up to a limit.
func digitRun(text string, limit int) (n int) {
	for n < len(text) && n < limit && isDigit(text[n]) {
		n++
	}
	return n
}
