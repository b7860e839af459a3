package unpack

import (
	"bytes"
	"errors"
	"io"
)

// newCompress reads the format of compress(1), .Z: LZW with codes of 9 to 16 bits, least significant bit first, in
// groups of eight codes. A code over the table's end is an error. Work and memory stay linear in what is decoded, and
// that stops at the limit that the reader's user sets.
func newCompress(w *walk, b []byte) (io.Reader, error) {
	if len(b) < 3 || b[2]&0x1f < 9 || b[2]&0x1f > 16 {
		return nil, errors.New("compress: broken header")
	}
	l := &lzw{in: b[3:], max: uint(b[2] & 0x1f), block: b[2]&0x80 != 0}
	l.reset()
	return l, nil
}

type lzw struct {
	in     []byte
	bit    int // place in the input
	group  int // where the current group of eight codes began
	max    uint
	width  uint
	block  bool // code 256 clears the table
	prefix [1 << 16]uint16
	last   [1 << 16]byte
	next   int
	prev   int
	first  byte
	out    bytes.Buffer
}

func (l *lzw) reset() {
	l.width, l.prev, l.next = 9, -1, 256
	if l.block {
		l.next = 257
	}
}

// align goes to the end of a group: the writer fills it up when the width changes.
func (l *lzw) align() {
	size := int(l.width) * 8
	if used := (l.bit - l.group) % size; used != 0 {
		l.bit += size - used
	}
	l.group = l.bit
}

func (l *lzw) code() (int, bool) {
	if l.bit+int(l.width) > len(l.in)*8 {
		return 0, false
	}
	v := 0
	for i := range int(l.width) {
		at := l.bit + i
		v |= int(l.in[at/8]>>(at%8)&1) << i
	}
	l.bit += int(l.width)
	return v, true
}

func (l *lzw) Read(p []byte) (int, error) {
	for l.out.Len() < len(p) && l.out.Len() < 64<<10 {
		c, ok := l.code()
		if !ok {
			break
		}
		if c == 256 && l.block {
			l.align()
			l.reset()
			continue
		}
		if err := l.expand(c); err != nil {
			return 0, err
		}
		if l.next >= 1<<l.width && l.width < l.max {
			l.align()
			l.width++
		}
	}
	if l.out.Len() == 0 {
		return 0, io.EOF
	}
	return l.out.Read(p)
}

// knows says whether a code is in the table, or is the one that is about to be added. The first code is an octet.
func (l *lzw) knows(c int) bool {
	if l.prev < 0 {
		return c <= 255 && c < l.next
	}
	return c <= l.next
}

func (l *lzw) expand(c int) error {
	if !l.knows(c) {
		return errors.New("compress: code out of the table")
	}
	var stack []byte
	at := c
	if c == l.next {
		stack = append(stack, l.first)
		at = l.prev
	}
	for at > 255 {
		stack = append(stack, l.last[at])
		at = int(l.prefix[at])
	}
	l.first = byte(at)
	l.out.WriteByte(l.first)
	for i := len(stack) - 1; i >= 0; i-- {
		l.out.WriteByte(stack[i])
	}
	if l.prev >= 0 && l.next < 1<<l.max {
		l.prefix[l.next], l.last[l.next] = uint16(l.prev), l.first
		l.next++
	}
	l.prev = c
	return nil
}
