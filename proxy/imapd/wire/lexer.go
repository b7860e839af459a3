package wire

import (
	"bytes"
	"strings"
)

// Kind is the kind of a token.
type Kind uint8

// The kinds. A String is a quoted string or a literal.
const (
	End Kind = iota
	Atom
	String
	Open
	Close
	Bad
)

// Token is one token of a command. Text is decoded.
type Token struct {
	Kind Kind
	Text string
}

// Lexer gives the tokens of a command that ReadCommand has read.
type Lexer struct {
	text []byte
	at   int
}

// NewLexer gives the tokens of a text whose literals stand in it.
func NewLexer(text []byte) *Lexer { return &Lexer{text: text} }

// Next gives the next token. Spaces part tokens and are not given.
func (l *Lexer) Next() Token {
	for l.at < len(l.text) && l.text[l.at] == ' ' {
		l.at++
	}
	if l.at >= len(l.text) {
		return Token{}
	}
	rest := l.text[l.at:]
	switch rest[0] {
	case '(':
		l.at++
		return Token{Kind: Open}
	case ')':
		l.at++
		return Token{Kind: Close}
	case '"':
		n := quotedEnd(rest)
		if n < 0 {
			return l.bad()
		}
		l.at += n
		return Token{String, Unquote(string(rest[1 : n-1]))}
	case '{', '~':
		return l.literal(rest)
	}
	return l.atom(rest)
}

func (l *Lexer) bad() Token {
	l.at = len(l.text)
	return Token{Kind: Bad}
}

func (l *Lexer) literal(rest []byte) Token {
	i := bytes.Index(rest, []byte("\r\n"))
	if i < 0 {
		if rest[0] == '~' {
			return l.atom(rest)
		}
		return l.bad()
	}
	lit, ok := ParseLiteral(rest[:i])
	if !ok || lit.Size > int64(len(rest)-i-2) {
		return l.bad()
	}
	end := i + 2 + int(lit.Size)
	l.at += end
	return Token{String, string(rest[i+2 : end])}
}

// atom reads an atom. The brackets of a section are part of it, with all that stands in them: RFC 9051 section 9, section.
func (l *Lexer) atom(rest []byte) Token {
	n, inside := 0, false
	for n < len(rest) {
		ch := rest[n]
		if !inside && strings.IndexByte(" ()", ch) >= 0 {
			break
		}
		switch {
		case ch == '[':
			inside = true
		case ch == ']':
			inside = false
		case inside && (ch == '"' || ch == '{'):
			size := stringLength(rest[n:])
			if size < 0 {
				return l.bad()
			}
			n += size - 1
		}
		n++
	}
	l.at += n

	return Token{Atom, string(rest[:n])}
}

// stringLength is how many octets a quoted string or a literal has, -1 if it is none.
func stringLength(rest []byte) int {
	if rest[0] == '"' {
		return quotedEnd(rest)
	}

	i := bytes.Index(rest, []byte("\r\n"))
	if i < 0 {
		return -1
	}
	lit, ok := ParseLiteral(rest[:i])
	if !ok || lit.Size > int64(len(rest)-i-2) {
		return -1
	}

	return i + 2 + int(lit.Size)
}

// AString reads a token that is an atom or a string: RFC 9051 section 9, astring.
func (l *Lexer) AString() (string, bool) {
	t := l.Next()
	return t.Text, t.Kind == Atom || t.Kind == String
}

// Remaining is what was not read yet, as it came.
func (l *Lexer) Remaining() string {
	return strings.TrimPrefix(string(l.text[min(l.at, len(l.text)):]), " ")
}

// Unquote takes the backslashes out of what stands within quotes.
func Unquote(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Quote makes a quoted string. The text must hold no CR, LF or NUL.
func Quote(s string) string {
	if !strings.ContainsAny(s, `\"`) {
		return `"` + s + `"`
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// Quotable says whether a quoted string can hold the text: RFC 9051 section 9, quoted, in ASCII.
func Quotable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return len(s) <= 1000
}
