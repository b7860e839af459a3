package mask

import (
	"bytes"
	"errors"
	"io"

	"postern/internal/mail"
	"postern/internal/mimeview"
)

// Bounds of a plan. Behind them the rest of the message is one span of spaces.
const (
	maxSpans = 10_000    // spans, and runs of base64
	maxKept  = 256 << 10 // octets of headers and delimiters of parts
	maxHeads = 64 << 10  // octets of notices as they are written
	maxCodes = 512 << 10 // octets of quoted-printable whose decoded length is kept
	// maxDelimiter is the longest line that is taken for a delimiter.
	maxDelimiter = 1100
)

// builder makes the spans of a plan, in the order of the message.
type builder struct {
	plan *Plan
	m    *mail.Message
	full bool
	// what is used up of the bounds
	used, kept, heads, codes int
	broken                   bool
}

// whole overwrites all that lies behind the top header.
func (b *builder) whole() {
	p := b.plan
	*b = builder{plan: p, m: b.m}
	p.spans, p.root = []span{{from: 0, kind: kindTop}}, nil
	at := min(p.header, p.size)
	b.add(span{from: at, kind: kindLeaf, leaf: b.text(at, p.size)})
}

// parts plans by the parts that RFC 2046 sees. It says no if anything is in doubt.
func (b *builder) parts() bool {
	view := mimeview.Of(b.m)
	root := view.Root()
	if root == nil || doubtful(view) || root.Start != b.plan.header {
		return false
	}
	p := b.plan
	p.spans = []span{{from: 0, kind: kindTop}}
	p.root = b.part(root, 0)
	return !b.broken
}

// doubtful says whether readers could see other parts than we do. What some see before the first delimiter or behind the
// last is no doubt: it is blanked.
func doubtful(v *mimeview.View) bool {
	for _, a := range v.Ambiguities() {
		if a.Grave() && a.Kind != mimeview.PartInPreamble && a.Kind != mimeview.PartInEpilogue {
			return true
		}
	}
	for _, limit := range v.Limits() {
		if limit != mimeview.LimitText && limit != mimeview.LimitURLs {
			return true
		}
	}
	return v.Err() != nil
}

// part plans the body of a part, whose header is done.
func (b *builder) part(p *mimeview.Part, depth int) *node {
	n := &node{header: p.Header, start: p.Start, end: p.End}
	if p.Start > p.End || p.End > b.plan.size || depth > mimeview.MaxDepth {
		b.broken = true
		return n
	}
	within := plainParts(p)
	switch {
	case len(within) == 0:
		b.leaf(p)
	case p.Type == "message/rfc822" || p.Type == "message/global":
		inner := within[0]
		if len(within) > 1 || inner.Header != p.Start || inner.End != p.End {
			b.broken = true
			return n
		}
		b.header(inner, true)
		n.inner = b.part(inner, depth+1)
	default:
		b.multipart(n, p, within, depth)
	}
	return n
}

// plainParts are the parts within by the reading of the RFC.
func plainParts(p *mimeview.Part) (plain []*mimeview.Part) {
	for _, inner := range p.Parts {
		if inner.Reading == "" && inner.Within == "" && p.Within == "" {
			plain = append(plain, inner)
		}
	}
	return plain
}

// multipart plans delimiters and parts: RFC 2046 section 5.1.1. Preamble and epilogue are blanked.
func (b *builder) multipart(n *node, p *mimeview.Part, within []*mimeview.Part, depth int) {
	delimiter := []byte("--" + p.Params["boundary"])
	at := p.Start
	for _, inner := range within {
		line := b.lineBefore(inner.Header, at)
		if !b.delimiter(at, line, inner.Header, delimiter) {
			b.broken = true
			return
		}
		b.header(inner, false)
		n.parts = append(n.parts, b.part(inner, depth+1))
		if at = inner.End; b.broken {
			return
		}
	}
	b.closing(at, p.End, append(delimiter, "--"...))
}

// delimiter keeps the delimiter on the line from line to next, and blanks what lies before it, from at on.
func (b *builder) delimiter(at, line, next int64, want []byte) bool {
	if line < at || next-line > maxDelimiter {
		return false
	}
	raw := b.read(line, next)
	if !bytes.HasPrefix(raw, want) || len(bytes.Trim(raw[len(want):], " \t\r\n")) > 0 {
		return false
	}
	b.blank(at, line)
	b.keep(line, raw)
	return true
}

// lineBefore finds where the line begins that ends at an offset.
func (b *builder) lineBefore(end, least int64) int64 {
	from := max(least, end-maxDelimiter)
	raw := b.read(from, end)
	if len(raw) < 2 {
		return from
	}
	return from + int64(bytes.LastIndexByte(raw[:len(raw)-1], '\n')) + 1
}

// closing keeps the closing delimiter, if there is one, of a multipart whose last part ends at an offset.
func (b *builder) closing(at, end int64, want []byte) {
	raw := b.read(at, min(end, at+maxDelimiter))
	line := bytes.TrimPrefix(raw, []byte("\r"))
	line = bytes.TrimPrefix(line, []byte("\n"))
	skipped := int64(len(raw) - len(line))
	if bytes.HasPrefix(line, want) {
		b.blank(at, at+skipped)
		b.keep(at+skipped, line[:len(want)])
		at += skipped + int64(len(want))
	}
	b.blank(at, end)
}

// header plans the header of a part.
func (b *builder) header(p *mimeview.Part, inner bool) {
	if p.Start < p.Header || p.Start-p.Header > mail.MaxHeaderBytes {
		b.broken = true
		return
	}
	kept, ok := partHeader(b.read(p.Header, p.Start), inner)
	if !ok {
		b.broken = true
		return
	}
	b.keep(p.Header, kept)
}

// leaf plans a part without parts.
func (b *builder) leaf(p *mimeview.Part) {
	if p.Start == p.End {
		return
	}
	var l *leaf
	switch p.Encoding {
	case "base64":
		l = b.base64(p.Start, p.End)
	case "quoted-printable":
		l = b.quoted(p.Start, p.End)
	}
	if l == nil {
		l = b.text(p.Start, p.End)
	}
	b.add(span{from: p.Start, kind: kindLeaf, leaf: l})
}

func (b *builder) blank(from, to int64) {
	if from < to {
		b.add(span{from: from, kind: kindBlank})
	}
}

func (b *builder) keep(from int64, octets []byte) {
	if b.kept += len(octets); b.kept > maxKept {
		b.add(span{from: from, kind: kindBlank})
		b.full = true
		return
	}
	if len(octets) > 0 {
		b.add(span{from: from, kind: kindKept, kept: bytes.Clone(octets)})
	}
}

// add puts a span behind the others; over the bound it is the last, and blank.
func (b *builder) add(s span) {
	if b.full {
		return
	}
	b.used++
	if s.leaf != nil {
		b.used += len(s.leaf.runs)
	}
	if b.used >= maxSpans {
		b.full = true
		s = span{from: s.from, kind: kindBlank}
	}
	b.plan.spans = append(b.plan.spans, s)
}

// read gives the octets of a range. An octet that can't be read breaks the plan.
func (b *builder) read(from, to int64) []byte {
	raw := b.m.Memory()
	if inside := 0 <= from && from <= to && to <= int64(len(raw)); inside && raw != nil {
		return raw[from:to]
	}
	raw = make([]byte, max(0, to-from))
	if _, err := b.m.ReadAt(raw, from); err != nil && !errors.Is(err, io.EOF) {
		b.broken = true
	}
	return raw
}
