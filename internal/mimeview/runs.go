package mimeview

import (
	"bytes"
	"slices"

	"postern/internal/mail/ascii"
)

// runs is the net below the parts: in all that no part explains, what looks encoded is decoded, whatever the header
// says. Each line is looked at a fixed number of times. The header of a message is left out: readers show fields and save
// none of them, and every signature (RFC 6376) is base64.
func (w *walker) runs(s *source) {
	if slices.ContainsFunc(w.view.ambiguities, Ambiguity.Grave) { // then nothing is sure
		s.covered, s.quoted = nil, nil
	}
	s.covered = append(s.covered, s.headers...)
	for _, gap := range s.gaps() {
		r := &runner{w: w, s: s}
		w.spend(gap.end - gap.start)
		for off := gap.start; off < gap.end && !w.stopped(); {
			window := s.slice(off, int(min(windowSize, gap.end-off)))
			if len(window) == 0 {
				break
			}
			whole := off+int64(len(window)) >= gap.end
			done := 0
			for done < len(window) {
				start, end, kind := breakAt(window[done:])
				if kind == 0 && !whole && done > 0 { // the line goes on in the next window
					break
				}
				r.line(window[done:done+start], off+int64(done), off+int64(done+end))
				done += end
			}
			off += int64(max(done, 1))
		}
		r.closeBase64()
		r.closeEscapes()
		r.closeMarked(gap.end)
	}
}

// runner follows what goes on over several lines.
type runner struct {
	w *walker
	s *source
	// base64: where the run begins, where it ends, its characters; places in it where a content begins, and those of which
	// that is not known yet
	run     int64
	end     int64
	letters int
	length  int // of the line before
	strange int
	starts  []runStart
	open    []runStart
	// quoted-printable and percent: the paragraph, the first line with an escape, the last
	paragraph, escaped, last int64
	signs                    int
	quoted                   int // which of the source's regions in quoted-printable is next
	way                      encoding
	// a "begin" line or its like
	marked   int64
	markedAs encoding
	name     string
	blank    bool
	// a "begin" line without a mode, which counts if the line behind it is uuencoded
	begun     int64
	begunName string
}

const (
	shifted      = "run of base64, shifted"
	leastLetters = 24
)

func (r *runner) line(line []byte, at, next int64) {
	if len(bytes.TrimSpace(line)) == 0 {
		r.closeEscapes()
		r.blank = true
		return
	}
	if r.blank || r.paragraph == 0 {
		r.paragraph, r.blank = at, false
	}
	r.marks(line, at, next)
	switch {
	case strictBase64(line):
		r.base64(line, at)
		r.end, r.strange = next, 0
	case r.letters > 0 && nearlyBase64(line) && r.strange < 3:
		r.strange++
	default:
		r.closeBase64()
	}
	r.escapes(line, at, next)
}

// strictBase64 says whether a line is nothing but base64: padding stands at its end and nowhere else.
func strictBase64(line []byte) bool {
	line = bytes.TrimSpace(line)
	if line[0] == '-' && bytes.HasPrefix(line, []byte("--")) { // a delimiter
		return false
	}
	letters := bytes.TrimRight(line, "=")
	if len(letters) == 0 || len(line)-len(letters) > 4 {
		return false
	}
	some := false
	for _, c := range letters {
		switch v := base64Table[c]; {
		case v < 64:
			some = true
		case v == b64URL:
		default:
			return false
		}
	}
	return some
}

// nearlyBase64 says whether a line could be base64 with junk in it.
func nearlyBase64(line []byte) bool {
	if len(line) > 1000 {
		return false
	}
	good := 0
	for _, c := range line {
		if base64Table[c] < 64 {
			good++
		}
	}
	return good*4 >= len(line)*3 && bytes.IndexByte(line, ' ') < 0
}

func (r *runner) closeBase64() {
	starts, letters, at := append(r.starts, r.open...), r.letters, r.run
	r.starts, r.open, r.letters, r.strange, r.length = nil, nil, 0, 0, 0
	if letters < leastLetters {
		return
	}
	for _, from := range starts {
		for shift := range int64(4) { // octets before it that a reader does not count
			if !from.begins(int(shift)) {
				continue
			}
			reading := "run of base64"
			if shift > 0 {
				reading = shifted
			}
			r.w.add(&content{src: r.s, at: region{from.at + shift, r.end}, way: base64, reading: reading})
		}
	}
	r.w.view.ambiguous(EncodedNoHeader, r.s, at, string(base64))
}

// escapesIn counts the escapes of a line, and says which encoding they are of.
func escapesIn(line []byte) (n int, way encoding) {
	n, way = 0, quoted
	if endsSoftly(bytes.TrimRight(line, " \t\r")) {
		n++
	}
	for _, sign := range []byte("=%") {
		i := bytes.IndexByte(line, sign)
		if i < 0 {
			continue
		}
		if chain := escapeChain(line[i:], sign); chain > 0 {
			n += chain
			if sign == '%' {
				way = percent
			}
		}
	}
	return n, way
}

