package app_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf16"
)

// compoundFile writes a compound file ([MS-CFB], version 3). Each stream is filled up to 4,096 octets, so that no mini
// stream is needed.
type compoundFile struct {
	entries []compoundEntry
	body    []byte
	fat     []uint32
}

type compoundEntry struct {
	name        string
	kind        byte
	child, next int
	start, size int
}

// compound makes one of streams by name and content; "dir/name" makes a storage.
func compound(pairs ...string) []byte {
	c := &compoundFile{entries: []compoundEntry{{"Root Entry", 5, -1, -1, -2, 0}}}
	storages := map[string]int{}
	for i := 0; i+1 < len(pairs); i += 2 {
		parent, name := 0, pairs[i]
		if dir, rest, ok := strings.Cut(name, "/"); ok {
			at, known := storages[dir]
			if !known {
				at = c.add(0, compoundEntry{dir, 1, -1, -1, 0, 0})
				storages[dir] = at
			}
			parent, name = at, rest
		}
		content := []byte(pairs[i+1])
		content = append(content, make([]byte, max(0, 4096-len(content)))...)
		c.add(parent, compoundEntry{name, 2, -1, -1, c.chain(content), len(content)})
	}
	return c.file()
}

// add hangs an entry behind its siblings.
func (c *compoundFile) add(parent int, e compoundEntry) int {
	n := len(c.entries)
	c.entries = append(c.entries, e)
	if c.entries[parent].child < 0 {
		c.entries[parent].child = n
		return n
	}
	at := c.entries[parent].child
	for c.entries[at].next >= 0 {
		at = c.entries[at].next
	}
	c.entries[at].next = n
	return n
}

func (c *compoundFile) chain(content []byte) int {
	start := len(c.fat)
	for at := 0; at < len(content); at += 512 {
		c.fat = append(c.fat, uint32(len(c.fat)+1))
		c.body = append(c.body, content[at:min(at+512, len(content))]...)
	}
	c.body = append(c.body, make([]byte, (512-len(c.body)%512)%512)...)
	c.fat[len(c.fat)-1] = 0xfffffffe
	return start
}

func (c *compoundFile) file() []byte {
	var table []byte
	for _, d := range c.entries {
		e := make([]byte, 128)
		units := utf16.Encode([]rune(d.name))
		for i, u := range units {
			binary.LittleEndian.PutUint16(e[2*i:], u)
		}
		binary.LittleEndian.PutUint16(e[64:], uint16(2*len(units)+2))
		e[66], e[67] = d.kind, 1
		for i, v := range []int{-1, d.next, d.child} {
			binary.LittleEndian.PutUint32(e[68+4*i:], uint32(int32(v)))
		}
		binary.LittleEndian.PutUint32(e[116:], uint32(int32(d.start)))
		binary.LittleEndian.PutUint32(e[120:], uint32(d.size))
		table = append(table, e...)
	}
	directory, first := c.chain(table), len(c.fat)
	for range (len(c.fat) + 128) / 127 {
		c.fat = append(c.fat, 0xfffffffd)
	}
	var fats []byte
	for _, v := range c.fat {
		fats = binary.LittleEndian.AppendUint32(fats, v)
	}
	fats = append(fats, bytes.Repeat([]byte{0xff}, (512-len(fats)%512)%512)...)
	h := make([]byte, 512)
	copy(h, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	for at, v := range map[int]uint16{24: 0x3e, 26: 3, 28: 0xfffe, 30: 9, 32: 6} {
		binary.LittleEndian.PutUint16(h[at:], v)
	}
	for at, v := range map[int]uint32{44: uint32(len(fats) / 512), 48: uint32(directory), 56: 4096, 60: 0xfffffffe, 68: 0xfffffffe} {
		binary.LittleEndian.PutUint32(h[at:], v)
	}
	for i := range 109 {
		v := uint32(0xffffffff)
		if i < len(fats)/512 {
			v = uint32(first + i)
		}
		binary.LittleEndian.PutUint32(h[76+4*i:], v)
	}
	return slices.Concat(h, c.body, fats)
}
