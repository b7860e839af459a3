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
	current := -1
	for b = b[6:]; len(b) > 0; {
		if len(b) < 11 || int64(le32(b[5:])) > int64(len(b)-11) {
			return files, errors.New("tnef: an attribute is cut short")
		}
		id, size := le32(b[1:]), int64(le32(b[5:]))
		content := b[9 : 9+size]
		b = b[9+size+2:]
		if id == tnefRendering {
			files = append(files, olePart{})
			current = len(files) - 1
			continue
		}
		if id == tnefProperties {
			body := mapiValues(content, 0x1009, 0x1013, 0x1000)
			for i, b := range body { // each reader shows another one
				files = slices.Insert(files, i, bodyPart(b))
				current++
			}
			continue
		}
		if current < 0 || current >= len(files) {
			continue
		}
		f := &files[current]
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
	return files, nil
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
	count := le32(b)
	b = b[4:]
	skip := func(n int64) bool {
		if n < 0 || n > int64(len(b)) {
			b = nil
			return false
		}
		b = b[n:]
		return true
	}
	for ; count > 0 && len(b) >= 8; count-- {
		kind, id := le16(b), le16(b[2:])
		skip(4)
		if id >= 0x8000 { // a named property: GUID, kind, number or name
			if len(b) < 24 {
				return found
			}
			isName, size := le32(b[16:]), int64(le32(b[20:]))
			if !skip(24) || isName == 1 && !skip((size+3)/4*4) {
				return found
			}
		}
		fixed := map[uint16]int64{1: 0, 2: 4, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 10: 4, 11: 4, 0x14: 8, 0x40: 8, 0x48: 16}
		if size, ok := fixed[kind]; ok {
			skip(size)
			continue
		}
		if len(b) < 4 {
			return found
		}
		values := int64(le32(b))
		for skip(4); values > 0 && len(b) >= 4; values-- {
			size := int64(le32(b))
			if !skip(4) || size > int64(len(b)) {
				return found
			}
			if slices.Contains(wanted, id) && len(found) < 20 {
				found = append(found, mapiValue{id, kind, b[:size]})
			}
			skip((size + 3) / 4 * 4)
		}
	}
	return found
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
	out := []byte(rtfWindow)
	start := len(out)
	for b = b[16:]; len(b) > 0; {
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
