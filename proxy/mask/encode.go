package mask

import (
	"bytes"

	"postern/internal/mail/ascii"
)

// text plans octets that are not encoded, or not well.
func (b *builder) text(from, to int64) *leaf {
	l := &leaf{}
	want := min(to-from, int64(4*len(b.plan.notice)+256), int64(maxHeads-b.heads))
	if want <= 0 {
		return l
	}
	b.heads += int(want)
	l.head = bytes.Clone(b.read(from, from+want))
	notice := b.plan.notice
	for i, c := range l.head {
		switch {
		case c == '\r' || c == '\n':
			continue
		case notice == "":
			l.head[i] = ' '
			continue
		}
		l.head[i] = atStart(l.head, i, notice[0], ' ')
		notice = notice[1:]
	}
	return l
}

// atStart gives an octet of the notice as it may stand at i: a line must begin neither with a dot, which POP3 doubles
// (RFC 1939 section 3), nor like a delimiter.
func atStart(text []byte, i int, c, instead byte) byte {
	atLine := i == 0 || ascii.IsEOL(text[i-1])
	if atLine && (c == '.' || c == '-') {
		return instead
	}
	return c
}

const readBlock = 32 << 10

// base64 plans a part in base64, nil if decoders would not agree on it: RFC 2045 section 6.8.
func (b *builder) base64(from, to int64) *leaf {
	s := base64Scan{l: &leaf{}, room: maxSpans - b.used}
	for at := from; at < to; at += readBlock {
		if !s.take(b.read(at, min(to, at+readBlock))) {
			return nil
		}
	}
	s.line()
	l := s.l
	l.data = s.index - s.padding
	if b.broken || s.room <= 0 || !s.isWhole() {
		return nil
	}
	return l
}

// base64Scan notes the lengths of lines.
type base64Scan struct {
	l              *leaf
	room           int
	at             int64 // offset
	index, padding int64 // digits seen, padding among them
	// the current line: its offset, how many digits it has, and how many octets that end it
	from, digits, gap int64
	white             bool // not only line ends end it
	closed            bool // the last run has had its short line
}

// isWhole says whether there are digits, and no more padding than fills up the last four.
func (s *base64Scan) isWhole() bool {
	return s.index > 0 && s.padding <= 2 && (s.padding == 0 || s.index%4 == 0)
}

func (s *base64Scan) take(octets []byte) bool {
	for _, c := range octets {
		switch {
		case ascii.IsSpace(c):
			s.gap++
			s.white = s.white || ascii.IsBlank(c)
		case c == '=' || s.padding == 0 && isBase64Digit(c):
			if s.gap > 0 {
				s.line()
			}
			if c == '=' {
				s.padding++
			}
			s.digits++
		default:
			return false
		}
		s.at++
	}
	return s.room > 0
}

// openRun is the run that a line may belong to; without one, a run of no length, which no line fits into.
func (s *base64Scan) openRun() run {
	if n := len(s.l.runs); n > 0 && !s.closed {
		return s.l.runs[n-1]
	}
	return run{}
}

// line ends a line, and begins the next.
func (s *base64Scan) line() {
	last := s.openRun()
	switch period := s.digits + s.gap; {
	case period == 0:
	case s.digits == last.digits && period == last.period:
	case !s.white && s.digits <= last.digits && period <= last.period:
		s.closed = true
	default:
		s.l.runs = append(s.l.runs, run{from: s.from, index: s.index, digits: s.digits, period: period})
		s.closed = false
		s.room--
	}
	s.index += s.digits
	s.from, s.digits, s.gap, s.white = s.at, 0, 0, false
}

func isBase64Digit(c byte) bool { return ascii.IsAlnum(c) || c == '+' || c == '/' }

// quoted plans a part in quoted-printable, nil if decoders would not agree on it or it is too long: RFC 2045 section 6.7.
func (b *builder) quoted(from, to int64) *leaf {
	if to-from > int64(maxCodes-b.codes) {
		return nil
	}
	text := b.read(from, to)
	l := &leaf{codes: make([]byte, (len(text)+3)/4)}
	for at := 0; at < len(text); {
		end := at + bytes.IndexByte(text[at:], '\n')
		if end < at {
			end = len(text) - 1
		}
		if !l.codeLine(text, at, end+1) {
			return nil
		}
		at = end + 1
	}
	b.codes += len(text)
	l.head = b.quotedHead(l, text)
	return l
}

func (l *leaf) set(at int, code byte) { l.codes[at/4] |= code << (at % 4 * 2) }

// codeLine notes what each octet of a line stands for.
func (l *leaf) codeLine(text []byte, from, to int) bool {
	end := from + len(bytes.TrimRight(text[from:to], " \t\r\n"))
	for i := from; i < end; i++ {
		switch {
		case text[i] == '\r':
			return false
		case text[i] != '=':
			if i == end-1 {
				l.set(i, codeSolid)
			}
		case i == end-1: // a soft line break
			l.set(i, codeEquals)
		case i+2 < end && ascii.HexValue(text[i+1]) >= 0 && ascii.HexValue(text[i+2]) >= 0:
			l.set(i, codeEquals)
			l.set(i+1, codeDigit)
			l.set(i+2, codeDigit)
			i += 2
		default:
			return false
		}
	}
	return true
}

// quotedHead writes the notice in quoted-printable over the first octets.
func (b *builder) quotedHead(l *leaf, text []byte) []byte {
	n := min(len(text), 4*len(b.plan.notice)+256, maxHeads-b.heads)
	if n <= 0 {
		return nil
	}
	b.heads += n
	head := bytes.Clone(text[:n])
	l.quoted(head, 0)

	notice := b.plan.notice
	solid := solidEnd(text) // what is behind it is white and stays so
	for i := 0; i < n && notice != ""; i++ {
		code := l.code(int64(i))
		if fixed(l, head[i], code, int64(i)) || code == codeSpace && solid(i) {
			continue
		}
		if code == codeEquals && i+2 >= n {
			break
		}
		writeQuoted(head, i, notice[0], code)
		notice = notice[1:]
	}

	return head
}

// fixed says whether an octet must stay as it is: a line end, hard or soft, and the digits of an escape, which are written with
// its equals sign.
func fixed(l *leaf, octet, code byte, at int64) bool {
	return octet == '\r' || octet == '\n' || code == codeDigit || code == codeEquals && l.code(at+1) != codeDigit
}

// writeQuoted writes an octet of the notice where one of the text stood.
func writeQuoted(head []byte, i int, c, code byte) {
	switch {
	case code == codeEquals:
		head[i+1], head[i+2] = "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15]
	case c == '=' || code == codeSolid && c == ' ':
		head[i] = '_'
	default:
		head[i] = atStart(head, i, c, '_')
	}
}

// solidEnd gives a function that says whether the octet at i is white space at the end of its line. It is asked in order.
func solidEnd(text []byte) func(i int) bool {
	from, to := 0, -1
	return func(i int) bool {
		if i > to {
			to = i + bytes.IndexByte(text[i:], '\n')
			if to < i {
				to = len(text) - 1
			}
			from = i + len(bytes.TrimRight(text[i:to+1], " \t\r\n"))
		}
		return i >= from
	}
}
