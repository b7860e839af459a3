// Package sevenzipcheck reads the header of a 7z archive before a library does: the library believes the numbers that
// stand there, and reserves memory for four billion files or a dictionary of four GiB when it is told to.
// The format is that of 7zFormat.txt in the LZMA SDK.
package sevenzipcheck

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// Signature begins a 7z file.
const Signature = "7z\xbc\xaf\x27\x1c"

// ErrEncrypted says that the header itself is encrypted: not even the names can be seen.
var ErrEncrypted = errors.New("7z: header encrypted")

var errBroken = errors.New("7z: broken header")

// Limits of what a header may ask for.
type Limits struct {
	Files      int
	Dictionary int64 // octets that one decoder may take
	Password   string
}

const maxHeader = 16 << 20 // octets of an unpacked header: some 100,000 names

// headerOf cuts out the header, whose place is written at the front of the archive.
func headerOf(b []byte) ([]byte, error) {
	if len(b) < 32 || string(b[:6]) != Signature {
		return nil, errBroken
	}
	offset, size := binary.LittleEndian.Uint64(b[12:]), binary.LittleEndian.Uint64(b[20:])
	if offset > uint64(len(b)-32) || size > uint64(len(b)-32)-offset || size == 0 {
		return nil, errBroken
	}
	return b[32+offset : 32+offset+size], nil
}

// Check says whether a library may read the archive that begins with b. Locked is whether any content is encrypted.
func Check(b []byte, l Limits) (locked bool, err error) {
	defer func() {
		if recover() != nil { // the cursor's only panic: an index out of range
			err = errBroken
		}
	}()
	header, err := headerOf(b)
	if err != nil {
		return false, err
	}
	c := &cursor{b: header, limits: l}
	for range 4 { // an encoded header may hold an encoded header
		switch id := c.octet(); id {
		case 0x01:
			return c.locked, c.header()
		case 0x17:
			if c, err = c.encoded(b[32:]); err != nil {
				return c != nil && c.locked, err
			}
		default:
			return false, errBroken
		}
	}
	return false, errBroken
}

// cursor walks over header octets; beyond their end it panics, which Check turns into an error.
type cursor struct {
	b      []byte
	limits Limits
	locked bool
	// of the last StreamsInfo
	packAt   uint64
	packed   []uint64
	coders   []coder // of the first folder
	unpacked []uint64
	folders  []int // output streams of each
}

type coder struct {
	id, properties []byte
}

func (c *cursor) octet() byte {
	v := c.b[0]
	c.b = c.b[1:]
	return v
}

