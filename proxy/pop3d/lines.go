package pop3d

import (
	"bytes"
	"fmt"

	"postern/proxy/line"
)

// misconduct is what a server must not say.
type misconduct string

func (m misconduct) Error() string { return string(m) }

// response reads the lines of a response that has several: RFC 1939 section 3.
type response struct {
	in    *line.Reader
	limit int64 // octets that may come yet
	// inLine says that the last piece did not end its line, cr that it ended in CR, lone that the last line was ended by a
	// lone LF.
	inLine, cr, lone bool
}

// endsCRLF says whether a line ends in CRLF, whose CR may be the last octet of the piece before.
func (r *response) endsCRLF(p []byte) bool {
	return bytes.HasSuffix(p, []byte("\r\n")) || len(p) == 1 && r.cr
}

// isDotLine says whether a line ends a response: RFC 1939 section 3. Some readers take one without CR for it as well.
func isDotLine(line []byte) bool { return string(line) == ".\r\n" || string(line) == ".\n" }

// piece gives the next line, or a part of one longer than 32 KiB, as it came over the wire; begins says that a line
// begins with it. The line that ends the response is not ok.
//
// A dot that one of both sides may take for the end, and the other not, ends the connection: what comes behind it would
// be the next response for one of them.
func (r *response) piece() (p []byte, begins, ok bool, err error) {
	p, end, err := r.in.Segment()
	if err != nil {
		return nil, false, false, fmt.Errorf("within a response: %w", err)
	}
	if r.limit -= int64(len(p)); r.limit < 0 {
		return nil, false, false, misconduct("a response without an end")
	}
	begins = !r.inLine
	if begins && end && isDotLine(p) {
		if r.lone || len(p) < 3 {
			return nil, false, false, misconduct("a dot between lines not ended by CRLF")
		}
		return p, true, false, nil
	}
	if end {
		r.lone = !r.endsCRLF(p)
	}
	r.inLine, r.cr = !end, p[len(p)-1] == '\r'
	return p, begins, true, nil
}

// text gives the next piece with the dot taken away that was put in front of its line.
func (r *response) text() (p []byte, ok bool, err error) {
	p, begins, ok, err := r.piece()
	if ok && begins && p[0] == '.' {
		p = p[1:]
	}
	return p, ok, err
}

// stuffer writes the lines of a message: RFC 1939 section 3 doubles the dot that begins one.
type stuffer struct {
	out    *line.Writer
	inLine bool
	cr     bool // the last octet was a CR
	crlf   bool // the last line was ended by CRLF
}

func (w *stuffer) write(p []byte) {
	for len(p) > 0 {
		if !w.inLine && p[0] == '.' {
			w.out.Say(".")
		}
		n := bytes.IndexByte(p, '\n') + 1
		w.inLine = n == 0
		if n == 0 {
			n = len(p)
		} else {
			w.crlf = n > 1 && p[n-2] == '\r' || n == 1 && w.cr
		}
		w.cr = p[n-1] == '\r'
		w.out.Put(p[:n])
		p = p[n:]
	}
}

// end writes the line that ends the response.
func (w *stuffer) end() {
	if w.inLine {
		w.out.Say("\r\n")
	}
	w.out.Say(".\r\n")
}
