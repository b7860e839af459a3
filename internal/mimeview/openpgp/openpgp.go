// Package openpgp reads what an OpenPGP message (RFC 9580) holds without a key: what was only stored, compressed or signed is
// there for everybody to read, whatever the mail around it says. It decrypts nothing and verifies nothing.
package openpgp

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"compress/zlib"
	"errors"
	"io"
)

// Literal is a file or a text that stands in the message as it is: RFC 9580 section 5.9.
type Literal struct {
	// Name is the file name that the message gives it, "" for none.
	Name    string
	Content io.Reader
}

// Found says what a message is.
type Found struct {
	// Encrypted is set if there is encrypted data, or a key for some; Literals is how many contents were handed out.
	Encrypted bool
	Literals  int
	// Cut is set if there was more than is read: packets, or compressed packets within each other.
	Cut bool
}

const (
	maxPackets = 1000
	maxDepth   = 4
	maxBuffer  = 4 << 10
)

// The packets that matter: RFC 9580 section 5.
const (
	tagSessionKey     = 1
	tagPassphrase     = 3
	tagCompressed     = 8
	tagEncrypted      = 9
	tagLiteral        = 11
	tagProtected      = 18
	tagAEAD           = 20
	lengthPartial     = 224
	lengthFourOctets  = 255
	lengthTwoOctets   = 192
	oldIndeterminate  = 3
	lastDefinedPacket = 21
)

// Read reads the packets at the front of r, in binary. take gets each literal content and reads it before it returns.
func Read(r io.Reader, take func(Literal) error) (Found, error) {
	w := walk{take: take}
	err := w.packets(bufio.NewReaderSize(r, maxBuffer), 0)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errNoPacket) {
		err = nil // it may be cut short: what was there has been read
	}
	return w.found, err
}

var errNoPacket = errors.New("no OpenPGP packet")

type walk struct {
	found Found
	take  func(Literal) error
	seen  int
}

func (w *walk) packets(r *bufio.Reader, depth int) error {
	for {
		if w.seen++; w.seen > maxPackets {
			w.found.Cut = true
			return nil
		}
		tag, body, err := next(r)
		if err != nil {
			return err
		}
		if err := w.packet(tag, body, depth); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			return err
		}
	}
}

func (w *walk) packet(tag int, body io.Reader, depth int) error {
	switch tag {
	case tagSessionKey, tagPassphrase, tagEncrypted, tagProtected, tagAEAD:
		w.found.Encrypted = true
	case tagCompressed:
		if depth == maxDepth {
			w.found.Cut = true
			return nil
		}
		inner, err := decompressed(body)
		if err != nil {
			return nil // an unknown method, or broken: readers get nothing out of it
		}
		err = w.packets(bufio.NewReaderSize(inner, maxBuffer), depth+1)
		if isBroken(err) {
			return nil
		}
		return err
	case tagLiteral:
		return w.literal(body)
	}
	return nil
}

// isBroken says of an error that it is the message's and not that of who takes the contents.
func isBroken(err error) bool {
	var corrupt flate.CorruptInputError
	var structural bzip2.StructuralError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errNoPacket) || errors.As(err, &corrupt) ||
		errors.As(err, &structural) || errors.Is(err, zlib.ErrChecksum) || errors.Is(err, zlib.ErrHeader)
}

// literal hands out a literal packet: its format, its name and its date stand before the content.
func (w *walk) literal(body io.Reader) error {
	var front [2]byte
	if _, err := io.ReadFull(body, front[:]); err != nil {
		return nil
	}
	name := make([]byte, int(front[1])+4)
	if _, err := io.ReadFull(body, name); err != nil {
		return nil
	}
	w.found.Literals++
	return w.take(Literal{Name: string(name[:front[1]]), Content: body})
}

