package relays

import (
	"net/netip"
	"strings"
)

// A pattern describes how a server writes a handover. Every character stands for itself but for % and the letter behind it:
//
//	%h %r %b %t   a word that is HELO name, reverse name, "by" or ident; in capitals it may be empty
//	%i            an address that is kept, %I one that is not
//	%w %W         a word that is not kept, and one that may be empty
//	%*            any text, as long as can be, %? as short as can be
//	%p            text without a closing parenthesis, kept as a note, %P the same, possibly empty, kept as HELO name
//	%e            HELO or EHLO
//	%d            a number
//	%%            a percent sign
//	$             at the end of the pattern: the end of the text
//	~x            the character x, or nothing
type match map[byte]string

// try matches a pattern at the front of a text; rest is what stands behind.
func try(pattern, text string) (m match, rest string, ok bool) {
	m = match{}
	rest, ok = m.match(pattern, text)
	return m, rest, ok
}

func (m match) match(pattern, text string) (rest string, ok bool) {
	for pattern != "" {
		switch pattern[0] {
		case '~':
			if rest, ok := m.optional(pattern, text); ok {
				return rest, true
			}
			pattern = pattern[2:]
			continue
		case '$':
			if len(pattern) == 1 {
				return "", text == ""
			}
		case '%':
			if pattern[1] == '%' {
				pattern = pattern[1:]
				break
			}
			return m.variable(pattern[1], pattern[2:], text)
		}
		if text == "" || text[0] != pattern[0] {
			return "", false
		}
		pattern, text = pattern[1:], text[1:]
	}
	return text, true
}

// optional matches a pattern with the character at its front that may be missing.
func (m match) optional(pattern, text string) (rest string, ok bool) {
	if !strings.HasPrefix(text, pattern[1:2]) {
		return "", false
	}
	return m.match(pattern[2:], text[1:])
}

// variable matches what a letter stands for and the pattern behind it.
func (m match) variable(letter byte, pattern, text string) (rest string, ok bool) {
	switch letter {
	case 'i', 'I':
		n := addressLength(text)
		if n == 0 {
			return "", false
		}
		return m.keep(letter, n, pattern, text)
	case 'e':
		if !strings.HasPrefix(text, "HELO") && !strings.HasPrefix(text, "EHLO") {
			return "", false
		}
		return m.keep(letter, 4, pattern, text)
	case '?':
		return m.shortest(letter, pattern, text)
	}
	return m.longest(letter, pattern, text)
}

// shortest matches as few octets as the pattern behind allows, longest as many.
func (m match) shortest(letter byte, pattern, text string) (rest string, ok bool) {
	for n := 0; n <= len(text); n++ {
		if rest, ok := m.keep(letter, n, pattern, text); ok {
			return rest, true
		}
	}
	return "", false
}

func (m match) longest(letter byte, pattern, text string) (rest string, ok bool) {
	least, longest := 1, reach(letter, text)
	if letter == '*' || letter >= 'A' && letter <= 'Z' {
		least = 0
	}
	for n := longest; n >= least; n-- {
		if rest, ok := m.keep(letter, n, pattern, text); ok {
			return rest, true
		}
	}
	return "", false
}

// reach is how far what a letter stands for can go.
func reach(letter byte, text string) int {
	end := -1
	switch letter {
	case '*':
	case 'd':
		end = strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	case 'p', 'P':
		end = strings.IndexByte(text, ')')
	default:
		end = strings.IndexByte(text, ' ')
	}
	if end < 0 {
		return len(text)
	}
	return end
}

func (m match) keep(letter byte, n int, pattern, text string) (rest string, ok bool) {
	if rest, ok = m.match(pattern, text[n:]); ok {
		if letter == 'P' {
			letter = 'h'
		}
		m[letter|0x20] = text[:n]
	}
	return rest, ok
}

// addressLength is the length of a network address at the front of a text, 0 if there is none.
func addressLength(text string) int {
	front := 0
	if len(text) > 5 && strings.EqualFold(text[:5], "ipv6:") {
		front = 5
	}
	for end := front + addressRun(text[front:]); end > front+1; end-- {
		if end < len(text) && isWord(text[end]) && isWord(text[end-1]) {
			continue
		}
		if a, err := netip.ParseAddr(text[front:end]); err == nil && (front == 0 || a.Is6()) {
			return end
		}
	}
	return 0
}

// addressRun counts the octets at the front that addresses are written with, up to the longest one's.
func addressRun(text string) (n int) {
	for n < len(text) && n < 45 && isAddressByte(text[n]) {
		n++
	}
	return n
}

func isAddressByte(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' || c == '.' || c == ':'
}

func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_'
}
