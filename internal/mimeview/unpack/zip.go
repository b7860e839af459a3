package unpack

import (
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"postern/internal/mimeview/unpack/filetype"
	"postern/internal/mimeview/unpack/zipdir"
)

// Memory that one decoder may take. More is what only bombs and archives of whole disks ask for.
const maxDictionary = 64 << 20

func inspectZip(w *walk, n *node, o *Object) func() {
	if !o.is("application/zip") {
		return nil
	}

	proper := bytes.HasPrefix(n.content, []byte("PK"))
	carried := !proper && o.carrier()
	if carried && o.readWhole() {
		drop(o, "application/zip")
		return nil
	}
	dir := zipdir.Read(n.content, w.o.Entries)
	if carried {
		return carriedZip(w, n, o, dir)
	}
	if len(dir.Entries) == 0 && !proper {
		if len(o.Types) == 1 {
			o.Types = []Type{{Name: "application/octet-stream", Class: filetype.Other}}
		}
		drop(o, "application/zip")
		return nil
	}

	w.flagZip(n, o, dir)
	inspectPackage(o, dir.Entries)
	z := &zipReader{w: w, n: n}

	return func() { z.visitAll(dir.Entries) }
}

func (z *zipReader) visitAll(all []zipdir.Entry) {
	for i := range all {
		if z.w.stopped() {
			return
		}
		z.visit(&all[i])
	}
}

// flagZip says what is odd about an archive's directory.
func (w *walk) flagZip(n *node, o *Object, dir zipdir.Directory) {
	if dir.Broken != "" {
		o.flag(Unscannable, dir.Broken)
		w.unscannable(n.path, dir.Broken)
	}
	if dir.EndRecords > 1 {
		o.flag(ManyEOCD, fmt.Sprintf("%d end records", dir.EndRecords))
	}
	if dir.Prefix {
		o.flag(PrefixedArchive, "zip")
	}
	if dir.Overlapping {
		o.flag(OverlappingEntries, "")
	}
	if dir.LyingSize {
		o.flag(LyingSize, "sizes in directory and local header differ")
	}
	if dir.Truncated {
		o.flag(LimitHit, "entries")
		w.limit("entries")
	}
	for i := range dir.Entries {
		if dir.Entries[i].Renamed {
			o.flag(NameMismatch, strings.Join(dir.Entries[i].Names, " / "))
		}
	}
}

// carriedZip visits what a program that goes by the directory alone would find, where no program should: how the octets
// in front and between came there is the carrier's affair.
func carriedZip(w *walk, n *node, o *Object, dir zipdir.Directory) func() {
	if len(dir.Entries) == 0 {
		drop(o, "application/zip")
	}
	if dir.Truncated {
		o.flag(LimitHit, "entries")
		w.limit("entries")
	}
	z := &zipReader{w: w, n: n}
	return func() {
		for i := range dir.Entries {
			e := &dir.Entries[i]
			if w.stopped() {
				return
			}
			sound := !e.Hidden && e.Broken == "" && e.Odd == ""
			if encrypted := e.Flags&1 != 0; sound && !encrypted {
				e.Renamed = false
				z.visit(e)
			}
		}
	}
}

type zipReader struct {
	w        *walk
	n        *node
	password string // that opened an entry before
	failed   int    // entries that none opened
}

func (z *zipReader) visit(e *zipdir.Entry) {
	var flags []Flag
	if e.Renamed {
		flags = append(flags, Flag{NameMismatch, strings.Join(e.Names, " / ")})
	}
	if e.Hidden {
		flags = append(flags, Flag{HiddenEntry, ""})
	}
	if e.Odd != "" {
		flags = append(flags, Flag{HeadersDiffer, e.Odd})
	}
	if isDir := e.Packed == 0 && strings.HasSuffix(first(e.Names), "/"); isDir {
		return
	}
	if e.Broken != "" {
		z.w.closed(z.n, e.Names, append(flags, Flag{Unscannable, e.Broken})...)
		return
	}
	if e.Flags&1 != 0 {
		z.locked(e, flags)
		return
	}
	z.open(e, e.Data, e.Method, flags)
}