func decompressed(body io.Reader) (io.Reader, error) {
	var method [1]byte
	if _, err := io.ReadFull(body, method[:]); err != nil {
		return nil, err
	}
	switch method[0] { // RFC 9580 section 9.4
	case 0:
		return body, nil
	case 1:
		return flate.NewReader(body), nil
	case 2:
		return zlib.NewReader(body)
	case 3:
		return bzip2.NewReader(body), nil
	}
	return nil, errNoPacket
}

// next reads the header of a packet: RFC 9580 section 4.2.
func next(r *bufio.Reader) (tag int, body io.Reader, err error) {
	first, err := r.ReadByte()
	if err != nil {
		return 0, nil, err
	}
	if first&0x80 == 0 {
		return 0, nil, errNoPacket
	}
	if first&0x40 != 0 {
		tag = int(first & 0x3f)
		n, partial, err := newLength(r)
		if err != nil {
			return 0, nil, err
		}
		return valid(tag, &chunks{r: r, left: n, more: partial})
	}
	tag = int(first >> 2 & 0x0f)
	kind := first & 3
	if kind == oldIndeterminate {
		return valid(tag, r)
	}
	n := int64(0)
	for range 1 << kind {
		c, err := r.ReadByte()
		if err != nil {
			return 0, nil, err
		}
		n = n<<8 | int64(c)
	}
	return valid(tag, &chunks{r: r, left: n})
}

func valid(tag int, body io.Reader) (int, io.Reader, error) {
	if tag == 0 || tag > lastDefinedPacket && tag < 60 {
		return 0, nil, errNoPacket
	}
	return tag, body, nil
}

func newLength(r *bufio.Reader) (n int64, partial bool, err error) {
	c, err := r.ReadByte()
	if err != nil {
		return 0, false, err
	}
	switch {
	case c < lengthTwoOctets:
		return int64(c), false, nil
	case c < lengthPartial:
		d, err := r.ReadByte()
		return int64(c-lengthTwoOctets)<<8 + int64(d) + lengthTwoOctets, false, err
	case c < lengthFourOctets:
		return 1 << (c & 0x1f), true, nil
	}
	var four [4]byte
	_, err = io.ReadFull(r, four[:])
	return int64(four[0])<<24 | int64(four[1])<<16 | int64(four[2])<<8 | int64(four[3]), false, err
}

// chunks is the body of a packet, whose length may come piece by piece.
type chunks struct {
	r    *bufio.Reader
	left int64
	more bool
}

func (c *chunks) Read(p []byte) (int, error) {
	for c.left == 0 {
		if !c.more {
			return 0, io.EOF
		}
		var err error
		if c.left, c.more, err = newLength(c.r); err != nil {
			return 0, err
		}
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// armorFields is how long the fields are, with the empty line behind them.
func armorFields(text []byte) (at int) {
	for {
		n := bytes.IndexByte(text[at:], '\n')
		if n < 0 {
			return at
		}
		line := bytes.TrimSpace(text[at : at+n])
		if len(line) > 0 && bytes.IndexByte(line, ':') < 0 {
			return at
		}
		at += n + 1
		if len(line) == 0 {
			return at
		}
	}
}

// Armor finds the next armored message in text: from and end bound its base64, after is where to look on. RFC 9580 section 6.2:
// fields up to an empty line, then the base64, a checksum behind "=", and the last line.
func Armor(text []byte) (from, end, after int, ok bool) {
	i := bytes.Index(text, []byte(begin))
	if i < 0 {
		return 0, 0, 0, false
	}
	from = i + len(begin)
	if n := bytes.IndexByte(text[from:], '\n'); n >= 0 {
		from += n + 1
	}
	end = len(text)
	after = len(text)
	if n := bytes.Index(text[from:], []byte("-----END PGP")); n >= 0 {
		end, after = from+n, from+n+5
	}
	from += armorFields(text[from:end])
	if n := bytes.LastIndex(text[from:end], []byte("\n=")); n >= 0 && end-from-n < 12 {
		end = from + n + 1
	}
	return from, end, after, true
}

const begin = "-----BEGIN PGP MESSAGE"
