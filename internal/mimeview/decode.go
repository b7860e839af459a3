package mimeview

import (
	"bytes"

	"postern/internal/mail/ascii"
)

// decoder takes a transfer encoding away, in pieces of any length. Both methods append to out.
type decoder interface {
	decode(out, in []byte) []byte
	finish(out []byte) []byte
}

// encoding names a way to decode.
type encoding string

// The encodings, and the other ways to read broken base64 and quoted-printable.
const (
	plain  encoding = "7bit"
	base64 encoding = "base64"
	quoted encoding = "quoted-printable"

	base64Through encoding = "base64, padding skipped"
	base64ToPad   encoding = "base64 to the first padding"
	base64ToJunk  encoding = "base64 to the first strange octet"
	base64Lines   encoding = "base64 without broken lines"
	base64URL     encoding = "base64 with the URL alphabet"
	base64ByLine  encoding = "base64, each line by itself"
	quotedStrict  encoding = "quoted-printable, illegal escapes kept"
	quotedDrop    encoding = "quoted-printable, illegal escapes dropped"
	quotedBlanks  encoding = "quoted-printable, blanks kept"
	quotedJoined  encoding = "quoted-printable, soft line breaks first"

	percent  encoding = "percent"
	uuencode encoding = "uuencode"
	yEnc     encoding = "yEnc"
	binHex   encoding = "BinHex"
)

func newDecoder(e encoding) decoder {
	switch e {
	case base64, base64Through, base64ToPad, base64ToJunk, base64URL, base64ByLine:
		return &base64Decoder{way: e}
	case base64Lines:
		return &lineFilter{keep: base64Line, next: &base64Decoder{way: base64}}
	case quoted, quotedStrict, quotedDrop, quotedBlanks:
		return &quotedDecoder{way: e}
	case quotedJoined:
		return &softBreaks{next: &quotedDecoder{way: quoted}}
	case percent:
		return &percentDecoder{}
	case uuencode:
		return &uuDecoder{}
	case yEnc:
		return &yDecoder{}
	case binHex:
		return newHexDecoder()
	}
	return plainDecoder{}
}

type plainDecoder struct{}

func (plainDecoder) decode(out, in []byte) []byte { return append(out, in...) }
func (plainDecoder) finish(out []byte) []byte     { return out }

func decodeAll(e encoding, text []byte) []byte {
	d := newDecoder(e)
	return d.finish(d.decode(make([]byte, 0, len(text)), text))
}

// base64Decoder reads base64 (RFC 2045 section 6.8) as the most forgiving reader would: what is not of the alphabet is
// skipped, padding in the middle begins anew, the end may be missing. It notes what a strict reader would not take.
type base64Decoder struct {
	way  encoding
	bits uint32
	n    int
	done bool
	// what was seen
	padded, junk, middle, trailer, url, odd bool
	ragged                                  bool // a line ends within a group of four
	pads, wanted                            int  // padding at the end: how much there is, how much there should be
}

const (
	b64Junk  = 0xff
	b64Blank = 0xfe
	b64Pad   = 0xfd
	b64URL   = 0xc0 // and the value below it
)

// base64Table says of each octet what it is in base64.
var base64Table = func() (t [256]byte) {
	for i := range t {
		t[i] = b64Junk
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(i)
	}
	t['\r'], t['\n'], t[' '], t['\t'] = b64Blank, b64Blank, b64Blank, b64Blank
	t['='], t['-'], t['_'] = b64Pad, b64URL, b64URL
	return t
}()

func (d *base64Decoder) decode(out, in []byte) []byte {
	i := 0
	for i < len(in) && !d.done {
		if d.n == 0 && !d.padded {
			for i+4 <= len(in) {
				a, b, c, e := base64Table[in[i]], base64Table[in[i+1]], base64Table[in[i+2]], base64Table[in[i+3]]
				if (a|b|c|e)&0xc0 != 0 {
					break
				}
				out = append(out, a<<2|b>>4, b<<4|c>>2, c<<6|e)
				i += 4
			}
			if i == len(in) {
				break
			}
		}
		out = d.octet(out, in[i])
		i++
	}
	return out
}

