package mimeview

import (
	"cmp"
	"encoding/binary"
	"strings"

	charsets "postern/internal/mail/charset"
)

// tnefSignature begins a winmail.dat (MS-OXTNEF section 2.1.1).
const tnefSignature = "\x78\x9f\x3e\x22"

// The attributes that carry contents (MS-OXTNEF section 2.1.3.2).
const (
	attBody        = 0x0002800c
	attMessage     = 0x00069003
	attAttachTitle = 0x00018010
	attAttachData  = 0x0006800f
	attAttachment  = 0x00069005
	attRendering   = 0x00069002

	maxAttributes = 2000
)

// tnef reads the attributes of a winmail.dat. A length is cut at the end of the attachment.
func (w *walker) tnef(c *content, s *source, at region, depth int) {
	if depth > 5 || c.part != nil && c.part.Depth+depth > w.view.options.Depth {
		w.view.limit(LimitDepth)
		return
	}

	off := at.start + 6 // signature and key
	name := ""
	var pending []*content
	flush := func() {
		for _, p := range pending {
			p.name = name
			w.add(p)
		}
		pending, name = nil, ""
	}

	for n := 0; off+9 <= at.end; n++ {
		if n == maxAttributes || w.stopped() {
			w.view.limit(LimitParts)
			break
		}
		w.spend(64)
		id, body, ok := w.attribute(c, s, off, at.end)
		if !ok {
			break
		}

		switch id {
		case attRendering: // begins an attachment
			flush()
		case attAttachTitle:
			name = strings.TrimRight(string(s.slice(body.start, int(min(body.end-body.start, 1024)))), "\x00")
		case attAttachData, attBody:
			pending = append(pending, unnamedTNEF(c, s, body))
			w.nestedTNEF(c, s, body, depth)
		case attAttachment, attMessage:
			name = cmp.Or(w.properties(c, s, body, depth, name), name)
		}
		off = body.end + 2
	}

	flush()
}

// attribute reads the head of an attribute: what it is, and where its value stands. One that says to be longer than what is
// there ends with it, and what is left may hold anything.
func (w *walker) attribute(c *content, s *source, off, end int64) (id uint32, body region, ok bool) {
	head := s.slice(off, 9)
	if len(head) < 9 {
		return 0, body, false
	}

	level := head[0]
	body = region{off + 9, off + 9 + int64(binary.LittleEndian.Uint32(head[5:]))}
	if body.end+2 > end || level != 1 && level != 2 {
		w.lies++
		w.view.ambiguous(TNEFBroken, s, off, "")
		body.end = max(body.start, end)
		w.add(unnamedTNEF(c, s, body))
	}

	return binary.LittleEndian.Uint32(head[1:]), body, true
}

func unnamedTNEF(c *content, s *source, at region) *content {
	return &content{part: c.part, src: s, at: at, way: plain, reading: "TNEF", kind: "application/octet-stream"}
}

func (w *walker) nestedTNEF(c *content, s *source, at region, depth int) {
	for skip := int64(0); skip <= 16; skip += 16 { // an embedded message has the id of its interface in front
		if at.start+skip < at.end && string(s.slice(at.start+skip, 4)) == tnefSignature {
			w.tnef(c, s, region{at.start + skip, at.end}, depth+1)
		}
	}
}

// The properties of an attachment that matter (MS-OXPROPS).
const (
	propAttachData   = 0x3701
	propAttachName   = 0x3707
	propBodyHTML     = 0x1013
	propBodyRTF      = 0x1009
	maxProperties    = 2000
	maxPropertyValue = 64
)

