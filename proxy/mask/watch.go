package mask

import (
	"strings"

	"postern/internal/mail/ascii"
)

// Watch reads a header as it comes, in pieces of any length, and finds where one of its readers could see the body begin: a
// line that is no field, or what stands behind the empty line. It is for messages that nobody has judged yet. Its zero
// value begins at the top.
type Watch struct {
	in    place
	name  int  // octets of the name so far
	cr    bool // the last octet was a CR
	begun bool // there was a field
	over  bool
}

// place is where in a header a Watch is.
type place uint8

const (
	atLine place = iota // at the first octet of a line
	inName              // in the name of a field
	inFold              // in the white space that begins a fold
	inText              // in a line that is a header's for everybody
	atEnd               // behind the empty line
)

// End says how many octets of the next piece are the header's for every reader. Once it is less than all it is 0.
func (w *Watch) End(b []byte) int {
	if w.over {
		return 0
	}
	line := 0
	for i, c := range b {
		if w.in == atLine || w.in == atEnd {
			line = i
		}
		if w.take(c); w.over {
			return line
		}
	}
	return len(b)
}

// take takes an octet. A line ends at CRLF, LF or CR, whichever comes, as in fieldLine's.
func (w *Watch) take(c byte) {
	crlf := w.cr && c == '\n'
	w.cr = c == '\r'

	switch {
	case crlf: // the line ended before it
	case w.in == atEnd:
		w.over = true
	case c == '\r' || c == '\n':
		w.lineEnd()
	default:
		w.inLine(c)
	}
}

// inLine takes an octet that ends no line.
func (w *Watch) inLine(c byte) {
	noName := c <= ' ' || c >= 0x7f

	switch w.in {
	case atLine:
		if ascii.IsBlank(c) {
			w.in, w.over = inFold, !w.begun
			return
		}
		w.in, w.name = inName, 1
		w.over = noName || c == ':'
	case inName:
		if c == ':' {
			w.in, w.begun = inText, true
			return
		}
		w.name++
		w.over = noName || w.name > maxName
	case inFold:
		if strings.IndexByte(" \t\x00\v\f", c) < 0 {
			w.in = inText
		}
	}
}

func (w *Watch) lineEnd() {
	switch w.in {
	case atLine: // RFC 5322 section 2.1: the body follows the first empty line
		w.in = atEnd
	case inText:
		w.in = atLine
	default:
		w.over = true
	}
}