func (d *base64Decoder) octet(out []byte, c byte) []byte {
	v := base64Table[c]
	if v == b64URL && d.way == base64URL {
		v = 62
		if c == '_' {
			v = 63
		}
		d.url = true
	}

	switch {
	case v < 64:
		return d.sextet(out, v)
	case v == b64Blank:
		if c != '\n' || d.n == 0 {
			return out
		}
		d.ragged = true
		if d.way == base64ByLine {
			return d.flush(out)
		}
	case v == b64Pad:
		return d.pad(out)
	default:
		d.alien(v)
	}

	return out
}

// sextet takes six bits.
func (d *base64Decoder) sextet(out []byte, v byte) []byte {
	if d.padded && !d.trailer {
		d.middle = true
	}

	d.bits = d.bits<<6 | uint32(v)
	if d.n++; d.n == 4 {
		out = append(out, byte(d.bits>>16), byte(d.bits>>8), byte(d.bits))
		d.bits, d.n = 0, 0
	}

	return out
}

// alien takes an octet that is not of the alphabet.
func (d *base64Decoder) alien(v byte) {
	d.url = d.url || v == b64URL
	if d.padded && !d.middle { // text behind the end, a list's footer for one
		d.trailer = true
	}
	d.junk = d.junk || !d.trailer
	d.done = d.way == base64ToJunk
}

func (d *base64Decoder) pad(out []byte) []byte {
	if d.way == base64Through {
		return out
	}
	if d.n == 1 || d.n == 0 && !d.padded {
		d.odd = true
	}
	if d.n > 0 {
		d.pads, d.wanted = 0, 4-d.n
	}
	d.pads++
	out = d.flush(out)
	d.padded = true
	d.done = d.way == base64ToPad
	return out
}

func (d *base64Decoder) flush(out []byte) []byte {
	switch d.n {
	case 2:
		out = append(out, byte(d.bits>>4))
	case 3:
		out = append(out, byte(d.bits>>10), byte(d.bits>>2))
	}
	d.bits, d.n = 0, 0
	return out
}

func (d *base64Decoder) finish(out []byte) []byte {
	d.odd = d.odd || d.n != 0 || d.pads != d.wanted
	return d.flush(out)
}

// clean says that every reader gets the same out of it.
func (d *base64Decoder) clean() bool { return !d.junk && !d.middle && !d.trailer && !d.url && !d.odd }

// lineFilter lets whole lines through, or not.
type lineFilter struct {
	line []byte
	keep func([]byte) bool
	next decoder
}

const maxKeptLine = 64 << 10

func (f *lineFilter) decode(out, in []byte) []byte {
	for len(in) > 0 {
		i := bytes.IndexByte(in, '\n')
		piece := in
		if i >= 0 {
			piece = in[:i+1]
		}
		in = in[len(piece):]
		f.line = append(f.line, piece...)
		if i >= 0 || len(f.line) > maxKeptLine {
			out = f.flush(out)
		}
	}
	return out
}

func (f *lineFilter) flush(out []byte) []byte {
	if f.keep(f.line) {
		out = f.next.decode(out, f.line)
	}
	f.line = f.line[:0]
	return out
}

func (f *lineFilter) finish(out []byte) []byte { return f.next.finish(f.flush(out)) }

func base64Line(line []byte) bool {
	for _, c := range line {
		if v := base64Table[c]; v == b64Junk || v == b64URL {
			return false
		}
	}
	return true
}

// quotedDecoder reads quoted-printable (RFC 2045 section 6.7); an escape that is none stays, white space at the end of
// a line goes.
type quotedDecoder struct {
	way  encoding
	held []byte // an escape that is not complete, or blanks that may end a line
	// what was seen
	illegal, blanks bool
}

const maxHeldBlanks = 1000

func (d *quotedDecoder) decode(out, in []byte) []byte {
	for i := 0; i < len(in); i++ {
		c := in[i]
		if len(d.held) == 0 {
			switch c {
			case '=', ' ', '\t':
				d.held = append(d.held, c)
			default:
				out = append(out, c)
			}
			continue
		}
		if d.held[0] == '=' {
			out = d.escape(out, c)
		} else {
			out = d.blank(out, c)
		}
	}
	return out
}

