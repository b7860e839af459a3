// Package recode writes parts of a message in another transfer encoding. What they hold stays the same, to the octet.
package recode

import (
	"bytes"
	"encoding/base64"
	"mime/quotedprintable"
	"slices"
	"strings"

	"postern/internal/mail"
	"postern/internal/mimeview"
)

// MaxLine is how long a line may be, in octets without CRLF: RFC 5322 section 2.1.1, RFC 5321 section 4.5.3.1.6.
const MaxLine = 998

const encodingField = "Content-Transfer-Encoding"

// Leaf gives what has to change so that a part without parts is written anew, in the shorter one of quoted-printable and
// base64. head is its header and text its body as they stand in the message, at their offsets. Fields that the header lacks
// stand in missing: they go wherever the caller puts new fields of that header.
func Leaf(p *mimeview.Part, headAt int64, head, text []byte) (spans []mail.Span, missing string) {
	coded, name := code(text, strings.HasPrefix(p.Type, "text/"))
	spans, missing = label(headAt, head, name)
	return append(spans, mail.Span{From: p.Start, To: p.End, With: coded}), missing
}

// label writes the name of an encoding into a header. The first field takes it, others go.
func label(headAt int64, head []byte, name string) (spans []mail.Span, missing string) {
	field := encodingField + ": " + name + "\r\n"
	for _, f := range mail.ParseHeader(head).All(encodingField) {
		from := headAt + int64(f.Offset)
		spans = append(spans, mail.Span{From: from, To: from + int64(len(f.Raw)), With: []byte(field)})
		field = ""
	}
	return spans, field
}

// escapes counts the octets that quoted-printable writes as "=XX".
func escapes(text []byte, lines bool) (count int) {
	for i, c := range text {
		coded := false
		switch c {
		case '\r', '\n':
			coded = !lines
		case ' ', '\t':
			coded = i+1 < len(text) && text[i+1] == '\r'
		default:
			coded = c == '=' || c < ' ' || c > '~'
		}
		if coded {
			count++
		}
	}
	return count
}

// code writes text in the encoding that is shorter, and says which. Line breaks stay readable only where it is a text.
func code(text []byte, lines bool) ([]byte, string) {
	// RFC 2045 section 6.7: three octets stand for one; section 6.8: four for three, in lines of 76
	if 2*escapes(text, lines) > len(text)*4/10 {
		return inBase64(text), "base64"
	}
	var coded bytes.Buffer
	w := quotedprintable.NewWriter(&coded)
	w.Binary = !lines
	_, _ = w.Write(text) // a buffer takes all
	_ = w.Close()
	if bytes.Contains(coded.Bytes(), []byte("=\r\n--")) { // a line that was broken there must not look like a delimiter
		return inBase64(text), "base64"
	}
	return coded.Bytes(), "quoted-printable"
}

// inBase64 writes lines of 76 octets: RFC 2045 section 6.8.
func inBase64(text []byte) []byte {
	const atOnce = 57 // octets a line
	var coded []byte
	for piece := range slices.Chunk(text, atOnce) {
		if coded != nil {
			coded = append(coded, "\r\n"...)
		}
		coded = base64.StdEncoding.AppendEncode(coded, piece)
	}
	return coded
}

// HasLong says whether a line is too long.
func HasLong(text []byte) bool {
	for line := range bytes.SplitSeq(text, []byte("\r\n")) {
		if len(line) > MaxLine {
			return true
		}
	}
	return false
}
