package unpack

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"postern/internal/mimeview/unpack/filetype"
)

// inspectStream opens formats that pack one file: gzip, bzip2, xz, zstd, lzma, compress.
func inspectStream(w *walk, n *node, o *Object) func() {
	var open func(*walk, []byte) (io.Reader, error)
	switch {
	case o.is("application/gzip"):
		return func() { w.gzip(n) }
	case o.is("application/x-bzip2"):
		open = func(w *walk, b []byte) (io.Reader, error) { return bzip2.NewReader(w.source(b)), nil }
	case o.is("application/x-xz"):
		open = newXZ
	case o.is("application/zstd"):
		open = func(w *walk, b []byte) (io.Reader, error) { return newZstd(w.source(b)) }
	case o.is("application/x-lzma"):
		open = newLZMA
	case o.is("application/x-compress"):
		open = newCompress
	default:
		return nil
	}
	return func() {
		names := []string{unpackedName(first(n.names))}
		r, err := open(w, n.content)
		if err != nil {
			w.closed(n, names, Flag{Unscannable, brief(err)})
			return
		}
		_ = w.child(n, entry{names: names, r: r, packed: int64(len(n.content))}) // noted by child
		if c, ok := r.(io.Closer); ok {
			_ = c.Close() // a decoder's; it has no file
		}
	}
}

// readFull fills b as far as there is something.
func readFull(r io.Reader, b []byte) int {
	n, _ := io.ReadFull(r, b) // a short one ends in its user
	return n
}

