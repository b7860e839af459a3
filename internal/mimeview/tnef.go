package mimeview

import (
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

// tnef reads the attributes of a winmail.dat. Their lengths are never believed beyond the end of what is there.
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
		head := s.slice(off, 9)
		if len(head) < 9 {
			break
		}
		id, length := binary.LittleEndian.Uint32(head[1:]), int64(binary.LittleEndian.Uint32(head[5:]))
		level := head[0]
		body := region{off + 9, off + 9 + length}
		if body.end+2 > at.end || level != 1 && level != 2 {
			w.lies++
			w.view.ambiguous(TNEFBroken, s, off, "")
			body.end = max(body.start, at.end)
			// what is left may hold anything
			w.add(&content{part: c.part, src: s, at: body, way: plain, reading: "TNEF", kind: "application/octet-stream"})
		}
		switch id {
		case attRendering: // begins an attachment
			flush()
		case attAttachTitle:
			name = strings.TrimRight(string(s.slice(body.start, int(min(length, 1024)))), "\x00")
		case attAttachData, attBody:
			pending = append(pending, &content{part: c.part, src: s, at: body, way: plain, reading: "TNEF", kind: "application/octet-stream"})
			w.nestedTNEF(c, s, body, depth)
		case attAttachment, attMessage:
			if long := w.properties(c, s, body, depth, name); long != "" {
				name = long
			}
		}
		off = body.end + 2
	}
	flush()
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
func (w *walker) properties(c *content, s *source, at region, depth int, title string) (name string) {
	le := binary.LittleEndian
	word := func(off int64) (uint32, bool) {
		b := s.slice(off, 4)
		if off+4 > at.end || len(b) < 4 {
			return 0, false
		}
		return le.Uint32(b), true
	}
	count, _ := word(at.start)
	off := at.start + 4
	if count > maxProperties {
		w.view.limit(LimitParts)
	}
	var found []*content
	for n := uint32(0); n < count && n < maxProperties && !w.stopped(); n++ {
		tag, ok := word(off)
		if !ok {
			break
		}
		off += 4
		w.spend(64)
		kind, id := tag&0xffff, tag>>16
		if id >= 0x8000 { // a named property: a GUID, then a number or a name
			named, _ := word(off + 16)
			length, _ := word(off + 20)
			off += 24
			if named == 1 {
				off += (int64(length) + 3) &^ 3
			}
		}
		values, size := uint32(1), fixedSize(kind&0x0fff)
		if kind&0x1000 != 0 || size == 0 {
			if values, ok = word(off); !ok {
				break
			}
			off += 4
		}
		if values > maxPropertyValue && kind&0x1000 != 0 {
			w.view.limit(LimitParts)
		}
		for i := uint32(0); i < values && i < maxPropertyValue && off < at.end; i++ {
			length := size
			if size == 0 {
				long, ok := word(off)
				if !ok {
					return name
				}
				off, length = off+4, int64(long)
			}
			value := region{off, min(off+length, at.end)}
			switch id {
			case propAttachName:
				name = propertyText(s.slice(value.start, int(min(value.end-value.start, 2048))), kind)
			case propAttachData, propBodyHTML, propBodyRTF:
				if id == propAttachData && value.end-value.start > 16 && kind&0x0fff == 0x0d {
					found = append(found, &content{part: c.part, src: s, at: region{value.start + 16, value.end}, way: plain})
				}
				found = append(found, &content{part: c.part, src: s, at: value, way: plain})
				w.nestedTNEF(c, s, value, depth)
			}
			off += (length + 3) &^ 3
		}
	}
	for _, one := range found {
		one.reading, one.kind, one.name = "TNEF property", "application/octet-stream", title
		if name != "" {
			one.name = name
		}
		w.add(one)
	}
	return name
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
