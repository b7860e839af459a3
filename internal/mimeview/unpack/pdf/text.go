package pdf

import (
	"bytes"
	"io"
	"strings"
)

// Bounds of what is looked at for text.
const (
	maxContents = 200       // streams
	maxContent  = 256 << 10 // octets of one
	maxAllText  = 2 << 20   // octets of all
)

// Glyphs counts what the pages show by their text operators, up to some more than enough: letters, roughly, whatever the
// fonts make of them. ISO 32000-1, 9.4.3
func (f Found) Glyphs(enough int) (n int) {
	room := maxAllText
	for _, s := range f.Streams[:min(len(f.Streams), maxContents)] {
		if s.Embedded || room <= 0 || n > enough {
			continue
		}
		r, err := s.Decode()
		if err != nil {
			continue
		}
		b, _ := io.ReadAll(io.LimitReader(r, int64(min(maxContent, room)))) // what could be decoded of a broken one counts
		room -= len(b)
		if bytes.Contains(b, []byte("BT")) && (bytes.Contains(b, []byte("Tj")) || bytes.Contains(b, []byte("TJ"))) {
			n += glyphs(b, enough)
		}
	}

	return n
}

func glyphs(b []byte, enough int) (n int) {
	l := lexer{b: b}
	shown := 0
	for n <= enough {
		switch t := l.next(); t.kind {
		case end:
			return n
		case text:
			shown += glyphsOf(t.value)
		case word:
			switch t.value {
			case "Tj", "TJ", "'", "\"":
				n += shown
			}
			shown = 0
		}
	}

	return n
}

// glyphsOf counts the letters of a string: octets, or pairs of them where fonts of many letters are used, which shows in the
// zeros.
func glyphsOf(v string) int {
	if len(v) > 1 && 3*strings.Count(v, "\x00") >= len(v) {
		return len(v) / 2
	}

	return len(v) - strings.Count(v, " ")
}
