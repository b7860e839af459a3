package mask

import (
	"strconv"
	"strings"
	"unsafe"
)

// node is a part: its header begins at header, its body lies from start to end. parts are those of a multipart, inner
// is the message within a message/rfc822.
type node struct {
	header, start, end int64
	parts              []*node
	inner              *node
}

// Section overwrites b, the octets at off of BODY[section]<off>, such as "1.2", "1.2.MIME", "1.2.TEXT". What the plan has
// no such part for is overwritten whole. The fields of a HEADER.FIELDS are left alone where the header is one.
//
// RFC 9051 section 6.4.5.1.
func (p *Plan) Section(section string, b []byte, off int64) {
	section = strings.ToUpper(section)
	switch {
	case section == "":
		p.Message(b, off)
		return
	case section == "TEXT":
		p.Text(b, off)
		return
	case section == "HEADER":
		p.Header(b, off)
		return
	}
	part, what := p.find(section)
	if part == nil || off < 0 {
		Opaque(b, max(0, off), p.notice)
		return
	}
	p.ofPart(part, what, b, off)
}

// ofPart overwrites octets of a part, or of what a message within the message has.
func (p *Plan) ofPart(part *node, what string, b []byte, off int64) {
	switch {
	case strings.HasPrefix(what, "HEADER.FIELDS"):
	case what == "":
		p.between(b, off, part.start, part.end)
	case what == "MIME" && part == p.root:
		p.Header(b, off)
	case what == "MIME":
		p.between(b, off, part.header, part.start)
	case what == "HEADER" && part.inner != nil:
		p.between(b, off, part.inner.header, part.inner.start)
	case what == "TEXT" && part.inner != nil:
		p.between(b, off, part.inner.start, part.inner.end)
	default:
		Opaque(b, off, p.notice)
	}
}

// between overwrites octets that the server says lie at off of a region. What is beyond its end is none of ours.
func (p *Plan) between(b []byte, off, from, to int64) {
	n := max(0, min(int64(len(b)), to-from-off))
	p.Message(b[:n], from+off)
	Opaque(b[n:], off+n, "")
}

// find goes down to the part that a section names and gives what of it is asked for.
func (p *Plan) find(section string) (part *node, what string) {
	if strings.HasPrefix(section, "HEADER.FIELDS") {
		return p.root, section
	}
	step := p.root.ofMessage
	for rest := section; rest != ""; step = part.child {
		word, behind, _ := strings.Cut(rest, ".")
		n, err := strconv.ParseUint(word, 10, 31)
		if err != nil {
			return part, rest
		}
		if part, rest = step(int(n)), behind; part == nil {
			return nil, ""
		}
	}
	return part, ""
}

// ofMessage is the n-th part, from 1, of a message. Part 1 of a message that is no multipart is its body.
func (n *node) ofMessage(number int) *node {
	if n != nil && n.parts == nil && number == 1 {
		return n
	}
	return n.part(number)
}

// child is the n-th part, from 1, of a part.
func (n *node) child(number int) *node {
	if n.inner != nil {
		return n.inner.ofMessage(number)
	}
	return n.part(number)
}

// octets is about how much memory a part and its own parts take.
func (n *node) octets() int64 {
	if n == nil {
		return 0
	}
	sum := int64(unsafe.Sizeof(*n)) + int64(cap(n.parts))*int64(unsafe.Sizeof(n)) + n.inner.octets()
	for _, p := range n.parts {
		sum += p.octets()
	}
	return sum
}

func (n *node) part(number int) *node {
	if n == nil || number < 1 || number > len(n.parts) {
		return nil
	}
	return n.parts[number-1]
}
