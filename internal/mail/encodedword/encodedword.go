// Package encodedword reads the encoded words of header fields (RFC 2047) as mail readers do, not as the RFC asks them to:
// also within quotes, within a word, with spaces inside, in any charset, with base64 that lacks its padding, and with a
// character cut in two between one word and the next. Every check that looks at what a person is shown uses it.
package encodedword

import (
	"encoding/base64"
	"strings"

	"postern/internal/mail/ascii"
	"postern/internal/mail/charset"
)

// MaxValue is how much of a value is read, in octets: more than any reader shows. What is behind stays as it is.
const MaxValue = 64 << 10

// maxWord is how long an encoded word may be, in octets. RFC 2047 section 2 says 75; programs go far over it.
const maxWord = 16 << 10

// Decode gives the text that a value shows. What can't be decoded stays as it is; octets that are not ASCII are read as
// UTF-8 or Windows-1252.
func Decode(value string) string {
	if !strings.Contains(value, "=?") {
		return plain(value)
	}

	var b strings.Builder
	rest := value
	var run chunk // encoded words that follow one another

	for len(value)-len(rest) < MaxValue {
		i := strings.Index(rest, "=?")
		if i < 0 {
			break
		}

		w, n, ok := word(rest[i:])
		if !ok {
			run.end(&b)
			b.WriteString(plain(rest[:i+2]))
			rest = rest[i+2:]
			continue
		}

		// RFC 2047 section 6.2: white space between encoded words is not shown
		if strings.Trim(rest[:i], " \t\r\n") != "" || !run.open {
			run.end(&b)
			b.WriteString(plain(rest[:i]))
		}

		run.add(&b, w)
		rest = rest[i+n:]
	}

	run.end(&b)
	b.WriteString(plain(rest))

	return b.String()
}

func plain(text string) string {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return charset.ToUTF8([]byte(text), "")
		}
	}

	return text
}

// chunk is octets of one charset, gathered from one or more words.
type chunk struct {
	open    bool
	charset string
	octets  []byte
}

func (c *chunk) add(b *strings.Builder, w chunk) {
	if c.open && c.charset != w.charset {
		c.end(b)
	}

	c.open, c.charset = true, w.charset
	c.octets = append(c.octets, w.octets...)
}

func (c *chunk) end(b *strings.Builder) {
	if c.open {
		b.WriteString(charset.ToUTF8(c.octets, c.charset))
	}

	c.open, c.octets = false, c.octets[:0]
}

// word reads "=?charset?encoding?text?=" from the front and gives its length.
func word(text string) (w chunk, n int, ok bool) {
	name, rest, ok := strings.Cut(text[2:], "?")
	ok = ok && len(name) <= 60 && !strings.ContainsAny(name, " \t<>@\"")
	if !ok || len(rest) < 2 || rest[1] != '?' {
		return chunk{}, 0, false
	}

	coded, _, ok := strings.Cut(rest[2:min(len(rest), 2+maxWord)], "?=")
	if !ok {
		return chunk{}, 0, false
	}

	n = 2 + len(name) + 1 + 2 + len(coded) + 2
	name, _, _ = strings.Cut(name, "*") // RFC 2231 section 5: a language may follow
	w = chunk{charset: charset.Name(name)}

	switch rest[0] | 0x20 {
	case 'q':
		w.octets = quoted(coded)
	case 'b':
		w.octets = base(coded)
	default:
		return chunk{}, 0, false
	}

	return w, n, true
}

// quoted undoes the Q encoding: RFC 2047 section 4.2.
func quoted(text string) []byte {
	out := make([]byte, 0, len(text))

	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '_':
			out = append(out, ' ')
		case c == '=' && i+2 < len(text) && ascii.HexValue(text[i+1]) >= 0 && ascii.HexValue(text[i+2]) >= 0:
			out = append(out, byte(ascii.HexValue(text[i+1])<<4|ascii.HexValue(text[i+2])))
			i += 2
		default:
			out = append(out, c)
		}
	}

	return out
}

// base undoes base64 and overlooks what is not of its alphabet, padding too: some programs encode piece by piece.
func base(text string) []byte {
	var out, letters []byte

	flush := func() {
		if len(letters)%4 == 1 {
			letters = letters[:len(letters)-1]
		}

		octets, err := base64.RawStdEncoding.DecodeString(string(letters))
		if err == nil {
			out = append(out, octets...)
		}

		letters = letters[:0]
	}

	for i := range len(text) {
		switch c := text[i]; {
		case charset.InBase64(c):
			letters = append(letters, c)
		case c == '=':
			flush()
		}
	}

	flush()

	return out
}