// properties reads MAPI properties (MS-OXTNEF section 2.1.3.4): data goes to the list, the long name is given back.
func (w *walker) properties(c *content, s *source, at region, depth int, title string) string {
	p := propertyReader{w: w, c: c, s: s, end: at.end, off: at.start, depth: depth}
	count, _ := p.word()
	if count > maxProperties {
		w.view.limit(LimitParts)
	}

	whole := true
	for n := uint32(0); whole && n < count && n < maxProperties && !w.stopped(); n++ {
		w.spend(64)
		whole = p.property()
	}
	for _, one := range p.found {
		one.reading, one.kind, one.name = "TNEF property", "application/octet-stream", cmp.Or(p.name, title)
		w.add(one)
	}

	return p.name
}

// propertyReader reads MAPI properties one after the other.
type propertyReader struct {
	w        *walker
	c        *content
	s        *source
	off, end int64
	depth    int
	name     string
	found    []*content
}

// word reads the next 32 bits.
func (p *propertyReader) word() (uint32, bool) {
	v, ok := p.wordAt(p.off)
	if ok {
		p.off += 4
	}

	return v, ok
}

func (p *propertyReader) wordAt(off int64) (uint32, bool) {
	b := p.s.slice(off, 4)
	if off+4 > p.end || len(b) < 4 {
		return 0, false
	}

	return binary.LittleEndian.Uint32(b), true
}

// property reads the next one; false says that there is no other.
func (p *propertyReader) property() bool {
	tag, ok := p.word()
	if !ok {
		return false
	}
	kind, id := tag&0xffff, tag>>16
	if id >= 0x8000 {
		p.skipName()
	}

	values, size := uint32(1), fixedSize(kind&0x0fff)
	several := kind&0x1000 != 0
	if several || size == 0 {
		if values, ok = p.word(); !ok {
			return false
		}
	}
	if several && values > maxPropertyValue {
		p.w.view.limit(LimitParts)
	}
	return p.values(id, kind, min(values, maxPropertyValue), size)
}

// values reads the values of a property; a size of 0 stands for one that is written before each.
func (p *propertyReader) values(id, kind, count uint32, size int64) bool {
	for i := uint32(0); i < count && p.off < p.end; i++ {
		length := size
		if size == 0 {
			long, ok := p.word()
			if !ok {
				return false
			}
			length = int64(long)
		}
		p.value(id, kind, region{p.off, min(p.off+length, p.end)})
		p.off += (length + 3) &^ 3
	}

	return true
}

// skipName skips what names a named property: a GUID, then a number or a name.
func (p *propertyReader) skipName() {
	named, _ := p.wordAt(p.off + 16)
	length, _ := p.wordAt(p.off + 20)
	p.off += 24
	if named == 1 {
		p.off += (int64(length) + 3) &^ 3
	}
}

func (p *propertyReader) value(id, kind uint32, at region) {
	switch id {
	case propAttachName:
		p.name = propertyText(p.s.slice(at.start, int(min(at.end-at.start, 2048))), kind)
	case propAttachData, propBodyHTML, propBodyRTF:
		if id == propAttachData && at.end-at.start > 16 && kind&0x0fff == 0x0d { // the id of its interface is in front
			p.found = append(p.found, &content{part: p.c.part, src: p.s, at: region{at.start + 16, at.end}, way: plain})
		}
		p.found = append(p.found, &content{part: p.c.part, src: p.s, at: at, way: plain})
		p.w.nestedTNEF(p.c, p.s, at, p.depth)
	}
}

// fixedSize is the length of a property's value in octets, 0 if it says its own.
func fixedSize(kind uint32) int64 {
	switch kind {
	case 0x02, 0x03, 0x04, 0x0a, 0x0b:
		return 4
	case 0x05, 0x06, 0x07, 0x14, 0x40:
		return 8
	case 0x48:
		return 16
	}
	return 0
}

func propertyText(raw []byte, kind uint32) string {
	if kind&0x0fff == 0x1f {
		return strings.TrimRight(charsets.ToUTF8(raw, "utf-16le"), "\x00")
	}
	return strings.TrimRight(charsets.ToUTF8(raw, ""), "\x00")
}
