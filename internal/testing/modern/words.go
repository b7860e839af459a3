package modern

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
)

func ascii(text string) bool {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return false
		}
	}
	return true
}

// encoded is a text in a charset.
func encoded(charset, text string) ([]byte, error) {
	if charset == "" || charset == "utf-8" || charset == "us-ascii" {
		return []byte(text), nil
	}
	e, err := htmlindex.Get(charset)
	if err != nil {
		return nil, fmt.Errorf("charset %s: %w", charset, err)
	}
	return encoding.ReplaceUnsupported(e.NewEncoder()).Bytes([]byte(text))
}

// words is an unstructured value or a display name as a field has it: RFC 2047, or octets as they are. used are the columns
// that the field's name takes.
func (c *composer) words(text string, used int) string {
	charset := c.keys["wordset"]
	how := c.keys["words"]
	if how == "raw" {
		b, err := encoded(charset, text)
		if err != nil {
			return text
		}
		return string(b)
	}
	if ascii(text) && how != "always" {
		return folded(text, used)
	}
	if charset == "" {
		charset = "UTF-8"
	}
	if c.keys["wordcase"] == "lower" {
		charset = strings.ToLower(charset)
	}
	var all []string
	for text != "" {
		n := c.fits(text, charset, how, 74-used)
		all = append(all, c.word(text[:n], charset, how))
		text, used = text[n:], 1
	}
	return strings.Join(all, "\r\n ")
}

// fits is how many octets of a text make an encoded word of at most a width: RFC 2047 section 2.
func (c *composer) fits(text, charset, how string, width int) int {
	n := 0
	for n < len(text) {
		_, size := utf8.DecodeRuneInString(text[n:])
		if n > 0 && len(c.word(text[:n+size], charset, how)) > width {
			break
		}
		n += size
	}
	return n
}

func (c *composer) word(text, charset, how string) string {
	b, err := encoded(strings.ToLower(charset), text)
	if err != nil {
		return text
	}
	if how != "q" {
		return "=?" + charset + "?B?" + base64.StdEncoding.EncodeToString(b) + "?="
	}
	var out strings.Builder
	for _, o := range b {
		switch {
		case o == ' ':
			out.WriteByte('_')
		case o >= 'a' && o <= 'z', o >= 'A' && o <= 'Z', o >= '0' && o <= '9':
			out.WriteByte(o)
		default:
			fmt.Fprintf(&out, "=%02X", o)
		}
	}
	return "=?" + charset + "?Q?" + out.String() + "?="
}

// folded breaks a long line at spaces: RFC 5322 section 2.2.3.
func folded(text string, used int) string {
	var out strings.Builder
	column := used
	for i, w := range strings.Split(text, " ") {
		if i > 0 {
			if column+len(w) > 76 {
				out.WriteString("\r\n")
				column = 0
			}
			out.WriteByte(' ')
		}
		out.WriteString(w)
		column += len(w) + 1
	}
	return out.String()
}
