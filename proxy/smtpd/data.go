package smtpd

import (
	"bytes"
	"io"
)

// flaw is what a message's octets must not hold: RFC 5321 section 2.3.8 (bare CR and LF) and 4.5.2; RFC 5322 section 4
// (NUL). They are what SMTP smuggling is made of.
type flaw uint8

const (
	flawBareCR flaw = 1 << iota
	flawBareLF
	flawNUL
)

func (f flaw) String() string {
	switch {
	case f&flawBareLF != 0:
		return "bare LF"
	case f&flawBareCR != 0:
		return "bare CR"
	case f&flawNUL != 0:
		return "NUL"
	}
	return ""
}

type lineState uint8

const (
	atLineStart lineState = iota
	afterDot              // "." at the start of a line
	afterDotCR            // ".<CR>" at the start of a line
	inLine
	afterCR
)

// normaliser is the one place where message octets come in: it stands before every hash, filter and relay. It undoes dot
// stuffing (in DATA), finds the end of data, and lets only lines ended by CRLF through. What breaks that rule is noted
// in flaws; what it writes then is the normalised form: CRLF for a bare LF, a space for a bare CR or a NUL. Only the
// octets CR LF . CR LF as they came ever end the data.
type normaliser struct {
	out io.Writer
	// dots is set in DATA, where lines are dot-stuffed; BDAT chunks are literal (RFC 3030 section 2).
	dots  bool
	state lineState
	flaws flaw
	// size counts the octets after unstuffing; beyond limit they are counted and thrown away.
	size, limit int64
	// broken is a failure to write: ours, hence a 4xx.
	broken error
}

var (
	crlf  = []byte("\r\n")
	blank = []byte(" ")
)

func (d *normaliser) emit(p []byte) {
	if len(p) == 0 {
		return
	}
	d.size += int64(len(p))
	if d.size > d.limit || d.broken != nil {
		return
	}
	_, d.broken = d.out.Write(p)
}

// tooBig says whether the message is over its limit.
func (d *normaliser) tooBig() bool { return d.size > d.limit }

// take reads octets from p. It gives how many it used up and whether the end of data was among them.
func (d *normaliser) take(p []byte) (used int, end bool) {
	for used < len(p) {
		switch d.state {
		case inLine:
			used += d.inLine(p[used:])
		case atLineStart:
			if p[used] == '.' && d.dots {
				d.state = afterDot
				used++
				continue
			}
			d.state = inLine
		case afterDot:
			// RFC 5321 section 4.5.2: the first dot of a line goes, unless it is all of the line.
			if p[used] == '\r' {
				d.state = afterDotCR
				used++
				continue
			}
			d.state = inLine
		case afterDotCR:
			if p[used] == '\n' {
				d.state = atLineStart
				return used + 1, true
			}
			d.state = afterCR // the dot was stuffing, the CR is judged like any other
		case afterCR:
			used += d.afterCR(p[used])
		}
	}
	return used, false
}

// window is how far ahead inLine looks: what it looks through once for each bare CR or NUL must not be the whole buffer.
const window = 1024

// inLine copies up to the next octet that matters. The common case, a whole line, is one write.
func (d *normaliser) inLine(p []byte) int {
	p = p[:min(len(p), window)]
	n := bytes.IndexByte(p, '\n')
	line := p
	if n >= 0 {
		line = p[:n+1]
	}
	if i := bytes.IndexByte(line, '\r'); i >= 0 {
		if i == len(line)-2 && n >= 0 && bytes.IndexByte(line, 0) < 0 {
			d.emit(line)
			d.state = atLineStart
			return len(line)
		}
		line = line[:i]
	} else if n >= 0 {
		line = p[:n]
	}
	if i := bytes.IndexByte(line, 0); i >= 0 {
		line = line[:i]
	}
	d.emit(line)
	if len(line) == len(p) {
		return len(line)
	}
	switch p[len(line)] {
	case '\r':
		d.state = afterCR
	case '\n':
		d.flaws |= flawBareLF
		d.emit(crlf) // not a line start: a dot behind a bare LF is text
	case 0:
		d.flaws |= flawNUL
		run := 1
		for len(line)+run < len(p) && p[len(line)+run] == 0 {
			run++
		}
		d.emit(bytes.Repeat(blank, run))
		return len(line) + run
	}
	return len(line) + 1
}

func (d *normaliser) afterCR(c byte) int {
	if c == '\n' {
		d.emit(crlf)
		d.state = atLineStart
		return 1
	}
	d.flaws |= flawBareCR
	d.emit(blank)
	if c == '\r' {
		return 1
	}
	d.state = inLine
	return 0
}

// finish ends a message that came in chunks: what hangs is settled, and the last line gets its CRLF (RFC 5321 section
// 4.1.1.4 wants one when the message goes on by DATA).
func (d *normaliser) finish() {
	switch d.state {
	case afterCR:
		d.flaws |= flawBareCR
		d.emit(crlf)
	case inLine:
		if d.size > 0 {
			d.emit(crlf)
		}
	}
	d.state = atLineStart
}
