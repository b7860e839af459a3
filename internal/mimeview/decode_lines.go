package mimeview

import (
	"bytes"

	"postern/internal/mail/ascii"
)

// lineReader cuts what comes into lines without their ends, of maxLine octets at most.
type lineReader struct{ line []byte }

const maxLine = 8 << 10

func (r *lineReader) each(in []byte, line func([]byte)) {
	for _, c := range in {
		if c == '\n' {
			line(bytes.TrimSuffix(r.line, []byte("\r")))
			r.line = r.line[:0]
			continue
		}
		if len(r.line) < maxLine {
			r.line = append(r.line, c)
		}
	}
}

func (r *lineReader) last(line func([]byte)) {
	if len(r.line) > 0 {
		line(bytes.TrimSuffix(r.line, []byte("\r")))
	}
	r.line = nil
}

// uuDecoder reads from a "begin" line to "end" (POSIX uuencode, also its base64 form).
type uuDecoder struct {
	lines         lineReader
	started, done bool
	inner         *base64Decoder
}

func (d *uuDecoder) decode(out, in []byte) []byte {
	d.lines.each(in, func(line []byte) { out = d.one(out, line) })
	return out
}

func (d *uuDecoder) finish(out []byte) []byte {
	d.lines.last(func(line []byte) { out = d.one(out, line) })
	if d.inner != nil {
		out = d.inner.finish(out)
	}
	return out
}

func (d *uuDecoder) one(out, line []byte) []byte {
	if d.done {
		return out
	}
	if !d.started {
		d.started = true
		if d.begin(line) {
			return out
		}
	}
	if d.inner != nil {
		if bytes.HasPrefix(line, []byte("====")) {
			d.done = true
			return out
		}
		return d.inner.decode(out, line)
	}
	if string(bytes.TrimSpace(line)) == "end" {
		d.done = true
		return out
	}
	if len(line) < 2 {
		return out
	}
	return uuLine(out, line)
}

// begin takes a first line. It says whether that is one that begins uuencode, and no content.
func (d *uuDecoder) begin(line []byte) bool {
	lower := bytes.ToLower(line)
	if bytes.HasPrefix(lower, []byte("begin-base64")) {
		d.inner = &base64Decoder{way: base64}
	}
	return bytes.HasPrefix(lower, []byte("begin"))
}

// uuLine decodes a line, whose first octet says how many octets it stands for.
func uuLine(out, line []byte) []byte {
	want := int(line[0]-' ') & 0x3f
	line = line[1:]
	for want > 0 && len(line) > 0 {
		var q [4]byte // short lines lack trailing blanks: they count as blanks
		for i := range q {
			if i < len(line) {
				q[i] = (line[i] - ' ') & 0x3f
			}
		}
		triple := [3]byte{q[0]<<2 | q[1]>>4, q[1]<<4 | q[2]>>2, q[2]<<6 | q[3]}
		n := min(want, 3)
		out = append(out, triple[:n]...)
		want -= n
		line = line[min(4, len(line)):]
	}
	return out
}

// yDecoder reads yEnc 1.3 from its "=ybegin" line to "=yend".
type yDecoder struct {
	lines lineReader
	done  bool
}

func (d *yDecoder) decode(out, in []byte) []byte {
	d.lines.each(in, func(line []byte) { out = d.one(out, line) })
	return out
}

func (d *yDecoder) finish(out []byte) []byte {
	d.lines.last(func(line []byte) { out = d.one(out, line) })
	return out
}

func (d *yDecoder) one(out, line []byte) []byte {
	if bytes.HasPrefix(line, []byte("=yend")) {
		d.done = true
	}
	if d.done || bytes.HasPrefix(line, []byte("=ybegin")) || bytes.HasPrefix(line, []byte("=ypart")) {
		return out
	}
	line = bytes.TrimPrefix(line, []byte("..")[:min(1, max(0, bytes.Count(line[:min(2, len(line))], []byte("."))-1))])
	escaped := false
	for _, c := range line {
		switch {
		case escaped:
			out = append(out, c-64-42)
			escaped = false
		case c == '=':
			escaped = true
		default:
			out = append(out, c-42)
		}
	}
	return out
}