// endsSoftly says whether a line of text ends in a soft line break.
func endsSoftly(line []byte) bool {
	return len(line) > 60 && line[len(line)-1] == '=' && bytes.IndexByte(line, ' ') > 0
}

// escapes looks for quoted-printable and percent signs.
func (r *runner) escapes(line []byte, at, next int64) {
	for len(r.s.quoted) > r.quoted && r.s.quoted[r.quoted].end <= at {
		r.quoted++
	}
	if r.quoted < len(r.s.quoted) && r.s.quoted[r.quoted].start <= at {
		return
	}
	n, way := escapesIn(line)
	if n == 0 {
		return
	}
	if r.signs == 0 {
		r.escaped, r.way = at, way
	}
	r.signs += n
	r.last = next
}

// escapeChain counts what is hardly anything but an escape: several in a row, "=3D", "=0D=0A".
func escapeChain(line []byte, sign byte) (n int) {
	row := 0
	for i := 0; i+2 < len(line); {
		if line[i] != sign || ascii.HexValue(line[i+1]) < 0 || ascii.HexValue(line[i+2]) < 0 {
			row = 0
			next := bytes.IndexByte(line[i+1:], sign)
			if next < 0 {
				break
			}
			i += next + 1
			continue
		}
		row++
		if row >= 3 || string(line[i:i+3]) == "=3D" {
			n++
		}
		i += 3
	}
	return n
}

func (r *runner) closeEscapes() {
	if r.signs >= 2 {
		for _, from := range []int64{r.paragraph, r.escaped} {
			r.w.add(&content{src: r.s, at: region{from, r.last}, way: r.way, reading: "run of " + string(r.way)})
		}
		r.w.view.ambiguous(EncodedNoHeader, r.s, r.escaped, string(r.way))
	}
	r.signs = 0
}

// marks looks for the lines that begin uuencode, yEnc and BinHex.
func (r *runner) marks(line []byte, at, next int64) {
	if r.begun > 0 {
		if uuencoded(line) {
			r.mark(uuencode, r.begun-1, r.begunName)
		}
		r.begun = 0
	}
	if len(line) < 5 {
		if inside := r.marked > 0 && r.markedAs == uuencode; inside && bytes.HasPrefix(line, []byte("end")) {
			r.closeMarked(next)
		}
		return
	}
	r.beginnings(line, at, next)
}

// beginnings looks for the first line of an encoding, and for the last one of yEnc.
func (r *runner) beginnings(line []byte, at, next int64) {
	trimmed := bytes.TrimLeft(line, " \t>")
	switch {
	case len(trimmed) > 5 && bytes.EqualFold(trimmed[:5], []byte("begin")):
		r.beginMark(trimmed, at)
	case bytes.HasPrefix(trimmed, []byte("=ybegin")):
		_, name, _ := bytes.Cut(trimmed[:min(len(trimmed), 400)], []byte("name="))
		r.mark(yEnc, at, string(name))
	case bytes.HasPrefix(trimmed, []byte("=yend")) && r.markedAs == yEnc:
		r.closeMarked(next)
	case bytes.Contains(trimmed[:min(len(trimmed), 120)], []byte("with BinHex")):
		r.mark(binHex, next, "")
	}
}

// beginMark takes a line that starts with "begin": a mode and a name follow where uuencode begins. Where there is no mode, the
// next line tells.
func (r *runner) beginMark(line []byte, at int64) {
	fields := bytes.Fields(line[:min(len(line), 400)])
	if len(fields) < 2 {
		return
	}

	mode := fields[1]
	isMode := len(mode) >= 3 && len(mode) <= 4 && ascii.AllDigits(mode)
	if len(fields[0]) == len("begin") && !isMode {
		r.begun, r.begunName = at+1, string(bytes.Join(fields[1:], []byte(" ")))
	} else if ascii.AllDigits(mode) {
		r.mark(uuencode, at, string(bytes.Join(fields[2:], []byte(" "))))
	}
}

// uuencoded says whether a line is as long as its first character says.
func uuencoded(line []byte) bool {
	line = bytes.TrimRight(line, " \t\r")
	if len(line) < 2 || line[0] <= ' ' || line[0] > '`' {
		return false
	}
	for _, c := range line {
		if c < ' ' || c > '`' {
			return false
		}
	}
	want := 1 + (int(line[0]-' ')&0x3f+2)/3*4
	return len(line) >= want-3 && len(line) <= want+1 // blanks at its end may be gone, a checksum may follow
}

func (r *runner) mark(way encoding, at int64, name string) {
	r.closeMarked(at)
	r.marked, r.markedAs, r.name = at+1, way, name // plus one: zero is none
}

func (r *runner) closeMarked(end int64) {
	if r.marked > 0 {
		r.w.add(&content{src: r.s, at: region{r.marked - 1, end}, way: r.markedAs, reading: string(r.markedAs), name: r.name})
	}
	r.marked, r.markedAs = 0, ""
}
