package contents

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"io"
)

// What a CMS structure (RFC 5652) turns out to be.
type cmsKind int

const (
	cmsSigned cmsKind = iota // its content can be read
	cmsSealed                // encrypted
	cmsUnread
)

// maxCMS is how long a structure is looked into, in octets; a longer one is in unpack's hands alone.
const maxCMS = 64 << 20

// The object identifiers of RFC 5652 section 4 and later and of RFC 5083, as they are encoded.
const (
	oidSigned        = "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"
	oidEnveloped     = "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03"
	oidEncrypted     = "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x06"
	oidCompressed    = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x09" // RFC 3274
	oidAuthEnveloped = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17"
)

// encapsulated gives the encapsulated content of a signed or compressed structure: its type, [0] EXPLICIT OCTET STRING.
// RFC 5652 section 5.1.
func encapsulated(explicit []ber) []ber {
	if len(explicit) < 1 {
		return nil
	}
	signed := explicit[0] // version, digest algorithms, encapsulated content, ...
	if len(signed.inside) < 3 {
		return nil
	}
	return signed.inside[2].inside
}

// openCMS gives what a signed structure holds. It reads BER, as mailers write lengths that are not known beforehand.
func openCMS(b []byte) (inner []byte, kind cmsKind) {
	outer, ok := readBER(binaryCMS(b), 0) // ContentInfo
	if !ok || len(outer.inside) < 2 {
		return nil, cmsUnread
	}
	switch string(outer.inside[0].content) {
	case oidEnveloped, oidAuthEnveloped, oidEncrypted:
		return nil, cmsSealed
	case oidSigned, oidCompressed:
	default:
		return nil, cmsUnread
	}
	wrapped := encapsulated(outer.inside[1].inside)
	if len(wrapped) == 0 {
		return nil, cmsUnread
	}
	if len(wrapped) < 2 {
		return nil, cmsSigned
	}
	var text bytes.Buffer
	for _, piece := range wrapped[1].inside {
		piece.octets(&text)
	}
	if string(outer.inside[0].content) == oidCompressed {
		return inflated(text.Bytes())
	}
	return text.Bytes(), cmsSigned
}

// inflated opens CompressedData: RFC 3274 knows no other algorithm than zlib's. What is longer than a structure may be
// is not read.
func inflated(b []byte) ([]byte, cmsKind) {
	r, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, cmsUnread
	}
	inner, err := io.ReadAll(io.LimitReader(r, maxCMS+1))
	if err != nil || len(inner) > maxCMS {
		return nil, cmsUnread
	}
	return inner, cmsSigned
}

// binaryCMS undoes a second text form: RFC 7468 section 8 and 9, as signed invoices and programs without MIME have it,
// or its base64 without the lines around it. An element of BER begins with 0x30, "0", and a length, which no base64 of
// one does: that begins with "M".
func binaryCMS(b []byte) []byte {
	text := bytes.TrimSpace(bytes.TrimPrefix(b[:min(len(b), maxCMS)], []byte("\xef\xbb\xbf")))
	if begin, rest, ok := bytes.Cut(text, []byte("\n")); ok && bytes.HasPrefix(begin, []byte("-----BEGIN ")) {
		text, _, _ = bytes.Cut(rest, []byte("-----END "))
	}
	if len(text) == 0 || text[0] != 'M' {
		return b
	}
	text = bytes.Join(bytes.Fields(text), nil)
	out := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(out, text)
	if err != nil {
		return b
	}
	return out[:n]
}

// ber is one element of BER, X.690 section 8.
type ber struct {
	tag     byte
	content []byte
	inside  []ber
	size    int
}

const (
	maxBERDepth  = 12
	maxBERPieces = 1 << 16
)

// octets gathers an OCTET STRING, whole or in pieces: X.690 section 8.7.
func (e *ber) octets(into *bytes.Buffer) {
	if e.tag&0x20 == 0 {
		into.Write(e.content)
	}
	for i := range e.inside {
		e.inside[i].octets(into)
	}
}

// readBER reads an element and those inside it: X.690 section 8.1.
func readBER(b []byte, depth int) (e ber, ok bool) {
	if depth > maxBERDepth {
		return e, false
	}
	head, length, endless, ok := berHead(b)
	if !ok {
		return e, false
	}

	e.tag = b[0]
	composed := e.tag&0x20 != 0
	rest := b[head:]
	if !endless {
		rest = rest[:length]
		e.content, e.size = rest, head+length
	}
	if !composed {
		return e, !endless
	}

	for len(rest) > 0 {
		if endless && bytes.HasPrefix(rest, []byte{0, 0}) {
			e.size = len(b) - len(rest) + 2
			return e, true
		}
		one, ok := readBER(rest, depth+1)
		if !ok || len(e.inside) == maxBERPieces {
			return e, false
		}
		e.inside = append(e.inside, one)
		rest = rest[one.size:]
	}

	return e, !endless
}

// berHead reads a tag of one octet and a length; endless says that the element goes on to an end mark. A length that goes
// beyond the end is none.
func berHead(b []byte) (head, length int, endless, ok bool) {
	if len(b) < 2 || b[0]&0x1f == 0x1f {
		return 0, 0, false, false
	}

	head, length = 2, int(b[1])
	switch {
	case b[1] == 0x80:
		return head, 0, true, true
	case b[1] > 0x80:
		n := int(b[1] & 0x7f)
		if n > 4 || len(b) < 2+n {
			return 0, 0, false, false
		}
		length = 0
		for _, c := range b[2 : 2+n] {
			length = length<<8 | int(c)
		}
		head += n
	}

	return head, length, false, length <= len(b)-head
}