// open decodes plain content.
func (z *zipReader) open(e *zipdir.Entry, data []byte, method uint16, flags []Flag) {
	r, err := decoder(method, z.w, data, e)
	if err != nil {
		z.w.closed(z.n, e.Names, append(flags, Flag{Unscannable, brief(err)})...)
		return
	}
	if e.Mode&0xf000 == 0xa000 {
		flags = append(flags, Flag{SymlinkEntry, string(data[:min(e.Packed, 300, int64(len(data)))])})
	}
	sizes := e.Sizes
	if e.Hidden && e.Flags&8 != 0 {
		sizes = nil
	}
	// an error here is this entry's own: the next one has its own stream
	_ = z.w.child(z.n, entry{names: e.Names, r: r, packed: max(e.Packed, 1), declared: sizes, flags: flags})
}

// decoder opens one compression method. APPNOTE 4.4.5
func decoder(method uint16, w *walk, data []byte, e *zipdir.Entry) (io.Reader, error) {
	limited := data[:min(int64(len(data)), e.Packed)]
	switch method {
	case 0:
		return w.source(limited), nil
	case 8:
		return flate.NewReader(w.source(data)), nil // ends by itself, whatever size was declared
	case 12:
		return bzip2.NewReader(w.source(limited)), nil
	case 14:
		return zipLZMA(w, limited, e)
	case 93, 20:
		return newZstd(w.source(limited))
	case 95:
		return newXZ(w, limited)
	}
	return nil, fmt.Errorf("zip method %d", method)
}

// zipLZMA: two octets of version, two of the properties' length, the properties. APPNOTE 5.8.8
func zipLZMA(w *walk, b []byte, e *zipdir.Entry) (io.Reader, error) {
	if len(b) < 9 || b[2] != 5 || len(e.Sizes) == 0 {
		return nil, errors.New("zip: broken LZMA header")
	}
	size := e.Sizes[0]
	head := append(slices.Clone(b[4:9]), byte(size), byte(size>>8), byte(size>>16), byte(size>>24), byte(size>>32), byte(size>>40), byte(size>>48), byte(size>>56))
	if e.Flags&2 != 0 { // APPNOTE 4.4.4 bit 1: ended by a marker
		copy(head[5:], "\xff\xff\xff\xff\xff\xff\xff\xff")
	}
	return newLZMA(w, append(head, b[9:]...))
}

// newLZMA opens a stream with the header of .lzma files: properties, dictionary, size.
func newLZMA(w *walk, b []byte) (io.Reader, error) {
	if len(b) < 13 {
		return nil, io.ErrUnexpectedEOF
	}
	if dict := int64(b[1]) | int64(b[2])<<8 | int64(b[3])<<16 | int64(b[4])<<24; dict > maxDictionary {
		return nil, fmt.Errorf("LZMA dictionary of %d MiB", dict>>20)
	}
	return lzma.ReaderConfig{DictCap: maxDictionary}.NewReader(w.source(b))
}

func newXZ(w *walk, b []byte) (io.Reader, error) {
	if err := xzDictionaries(b); err != nil {
		return nil, err
	}
	return xz.ReaderConfig{DictCap: lzma.MinDictCap}.NewReader(w.source(b))
}

// xzDictionaries looks for block headers with a dictionary over the limit: filter 0x21, one octet of properties, at
// the places where blocks may begin. The library allocates what the header asks for. xz-file-format 3.1, 5.3.1
func xzDictionaries(b []byte) error {
	for at := 12; at+8 < len(b); at += 4 {
		size := (int(b[at]) + 1) * 4
		if b[at] == 0 || b[at+1]&0x3c != 0 || at+size > len(b) {
			continue
		}
		head, sum := b[at:at+size-4], binary.LittleEndian.Uint32(b[at+size-4:])
		if crc32.ChecksumIEEE(head) != sum {
			continue
		}
		i := bytes.LastIndex(head, []byte{0x21, 0x01})
		if i < 0 || i+2 >= len(head) {
			continue
		}
		// 26 stands for 32 MiB, 28 for 64 MiB; the scheme doubles with every second step
		if bits := head[i+2]; bits > 28 {
			return fmt.Errorf("xz dictionary over %d MiB", maxDictionary>>20)
		}
	}
	return nil
}

func newZstd(r io.Reader) (io.Reader, error) {
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(maxDictionary), zstd.WithDecoderMaxWindow(maxDictionary))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}