// unpackedName is what gunzip and its kin call what they make of a file.
func unpackedName(name string) string {
	base := path.Base(strings.ReplaceAll(name, `\`, "/"))
	switch ext := path.Ext(base); strings.ToLower(ext) {
	case ".tgz", ".tbz", ".tbz2", ".txz", ".tzst", ".taz", ".tlz":
		return strings.TrimSuffix(base, ext) + ".tar"
	case "":
		return base
	default:
		return strings.TrimSuffix(base, ext)
	}
}

// gzip visits each member on its own: some readers show all of them as one file, some only the first. RFC 1952 2.2
func (w *walk) gzip(n *node) {
	src := w.source(n.content)
	var whole []byte
	members := 0
	for src.r.Len() > 0 && !w.stopped() {
		at := len(n.content) - src.r.Len()
		name, size, err := gzipHeader(n.content[at:])
		if err != nil {
			if members == 0 {
				w.closed(n, []string{unpackedName(first(n.names))}, Flag{Unscannable, brief(err)})
			}
			break // padding or junk behind the last member
		}
		_, _ = src.r.Seek(int64(at+size), io.SeekStart) // within the content
		names := []string{unpackedName(first(n.names))}
		if name != "" {
			names = append(names, name)
		}
		members++
		packed := int64(len(n.content) - at)
		content, hit, err := w.read(flate.NewReader(src), packed)
		if err := w.decoded(n, entry{names: names}, content, hit, err); err != nil {
			break
		}
		if int64(len(whole)+len(content)) <= w.o.Entry {
			whole = append(whole, content...)
		}
		_, _ = src.r.Seek(8, io.SeekCurrent) // CRC and size: a wrong one stops no reader that matters
	}
	if members > 1 {
		w.part(n, []string{unpackedName(first(n.names))}, whole)
	}
}

// gzipTexts reads FNAME and FCOMMENT, each ended by a zero.
func gzipTexts(b []byte, flags byte, at int) (name string, end int, ok bool) {
	for _, bit := range []byte{8, 16} {
		if flags&bit == 0 {
			continue
		}
		text, _, ended := bytes.Cut(b[min(at, len(b)):], []byte{0})
		if !ended {
			return "", 0, false
		}
		if bit == 8 {
			name = string(text)
		}
		at += len(text) + 1
	}
	return name, at, true
}

// gzipHeader gives the FNAME of a member and the length of its header. RFC 1952 2.3
func gzipHeader(b []byte) (name string, size int, err error) {
	broken := errors.New("gzip: broken header")
	if len(b) < 10 || string(b[:3]) != "\x1f\x8b\x08" {
		return "", 0, broken
	}
	flags, at := b[3], 10
	if flags&4 != 0 {
		if len(b) < at+2 {
			return "", 0, broken
		}
		at += 2 + int(binary.LittleEndian.Uint16(b[at:]))
	}
	name, at, ok := gzipTexts(b, flags, at)
	if !ok {
		return "", 0, broken
	}
	if flags&2 != 0 {
		at += 2
	}
	if at > len(b) {
		return "", 0, broken
	}
	return name, at, nil
}

func inspectTar(w *walk, n *node, o *Object) func() {
	if !o.is("application/x-tar") {
		return nil
	}
	return func() {
		r := tar.NewReader(w.source(n.content))
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) || w.stopped() {
				return
			}
			if err != nil {
				w.unscannable(n.path, brief(err))
				return
			}
			e := entry{names: []string{h.Name}, r: r, packed: max(h.Size, 1)}
			switch h.Typeflag {
			case tar.TypeDir, tar.TypeXGlobalHeader:
				continue
			case tar.TypeSymlink, tar.TypeLink, tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
				e.flags = append(e.flags, Flag{SymlinkEntry, h.Linkname})
			}
			if err := w.child(n, e); err != nil {
				return
			}
		}
	}
}

// inspectCpio reads the formats with ASCII headers, "new" (070701, 070702) and "odc" (070707), and the old binary one.
func inspectCpio(w *walk, n *node, o *Object) func() {
	if !o.is("application/x-cpio") {
		return nil
	}
	return func() {
		b := n.content
		for len(b) > 0 && !w.stopped() {
			name, mode, content, rest, err := cpioEntry(b)
			if err != nil {
				w.unscannable(n.path, brief(err))
				return
			}
			if name == "TRAILER!!!" {
				return
			}
			b = rest
			switch mode & 0o170000 {
			case 0o040000:
				continue
			case 0o120000, 0o020000, 0o060000, 0o010000:
				w.part(n, []string{name}, content, Flag{SymlinkEntry, string(content[:min(len(content), 300)])})
			default:
				w.part(n, []string{name}, content)
			}
		}
	}
}

var errCPIO = errors.New("cpio: broken header")

// cpioHeader is what a header says: how long it is itself, and what name and content are filled up to.
type cpioHeader struct {
	mode, nameLen, size int64
	head, align         int
}

func (h cpioHeader) pad(at int) int { return (at + h.align - 1) / h.align * h.align }

func readCPIO(b []byte) (h cpioHeader, err error) {
	number := func(from, to, base int) int64 {
		v, e := strconv.ParseInt(string(b[from:to]), base, 64)
		if e != nil || v < 0 {
			err = errCPIO
		}
		return v
	}
	switch kind := string(b[:min(len(b), 6)]); {
	case len(b) >= 110 && (kind == "070701" || kind == "070702"):
		h = cpioHeader{mode: number(14, 22, 16), size: number(54, 62, 16), nameLen: number(94, 102, 16), head: 110, align: 4}
	case len(b) >= 76 && kind == "070707":
		h = cpioHeader{mode: number(18, 24, 8), nameLen: number(59, 65, 8), size: number(65, 76, 8), head: 76, align: 1}
	case len(b) >= 26 && kind[:2] == "\xc7\x71":
		h = cpioHeader{mode: int64(le16(b[6:])), nameLen: int64(le16(b[20:])), size: int64(le16(b[22:]))<<16 | int64(le16(b[24:])), head: 26, align: 2}
	default:
		err = errors.New("cpio: a header of another kind")
	}
	return h, err
}

func cpioEntry(b []byte) (name string, mode int64, content, rest []byte, err error) {
	h, err := readCPIO(b)
	if err != nil {
		return "", 0, nil, nil, err
	}
	if h.nameLen < 1 || h.nameLen > 1<<16 {
		return "", 0, nil, nil, errCPIO
	}
	nameEnd := h.head + int(h.nameLen)
	start := h.pad(nameEnd)
	if int64(len(b)) < int64(start)+h.size {
		return "", 0, nil, nil, errCPIO
	}
	end := start + int(h.size)
	return strings.TrimRight(string(b[h.head:nameEnd]), "\x00"), h.mode, b[start:end], b[min(len(b), h.pad(end)):], nil
}

// inspectUnread names the containers that nothing here reads: an archive or disk image without an inspector of its own,
// and some others.
func inspectUnread(w *walk, n *node, o *Object) func() {
	for _, t := range o.Types {
		unread := t.Class == filetype.Archive || t.Class == filetype.Disk
		switch t.Name {
		case "application/zip", "application/x-7z-compressed", "application/vnd.rar", "application/gzip", "application/x-compress", "application/x-bzip2",
			"application/x-xz", "application/zstd", "application/x-lzma", "application/x-tar", "application/x-cpio", "application/x-iso9660-image", "application/x-ms-compress-szdd":
			unread = false
		case "application/vnd.ms-htmlhelp", "application/onenote", "application/vnd.ms-outlook-pst":
			unread = true
		case "application/x-raw-disk-image": // a boot sector before an ISO image, which is read
			unread = !o.is("application/x-iso9660-image")
		}
		if unread {
			why := fmt.Sprintf("no reader for %s", t.Name)
			o.flag(Unscannable, why)
			w.unscannable(n.path, why)
		}
	}
	return nil
}
