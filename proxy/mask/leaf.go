package mask

import "sort"

// leaf is the content of a part. Only what is needed to write over it is kept of it.
type leaf struct {
	// head is written over the first octets, spaces over the rest; so with quoted-printable, as far as codes say nothing
	// else.
	head  []byte
	codes []byte // of quoted-printable, two bits for each octet
	// base64
	runs []run
	data int64 // digits in all, without the padding
}

// What becomes of an octet of quoted-printable: RFC 2045 section 6.7.
const (
	codeSpace = iota
	codeEquals
	codeDigit
	codeSolid // the last of its line: a space would be taken away
)

// run is a stretch of base64 whose lines are equally long, the last one perhaps shorter.
type run struct {
	from   int64 // offset in the leaf
	index  int64 // digits before it, padding included
	digits int64 // in a line
	period int64 // the same with what ends the line
}

// write overwrites b, the octets at off of the leaf.
func (l *leaf) write(b []byte, off int64, notice string) {
	switch {
	case l.runs != nil:
		l.base64(b, off, notice)
		return
	case l.codes != nil:
		l.quoted(b, off)
	default:
		Opaque(b, off, "")
	}
	if off < int64(len(l.head)) {
		rest := l.head[off:]
		n := min(len(b), len(rest))
		overlay(b[:n], rest)
	}
}

func (l *leaf) code(at int64) byte {
	if at < 0 || at/4 >= int64(len(l.codes)) {
		return codeSpace
	}
	return l.codes[at/4] >> (at % 4 * 2) & 3
}

// quoted writes each octet that stood for one as one that does, so that the decoded length stays.
func (l *leaf) quoted(b []byte, off int64) {
	for i, c := range b {
		if c == '\r' || c == '\n' {
			continue
		}
		at := off + int64(i)
		switch l.code(at) {
		case codeEquals:
			b[i] = '='
		case codeSolid:
			b[i] = '_'
		case codeDigit: // =20
			b[i] = '0'
			if l.code(at-1) == codeEquals {
				b[i] = '2'
			}
		default:
			b[i] = ' '
		}
	}
}

// base64 writes the digits of the notice and of spaces over those of the content: RFC 4648 section 4.
func (l *leaf) base64(b []byte, off int64, notice string) {
	r := max(0, sort.Search(len(l.runs), func(i int) bool { return l.runs[i].from > off })-1)
	for ; len(b) > 0; r++ {
		n := int64(len(b))
		if r+1 < len(l.runs) {
			n = min(n, l.runs[r+1].from-off)
		}
		l.runs[r].write(b[:n], off, l, notice)
		b, off = b[n:], off+n
	}
}

// write overwrites octets of the run.
func (r *run) write(b []byte, off int64, l *leaf, notice string) {
	line, column := (off-r.from)/r.period, (off-r.from)%r.period
	next := r.index + line*r.digits + min(column, r.digits)
	blankFrom, blankTo := int64(len(notice)+2)/3*4, l.data*3/4/3*4 // nothing but spaces between them
	for i, c := range b {
		switch end := c == '\r' || c == '\n'; {
		case column < r.digits:
			switch {
			case end:
			case next >= blankFrom && next < blankTo:
				b[i] = "ICAg"[next&3]
			default:
				b[i] = l.digit(next, notice)
			}
			next++
		case !end && c != '\t':
			b[i] = ' '
		}
		if column++; column == r.period {
			column = 0
		}
	}
}

const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// digit is the i-th digit of the base64 that stands for the notice and as many spaces as there is room for.
func (l *leaf) digit(i int64, notice string) byte {
	if i >= l.data {
		return '='
	}
	first := i / 4 * 3
	length := l.data * 3 / 4
	var group uint32
	for k := first; k < first+3; k++ {
		group <<= 8
		switch {
		case k >= length: // RFC 4648 section 3.5: these bits are zero
		case k < int64(len(notice)):
			group |= uint32(notice[k])
		default:
			group |= ' '
		}
	}
	return digits[group>>(18-6*uint(i%4))&63]
}