func (c *cursor) take(n uint64) []byte {
	if n > uint64(len(c.b)) {
		panic("short")
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

// number: as many leading ones in the first octet as octets follow.
func (c *cursor) number() uint64 {
	lead := c.octet()
	var v uint64
	mask := byte(0x80)
	for i := range 8 {
		if lead&mask == 0 {
			return v | uint64(lead&(mask-1))<<(8*i)
		}
		v |= uint64(c.octet()) << (8 * i)
		mask >>= 1
	}
	return v
}

// count is a number of things that each take memory.
func (c *cursor) count(limit int) (int, error) {
	v := c.number()
	if v > uint64(limit) {
		return 0, fmt.Errorf("7z: header claims %d entries", v)
	}
	return int(v), nil
}

func (c *cursor) header() error {
	id := c.octet()
	if id == 2 {
		return errBroken // archive properties: no program writes them
	}
	if id == 3 {
		return errBroken // additional streams: likewise
	}
	if id == 4 {
		if err := c.streams(); err != nil {
			return err
		}
		id = c.octet()
	}
	if id == 5 {
		_, err := c.count(c.limits.Files)
		return err
	}
	if id != 0 {
		return errBroken
	}
	return nil
}

// packInfo reads a PackInfo: where the packed streams are, and how long.
func (c *cursor) packInfo() error {
	c.packAt = c.number()
	n, err := c.count(4 * c.limits.Files)
	if err != nil {
		return err
	}
	id := c.octet()
	if id == 9 {
		c.packed = c.numbers(n)
		id = c.octet()
	}
	if id == 0xa {
		c.digests(n)
		id = c.octet()
	}
	if id != 0 {
		return errBroken
	}
	return nil
}

// streams reads a StreamsInfo.
func (c *cursor) streams() error {
	id := c.octet()
	if id == 6 {
		if err := c.packInfo(); err != nil {
			return err
		}
		id = c.octet()
	}
	if id == 7 {
		if err := c.unpackInfo(); err != nil {
			return err
		}
		id = c.octet()
	}
	if id == 8 {
		if err := c.subStreams(); err != nil {
			return err
		}
		id = c.octet()
	}
	if id != 0 {
		return errBroken
	}
	return nil
}

func (c *cursor) numbers(n int) []uint64 {
	all := make([]uint64, 0, min(n, len(c.b)))
	for range n {
		all = append(all, c.number())
	}
	return all
}

func (c *cursor) digests(n int) {
	defined := n
	if c.octet() == 0 {
		defined = 0
		bits := c.take(uint64(n+7) / 8)
		for i := range n {
			defined += int(bits[i/8] >> (7 - i%8) & 1)
		}
	}
	c.take(uint64(defined) * 4)
}

func (c *cursor) unpackInfo() error {
	if c.octet() != 0xb {
		return errBroken
	}
	n, err := c.count(c.limits.Files)
	if err != nil || c.octet() != 0 {
		return errors.Join(errBroken, err)
	}
	for i := range n {
		if err := c.folder(i == 0); err != nil {
			return err
		}
	}
	if c.octet() != 0xc {
		return errBroken
	}
	for _, outs := range c.folders {
		c.unpacked = append(c.unpacked, c.numbers(outs)...)
	}
	id := c.octet()
	if id == 0xa {
		c.digests(n)
		id = c.octet()
	}
	if id != 0 {
		return errBroken
	}
	return nil
}

// coder reads one coder, and how many streams go into it and come out.
func (c *cursor) coder() (one coder, in, out int, err error) {
	flags := c.octet()
	one.id = c.take(uint64(flags & 0xf))
	in, out = 1, 1
	if flags&0x10 != 0 {
		if in, err = c.count(32); err != nil {
			return one, 0, 0, err
		}
		if out, err = c.count(32); err != nil {
			return one, 0, 0, err
		}
	}
	if flags&0x20 != 0 {
		size := c.number()
		if size > 1024 {
			return one, 0, 0, errBroken
		}
		one.properties = c.take(size)
	}
	return one, in, out, c.affordable(one)
}

func (c *cursor) folder(keep bool) error {
	n, err := c.count(32)
	if err != nil || n == 0 {
		return errBroken
	}
	ins, outs := 0, 0
	for range n {
		one, in, out, err := c.coder()
		if err != nil {
			return err
		}
		ins, outs = ins+in, outs+out
		if keep {
			c.coders = append(c.coders, one)
		}
	}
	if outs == 0 || ins < outs {
		return errBroken
	}
	c.numbers(2 * (outs - 1))
	if packed := ins - (outs - 1); packed > 1 {
		c.numbers(packed)
	}
	c.folders = append(c.folders, outs)
	return nil
}

// affordable checks what memory a coder's properties ask for.
func (c *cursor) affordable(one coder) error {
	var dict int64
	p := one.properties
	switch string(one.id) {
	case "\x03\x01\x01", "\x03\x04\x01": // LZMA, PPMd: dictionary or memory in the second to fifth octet
		if len(p) < 5 {
			return errBroken
		}
		dict = int64(binary.LittleEndian.Uint32(p[1:]))
	case "\x21": // LZMA2
		if len(p) < 1 || p[0] > 40 {
			return errBroken
		}
		dict = int64(2|p[0]&1) << (p[0]/2 + 11)
	case idAES:
		c.locked = true
	}
	if dict > c.limits.Dictionary {
		return fmt.Errorf("7z: dictionary of %d MiB", dict>>20)
	}
	return nil
}

func (c *cursor) subStreams() error {
	id := c.octet()
	files, sizes := len(c.folders), 0
	if id == 0xd {
		files = 0
		for range c.folders {
			n, err := c.count(c.limits.Files)
			if err != nil {
				return err
			}
			sizes += max(0, n-1)
			if files += n; files > c.limits.Files {
				return fmt.Errorf("7z: header claims over %d entries", files)
			}
		}
	}
	if id == 0xd {
		id = c.octet()
	}
	if id == 9 {
		c.numbers(sizes)
		id = c.octet()
	}
	if id == 0xa {
		c.digests(files) // as the library counts them, which is as 7-Zip writes them
		id = c.octet()
	}
	if id != 0 {
		return errBroken
	}
	return nil
}

// firstPacked is the first packed stream, if it is within the archive.
func (c *cursor) firstPacked(body []byte) ([]byte, bool) {
	if len(c.packed) == 0 || c.packAt > uint64(len(body)) || c.packed[0] > uint64(len(body))-c.packAt {
		return nil, false
	}
	return body[c.packAt : c.packAt+c.packed[0]], true
}

// encoded unpacks a packed header.
func (c *cursor) encoded(body []byte) (*cursor, error) {
	if err := c.streams(); err != nil {
		return c, err
	}
	switch {
	case c.locked && c.limits.Password != "":
		return c.unsealed(body)
	case c.locked:
		return c, ErrEncrypted
	}
	packed, ok := c.firstPacked(body)
	if !ok || len(c.unpacked) == 0 || len(c.coders) != 1 {
		return c, errBroken
	}
	size := c.unpacked[0]
	if size > maxHeader {
		return c, fmt.Errorf("7z: header of %d MiB", size>>20)
	}
	r, err := open(c.coders[0], size, packed)
	if err != nil {
		return c, err
	}
	plain, err := io.ReadAll(io.LimitReader(r, int64(size)))
	if err != nil {
		return c, err
	}
	return &cursor{b: plain, limits: c.limits}, nil
}

func open(one coder, size uint64, b []byte) (io.Reader, error) {
	switch string(one.id) {
	case "\x00":
		return bytes.NewReader(b), nil
	case "\x21":
		return lzma.Reader2Config{DictCap: 16 << 20}.NewReader2(bytes.NewReader(b))
	case "\x03\x01\x01":
		head := append(append([]byte{}, one.properties[:5]...), binary.LittleEndian.AppendUint64(nil, size)...)
		return lzma.NewReader(io.MultiReader(bytes.NewReader(head), bytes.NewReader(b)))
	}
	return nil, errBroken
}