// softBreaks takes soft line breaks away (RFC 2045 section 6.7 rule 5) before anything else is decoded, as readers do
// that replace them in the whole text first; a lone CR ends a line for it, too.
type softBreaks struct {
	held []byte // "=" and the white space behind it
	cr   bool   // the break that just went ended in CR
	next decoder
}

func (d *softBreaks) decode(out, in []byte) []byte {
	left := make([]byte, 0, len(in)+len(d.held))
	for _, c := range in {
		if d.cr {
			d.cr = false
			if c == '\n' {
				continue
			}
		}
		if len(d.held) > 0 {
			switch {
			case c == '\r' || c == '\n':
				d.held, d.cr = d.held[:0], c == '\r'
				continue
			case ascii.IsBlank(c) && len(d.held) < maxHeldBlanks:
				d.held = append(d.held, c)
				continue
			}
			left = append(left, d.held...)
			d.held = d.held[:0]
		}
		if c == '=' {
			d.held = append(d.held, c)
		} else {
			left = append(left, c)
		}
	}
	return d.next.decode(out, left)
}

func (d *softBreaks) finish(out []byte) []byte { return d.next.finish(out) }

// hexDecoder reads BinHex 4.0 (RFC 1741 appendix A): six-bit characters, runs, a header, then the data fork, which is
// all it gives out.
type hexDecoder struct {
	table   [256]byte
	started bool
	done    bool
	bits    uint32
	n       int
	last    byte
	run     bool
	// where in the decoded stream
	header []byte
	need   int // length of the header, once the name's length is known
	left   int64
}

func newHexDecoder() *hexDecoder {
	d := &hexDecoder{need: -1}
	for i, c := range []byte("!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr") {
		d.table[c] = byte(i + 1)
	}
	return d
}

func (d *hexDecoder) decode(out, in []byte) []byte {
	for _, c := range in {
		switch {
		case d.done:
			return out
		case c == ':':
			d.done = d.started
			d.started = true
		case d.started && d.table[c] > 0:
			d.bits = d.bits<<6 | uint32(d.table[c]-1)
			if d.n += 6; d.n >= 8 {
				d.n -= 8
				out = d.octet(out, byte(d.bits>>d.n))
			}
		}
	}
	return out
}

// octet undoes runs: 0x90 and a count stand for repetitions of the octet before.
func (d *hexDecoder) octet(out []byte, c byte) []byte {
	if !d.run {
		if c == 0x90 {
			d.run = true
			return out
		}
		d.last = c
		return d.fork(out, c)
	}
	d.run = false
	if c == 0 {
		d.last = 0x90
		return d.fork(out, 0x90)
	}
	for range int(c) - 1 {
		out = d.fork(out, d.last)
	}
	return out
}

// fork takes an octet of the file: name length, name, version, type, creator, flags, two lengths, a checksum; then data.
func (d *hexDecoder) fork(out []byte, c byte) []byte {
	if d.need < 0 {
		d.need = int(c) + 22
	}
	if len(d.header) < d.need {
		if d.header = append(d.header, c); len(d.header) == d.need {
			at := d.need - 10
			d.left = int64(d.header[at])<<24 | int64(d.header[at+1])<<16 | int64(d.header[at+2])<<8 | int64(d.header[at+3])
		}
		return out
	}
	if d.left > 0 {
		d.left--
		out = append(out, c)
	}
	return out
}

func (d *hexDecoder) finish(out []byte) []byte { return out }

// name is the file's name in the header.
func (d *hexDecoder) name() string {
	if d.need < 0 || len(d.header) < d.need {
		return ""
	}
	return string(d.header[1 : d.need-21])
}
