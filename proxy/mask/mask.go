// Package mask overwrites the content of a message in place: as many octets as before, the header, the line ends, the
// delimiters of its parts and the padding of base64 where they were. Every size and structure that a server has told of
// the message stays true, so no mail reader trips over it.
//
// What is kept is named, all else is overwritten. Where readers could differ on the structure nothing behind the top
// header is kept, so that a parser that reads the message in another way gets less of it, never more.
package mask

import (
	"sort"
	"strings"
	"unsafe"

	"postern/internal/mail"
)

// Plan says what to write over each octet of one message. It holds no reference to it and a few KiB for most; 1 MiB is
// the most. It may be used by several goroutines at once.
type Plan struct {
	notice string
	// header is where the body begins by the most timid reading, body where it does by RFC 5322 section 2.1, size the
	// length of all.
	header, body, size int64
	spans              []span
	root               *node // nil where nothing behind the top header is understood
}

// span is what becomes of the octets from here to the next span.
type span struct {
	from int64
	kind kind
	kept []byte // what is written, for kindKept
	leaf *leaf  // for kindLeaf
}

type kind uint8

const (
	kindTop   kind = iota // the message's own header: left alone
	kindKept              // delimiters and headers of parts, out of the plan's own memory
	kindBlank             // spaces
	kindLeaf              // a notice, then spaces, in the encoding of the part
)

// maxNotice is the longest notice, in octets.
const maxNotice = 1000

// New plans how to overwrite a message. The notice is a few lines for the person who opens it: printable ASCII,
// everything else in it becomes a space. New never fails: what it can't understand is overwritten whole.
func New(m *mail.Message, notice string) *Plan {
	p := &Plan{notice: cleanNotice(notice), size: m.Size(), body: m.BodyOffset()}
	var sure bool
	p.header, sure = topHeader(m)
	b := builder{plan: p, m: m}
	if !sure || !b.parts() {
		b.whole()
	}
	p.header = min(p.header, p.size)
	return p
}

// Octets is about how much memory the plan takes.
func (p *Plan) Octets() int64 {
	n := int64(unsafe.Sizeof(*p)) + int64(len(p.notice)) + p.root.octets()
	for i := range p.spans {
		s := &p.spans[i]
		n += int64(unsafe.Sizeof(*s)) + int64(cap(s.kept))
		if s.leaf != nil {
			n += int64(unsafe.Sizeof(*s.leaf)) + int64(cap(s.leaf.head)+cap(s.leaf.codes)) + int64(cap(s.leaf.runs))*int64(unsafe.Sizeof(run{}))
		}
	}
	return n
}

// HeaderEnd is how many octets at the front of the message no plan changes. A message that is cut off behind its header
// gives the same answer as the whole.
func HeaderEnd(m *mail.Message) int64 {
	end, _ := topHeader(m)
	return min(end, m.Size())
}

// cleanNotice makes the notice one line of printable ASCII.
func cleanNotice(notice string) string {
	notice = strings.Join(strings.Fields(notice), " ")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, notice[:min(len(notice), maxNotice)])
}

// Message overwrites b, the octets at off of the whole message: BODY[], RFC822, RETR.
func (p *Plan) Message(b []byte, off int64) {
	if off < 0 { // nobody counts so: nothing is known of these octets
		Opaque(b, 0, p.notice)
		return
	}
	i := max(0, sort.Search(len(p.spans), func(i int) bool { return p.spans[i].from > off })-1)
	for ; len(b) > 0; i++ {
		if i >= len(p.spans) || off >= p.size { // more than there was
			Opaque(b, off, "")
			return
		}
		end := p.size
		if i+1 < len(p.spans) {
			end = p.spans[i+1].from
		}
		n := int(min(int64(len(b)), end-off))
		p.spans[i].write(b[:n], off, p.notice)
		b, off = b[n:], off+int64(n)
	}
}

// Text overwrites b, the octets at off of BODY[TEXT] or RFC822.TEXT.
func (p *Plan) Text(b []byte, off int64) {
	// a server that sees the body begin elsewhere gets nothing either: all behind the timid header's end is overwritten
	p.Message(b, max(p.body, p.header)+max(0, off))
}

// Header overwrites what of b, the octets at off of BODY[HEADER] or RFC822.HEADER, the server takes for header and we
// do not.
func (p *Plan) Header(b []byte, off int64) {
	if own := p.header - off; own < int64(len(b)) {
		Opaque(b[max(0, own):], max(0, -own), "")
	}
}

// Binary overwrites b, the octets at off of the decoded content of a section: RFC 3516.
func (p *Plan) Binary(_ string, b []byte, off int64) { Opaque(b, off, p.notice) }

// Opaque overwrites b, the octets at off of a content of which nothing is known, with the notice and spaces. Line ends
// are kept.
func Opaque(b []byte, off int64, notice string) {
	for i, c := range b {
		switch at := off + int64(i); {
		case c == '\r' || c == '\n':
		case at >= 0 && at < int64(len(notice)):
			b[i] = plainOctet(notice[at])
		default:
			b[i] = ' '
		}
	}
}

// plainOctet keeps a notice on its line.
func plainOctet(c byte) byte {
	if c < ' ' || c > '~' {
		return ' '
	}
	return c
}

// write overwrites b, octets at off that lie in the span.
func (s *span) write(b []byte, off int64, notice string) {
	switch s.kind {
	case kindTop:
	case kindKept:
		overlay(b, s.kept[off-s.from:])
	case kindLeaf:
		s.leaf.write(b, off-s.from, notice)
	default:
		Opaque(b, off, "")
	}
}

// overlay writes other octets over b where no line ends are.
func overlay(b, with []byte) {
	for i, c := range b {
		switch {
		case c == '\r' || c == '\n':
		case with[i] == '\r' || with[i] == '\n':
			b[i] = ' '
		default:
			b[i] = with[i]
		}
	}
}
