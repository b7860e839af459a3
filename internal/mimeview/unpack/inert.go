package unpack

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"

	"postern/internal/mimeview/unpack/filetype"
)

// Limits for what need not lie in memory.
const (
	// inertFrom is the size from which on it is asked whether all of an attachment is needed, inertHead how much of one that
	// holds nothing else is kept.
	inertFrom = 4 << 20
	inertHead = 1 << 20
)

// inert looks at a large attachment that is a picture, a film or nothing known: if nothing in it begins like a container or
// a document, there is nothing to be taken apart, and its front is all that is kept of it. It is read once, for its hash.
func (w *walk) inert(n *node, content io.ReaderAt, size int64) bool {
	if size < inertFrom || size > w.o.Entry {
		return false
	}
	head := make([]byte, inertHead)
	if got, err := content.ReadAt(head, 0); got < len(head) || err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	for _, t := range filetype.Detect(head, Extensions(n.names)) {
		if t.Class != "image" && t.Class != "other" {
			return false
		}
	}
	sum, ok := w.opaque(content, size)
	if !ok {
		return false
	}
	n.content, n.size, n.hash = head, size, sum
	return true
}

// opaque reads all of it in pieces, and says whether no marker of something that can be opened is in it.
func (w *walk) opaque(content io.ReaderAt, size int64) (sum [sha256.Size]byte, ok bool) {
	const overlap = 16
	hash := sha256.New()
	piece := make([]byte, overlap+256<<10)
	kept := 0 // octets of the piece before, at the front
	for at := int64(0); at < size; {
		got, err := content.ReadAt(piece[kept:kept+int(min(int64(len(piece)-kept), size-at))], at)
		failed := err != nil && !errors.Is(err, io.EOF)
		if got == 0 || failed || w.late() {
			return sum, false
		}
		hash.Write(piece[kept : kept+got])
		whole := piece[:kept+got]
		for _, marker := range markers() {
			if bytes.Contains(whole, []byte(marker)) {
				return sum, false
			}
		}
		at += int64(got)
		kept = copy(piece, whole[max(0, len(whole)-overlap):])
	}
	hash.Sum(sum[:0])
	return sum, true
}

// markers are what containers and documents begin with, wherever they stand: a zip behind a picture is a zip to whoever
// looks for its end.
func markers() [12]string {
	return [...]string{"PK\x03\x04", "PK\x05\x06", "Rar!\x1a\x07", "7z\xbc\xaf\x27\x1c", "%PDF-", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "MSCF\x00\x00\x00\x00",
		"{\\rtf", "CD001\x01", "\xfd7zXZ\x00", "conectix", "koly\x00\x00\x00\x04"}
}
