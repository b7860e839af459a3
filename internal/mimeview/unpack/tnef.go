package unpack

import (
	"bytes"
	"errors"
	"slices"
	"strings"
)

// inspectTNEF reads winmail.dat. [MS-OXTNEF] 2.1: after signature and key come attributes: level, id, length, content,
// checksum.
func inspectTNEF(w *walk, n *node, o *Object) func() {
	if !o.is("application/vnd.ms-tnef") {
		return nil
	}
	files, err := tnefFiles(n.content)
	if err != nil {
		o.flag(Unscannable, brief(err))
		w.unscannable(n.path, brief(err))
	}
	return func() {
		for _, f := range files {
			if w.stopped() {
				return
			}
			w.part(n, slices.Compact(f.names), f.content)
		}
	}
}

const (
	tnefRendering  = 0x00069002 // begins an attachment
	tnefTitle      = 0x00018010
	tnefContent    = 0x0006800f
	tnefProperties = 0x00069003 // of the mail
	tnefAttachment = 0x00069005 // properties of an attachment
)

func tnefFiles(b []byte) (files []olePart, err error) {
	if len(b) < 6 {
		return nil, errors.New("tnef: cut short")
	}

	var t tnefReader
	for b = b[6:]; len(b) > 0; {
		if len(b) < 11 || int64(le32(b[5:])) > int64(len(b)-11) {
			return t.files, errors.New("tnef: an attribute is cut short")
		}
		id, size := le32(b[1:]), int64(le32(b[5:]))
		t.attribute(id, b[9:9+size])
		b = b[9+size+2:]
	}

	return t.files, nil
}

// tnefReader collects files: the mail's own texts, then the attachments.
type tnefReader struct {
	files  []olePart
	bodies int
}

func (t *tnefReader) attribute(id uint32, content []byte) {
	switch id {
	case tnefRendering:
		t.files = append(t.files, olePart{})
		return
	case tnefProperties:
		for i, b := range mapiValues(content, 0x1009, 0x1013, 0x1000) { // each reader shows another one
			t.files = slices.Insert(t.files, i, bodyPart(b))
			t.bodies++
		}
		return
	}

	if len(t.files) > t.bodies { // an attachment has begun
		t.files[len(t.files)-1].attribute(id, content)
	}
}

// attribute takes an attribute of an attachment.
func (f *olePart) attribute(id uint32, content []byte) {
	switch id {
	case tnefTitle:
		f.names = append(f.names, strings.TrimRight(string(content), "\x00"))
	case tnefContent:
		f.content = content
	case tnefAttachment:
		for _, v := range mapiValues(content, 0x3707, 0x3704) {
			f.names = append(f.names, v.text())
		}
		if v := mapiValues(content, 0x3701); len(v) > 0 && len(f.content) == 0 { // an embedded message, behind 16 octets of its interface
			f.content = v[0].content[min(16, len(v[0].content)):]
		}
	}
}

// bodyPart gives the mail's own text as an object.
func bodyPart(v mapiValue) olePart {
	if v.id != 0x1009 {
		return olePart{names: []string{map[uint16]string{0x1013: "body.html", 0x1000: "body.txt"}[v.id]}, content: v.content}
	}
	plain, err := rtfDecompressed(v.content)
	part := olePart{names: []string{"body.rtf"}, content: plain}
	if err != nil {
		part.flags = []Flag{{Unscannable, brief(err)}}
	}
	return part
}

type mapiValue struct {
	id, kind uint16
	content  []byte
}

func (v mapiValue) text() string {
	if v.kind == 0x1f {
		return utf16Text(v.content)
	}
	return strings.TrimRight(string(v.content), "\x00")
}

// mapiValues gives the values of some properties, of kinds with a length of their own. [MS-OXTNEF] 2.1.3.4
func mapiValues(b []byte, wanted ...uint16) (found []mapiValue) {
	if len(b) < 4 {
		return nil
	}

	r := mapiReader{b: b[4:], wanted: wanted}
	for count := le32(b); count > 0 && len(r.b) >= 8; count-- {
		if !r.property() {
			break
		}
	}

	return r.found
}

type mapiReader struct {
	b      []byte
	wanted []uint16
	found  []mapiValue
}

// skip says false, and that nothing is left, if there are not so many octets.
func (r *mapiReader) skip(n int64) bool {
	if n < 0 || n > int64(len(r.b)) {
		r.b = nil
		return false
	}
	r.b = r.b[n:]

	return true
}

// skipName skips what a named property is called by: GUID, kind, number or name.
func (r *mapiReader) skipName() bool {
	if len(r.b) < 24 {
		return false
	}
	isName, size := le32(r.b[16:]), int64(le32(r.b[20:]))
	r.skip(24)

	return isName != 1 || r.skip((size+3)/4*4)
}

// property reads the next one; false says that there is no other.
func (r *mapiReader) property() bool {
	kind, id := le16(r.b), le16(r.b[2:])
	r.skip(4)
	if id >= 0x8000 && !r.skipName() {
		return false
	}

	fixed := map[uint16]int64{1: 0, 2: 4, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 10: 4, 11: 4, 0x14: 8, 0x40: 8, 0x48: 16}
	if size, ok := fixed[kind]; ok {
		r.skip(size)
		return true
	}
	if len(r.b) < 4 {
		return false
	}
	values := int64(le32(r.b))
	for r.skip(4); values > 0 && len(r.b) >= 4; values-- {
		size := int64(le32(r.b))
		if !r.skip(4) || size > int64(len(r.b)) {
			return false
		}
		if slices.Contains(r.wanted, id) && len(r.found) < 20 {
			r.found = append(r.found, mapiValue{id, kind, r.b[:size]})
		}
		r.skip((size + 3) / 4 * 4)
	}

	return true
}

// The text that the packer's window begins with. [MS-OXRTFCP] 2.1.2.1
const rtfWindow = `{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor MS Sans SerifSymbolArial` +
	"Times New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"

// rtfDecompressed opens compressed RTF: four sizes and sums, then runs of eight literals or references into a window
// of 4 KiB. A reference gives 17 octets at most, so the result is nine times the input at most. [MS-OXRTFCP] 2.1.3
func rtfDecompressed(b []byte) ([]byte, error) {
	if len(b) < 16 {
		return nil, errors.New("compressed RTF: cut short")
	}
	switch string(b[8:12]) {
	case "MELA":
		return b[16:], nil
	case "LZFu":
	default:
		return nil, errors.New("compressed RTF: unknown kind")
	}
	return rtfExpanded(b[16:])
}

func rtfExpanded(b []byte) ([]byte, error) {
	out := []byte(rtfWindow)
	start := len(out)
	for len(b) > 0 {
		control := b[0]
		b = b[1:]
		for bit := 0; bit < 8 && len(b) > 0; bit++ {
			if control>>bit&1 == 0 {
				out = append(out, b[0])
				b = b[1:]
				continue
			}
			if len(b) < 2 {
				return out[start:], errors.New("compressed RTF: cut short")
			}
			offset, length := int(b[0])<<4|int(b[1]>>4), int(b[1]&0xf)+2
			b = b[2:]
			at := len(out) % 4096
			if offset == at { // the end
				return out[start:], nil
			}
			back := (at - offset + 4096) % 4096
			if back > len(out) {
				return out[start:], errors.New("compressed RTF: reference before the beginning")
			}
			for range length {
				out = append(out, out[len(out)-back])
			}
		}
	}
	return bytes.Clone(out[start:]), nil
}