func (d *quotedDecoder) blank(out []byte, c byte) []byte {
	switch c {
	case ' ', '\t':
		if len(d.held) < maxHeldBlanks {
			d.held = append(d.held, c)
			return out
		}
		out = append(out, d.held...)
		d.held = append(d.held[:0], c)
		return out
	case '\r', '\n':
		d.blanks = true
		if d.way == quotedBlanks {
			out = append(out, d.held...)
		}
		d.held = d.held[:0]
		return append(out, c)
	case '=':
		out = append(out, d.held...)
		d.held = append(d.held[:0], c)
		return out
	}
	out = append(out, d.held...)
	d.held = d.held[:0]
	return append(out, c)
}

// softBreak takes the line feed that ends a soft line break.
func (d *quotedDecoder) softBreak(out []byte) []byte {
	if len(d.held) > 3 || len(d.held) == 3 && d.held[1] != '\r' {
		d.blanks = true
		if d.way == quotedStrict {
			return d.broken(out)
		}
	}
	d.held = d.held[:0]
	return out
}

// escape takes the octet c behind an "=" that is held.
func (d *quotedDecoder) escape(out []byte, c byte) []byte {
	d.held = append(d.held, c)

	if ascii.HexValue(d.held[1]) >= 0 {
		switch {
		case len(d.held) == 2:
			return out
		case len(d.held) == 3 && ascii.HexValue(c) >= 0:
			return d.pair(out)
		}
		return d.broken(out)
	}

	// a soft line break, with white space before the line end or without
	switch c {
	case '\n':
		return d.softBreak(out)
	case ' ', '\t', '\r':
		if len(d.held) < 80 {
			return out
		}
	}

	return d.broken(out)
}

// pair decodes the two hexadecimal digits that are held. RFC 2045 section 6.7 (1) wants them in upper case.
func (d *quotedDecoder) pair(out []byte) []byte {
	high, low := d.held[1], d.held[2]
	if d.way == quotedStrict && (high >= 'a' || low >= 'a') {
		return d.broken(out)
	}
	d.held = d.held[:0]

	return append(out, byte(ascii.HexValue(high)<<4|ascii.HexValue(low)))
}

// broken gives out what was taken for an escape and is none.
func (d *quotedDecoder) broken(out []byte) []byte {
	d.illegal = true
	held := append([]byte(nil), d.held...)
	d.held = d.held[:0]
	if d.way != quotedDrop {
		out = append(out, '=')
	}
	return d.decode(out, held[1:])
}

func (d *quotedDecoder) finish(out []byte) []byte {
	if len(d.held) > 0 && d.held[0] == '=' {
		d.illegal = true // a soft line break whose line end belongs to the delimiter, or an octet by itself
		if d.way == quotedStrict || len(d.held) > 1 && ascii.HexValue(d.held[1]) >= 0 {
			out = d.broken(out)
		}
	} else if d.way == quotedBlanks {
		out = append(out, d.held...)
	}
	d.held = d.held[:0]
	return out
}

// clean says that every reader gets the same out of it.
func (d *quotedDecoder) clean() bool { return !d.illegal && !d.blanks }

// percentDecoder reads %XX (RFC 3986 section 2.1).
type percentDecoder struct{ held []byte }

func (d *percentDecoder) decode(out, in []byte) []byte {
	for _, c := range in {
		if len(d.held) == 0 && c != '%' {
			if c != '\r' && c != '\n' {
				out = append(out, c)
			}
			continue
		}
		d.held = append(d.held, c)
		if len(d.held) < 3 {
			continue
		}
		if high, low := ascii.HexValue(d.held[1]), ascii.HexValue(d.held[2]); high >= 0 && low >= 0 {
			out = append(out, byte(high<<4|low))
		} else {
			out = append(out, d.held...)
		}
		d.held = d.held[:0]
	}
	return out
}

func (d *percentDecoder) finish(out []byte) []byte { return append(out, d.held...) }
