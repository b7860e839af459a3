package pdf

import (
	"bytes"
	"strconv"
	"strings"

	"postern/internal/mail/ascii"
)

// kind of a token. ISO 32000-1, 7.2 and 7.3
type kind byte

const (
	end kind = iota
	name
	text // a string, literal or hexadecimal
	number
	word // keywords: obj, stream, R
	open // << [
	shut // >> ]
)

type token struct {
	kind  kind
	value string
	at    int // where it ends
}

type lexer struct {
	b  []byte
	at int
}

const maxToken = 1 << 20 // octets of a string that are kept

func isSpace(c byte) bool {
	return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f' || c == 0
}

func isDelimiter(c byte) bool { return bytes.IndexByte([]byte("()<>[]{}/%"), c) >= 0 }

func isRegular(c byte) bool { return !isSpace(c) && !isDelimiter(c) }

// atDouble says whether "<<" or ">>" is next, the brackets of a dictionary.
func (l *lexer) atDouble(c byte) bool { return (c == '<' || c == '>') && l.peek(1) == c }

func isSquare(c byte) bool { return c == '[' || c == ']' }

func bracketKind(c byte) kind {
	if c == '[' || c == '<' {
		return open
	}
	return shut
}

func (l *lexer) next() token {
	for l.at < len(l.b) {
		c := l.b[l.at]
		switch {
		case isSpace(c):
			l.at++
		case c == '%':
			l.comment()
		case c == '/':
			l.at++
			return token{name, unescaped(l.regular()), l.at}
		case c == '(':
			return token{text, l.literal(), l.at}
		case l.atDouble(c):
			l.at += 2
			return token{bracketKind(c), string([]byte{c, c}), l.at}
		case c == '<':
			return token{text, l.hex(), l.at}
		case isSquare(c):
			l.at++
			return token{bracketKind(c), string([]byte{c}), l.at}
		case isDelimiter(c):
			l.at++
		default:
			return l.word()
		}
	}
	return token{end, "", l.at}
}

func (l *lexer) peek(n int) byte {
	if l.at+n < len(l.b) {
		return l.b[l.at+n]
	}
	return 0
}

func (l *lexer) comment() {
	if i := bytes.IndexAny(l.b[l.at:min(len(l.b), l.at+4096)], "\r\n"); i >= 0 {
		l.at += i
		return
	}
	l.at = min(len(l.b), l.at+4096)
}

func (l *lexer) regular() []byte {
	start := l.at
	for l.at < len(l.b) && isRegular(l.b[l.at]) {
		l.at++
	}
	return l.b[start:min(l.at, start+maxToken)]
}

func (l *lexer) word() token {
	w := l.regular()
	if c := w[0]; ascii.IsDigit(c) || strings.IndexByte("-+.", c) >= 0 {
		return token{number, string(w[:min(len(w), 32)]), l.at}
	}
	return token{word, string(w[:min(len(w), 64)]), l.at}
}

// unescaped resolves #xx in names: /J#61vaScript is /JavaScript. ISO 32000-1, 7.3.5
func unescaped(n []byte) string {
	n = n[:min(len(n), 256)]
	if bytes.IndexByte(n, '#') < 0 {
		return string(n)
	}
	out := make([]byte, 0, len(n))
	for i := 0; i < len(n); i++ {
		if n[i] == '#' && i+2 < len(n) {
			if v, err := strconv.ParseUint(string(n[i+1:i+3]), 16, 8); err == nil {
				out = append(out, byte(v))
				i += 2
				continue
			}
		}
		out = append(out, n[i])
	}
	return string(out)
}

// literal reads a string in brackets, which nest. ISO 32000-1, 7.3.4.2
func (l *lexer) literal() string {
	var out []byte
	depth := 0
	for ; l.at < len(l.b); l.at++ {
		c := l.b[l.at]
		switch c {
		case '(':
			if depth++; depth == 1 {
				continue
			}
		case ')':
			if depth--; depth == 0 {
				l.at++
				return string(out)
			}
		case '\\':
			l.at++
			c = l.escape()
			if c == 0 {
				continue
			}
		}
		if len(out) < maxToken {
			out = append(out, c)
		}
	}
	return string(out)
}

// escape stands behind the backslash and leaves l.at on the last octet of the escape. Zero is an escaped line end.
func (l *lexer) escape() byte {
	if l.at >= len(l.b) {
		return 0
	}
	switch c := l.b[l.at]; c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b', 'f':
		return ' '
	case '\r', '\n':
		return 0
	case '0', '1', '2', '3', '4', '5', '6', '7':
		return l.octal(c)
	default:
		return c
	}
}

// octal reads up to two digits more.
func (l *lexer) octal(first byte) byte {
	v := int(first - '0')
	for range 2 {
		if d := l.peek(1); d < '0' || d > '7' {
			break
		}
		l.at++
		v = v<<3 | int(l.b[l.at]-'0')
	}
	return byte(v)
}

func (l *lexer) hex() string {
	l.at++
	var out []byte
	high := -1
	for ; l.at < len(l.b); l.at++ {
		c := l.b[l.at]
		if c == '>' {
			l.at++
			break
		}
		v := hexDigit(c)
		if v < 0 {
			continue
		}
		if high < 0 {
			high = v
			continue
		}
		if len(out) < maxToken {
			out = append(out, byte(high<<4|v))
		}
		high = -1
	}
	if high >= 0 {
		out = append(out, byte(high<<4))
	}
	return string(out)
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
