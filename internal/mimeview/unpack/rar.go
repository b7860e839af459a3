package unpack

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"github.com/nwaples/rardecode/v2"
)

// maxSlowPasswords: RAR and 7z make each trial cost up to seconds, on purpose.
const maxSlowPasswords = 8

// isRarHeader: version 5, or version 4 with its main header behind the marker.
func isRarHeader(b []byte) bool {
	return len(b) > 9 && (b[6] == 1 && b[7] == 0 || b[6] == 0 && b[9] == 0x73)
}

func inspectRar(w *walk, n *node, o *Object) func() {
	if !o.is("application/vnd.rar") {
		return nil
	}
	at := behind(n.content, "Rar!\x1a\x07", isRarHeader)
	if at < 0 {
		drop(o, "application/vnd.rar")
		return nil
	}
	if at > 0 && !o.carrier() {
		o.flag(PrefixedArchive, "rar")
	}
	return func() {
		b := n.content[at:]
		passwords := append([]string{""}, w.o.Passwords[:min(maxSlowPasswords, len(w.o.Passwords))]...) // a file that needs none ends it
		for i, password := range passwords {
			locked := w.rar(n, b, password, i == len(passwords)-1)
			if !locked || w.late() {
				return
			}
		}
	}
}

// behind finds an archive: at the very start on its marker's word alone, further in only where its header is one too,
// since programs that unpack have the marker among their texts. -1 is nowhere.
func behind(b []byte, marker string, valid func([]byte) bool) int {
	at := 0
	for {
		i := bytes.Index(b[at:], []byte(marker))
		if i < 0 {
			return -1
		}
		if at += i; at == 0 || valid(b[at:]) {
			return at
		}
		at++
	}
}

// drop takes back a type that a closer look did not confirm.
func drop(o *Object, name string) {
	o.Types = slices.DeleteFunc(o.Types, func(t Type) bool { return t.Name == name && len(o.Types) > 1 })
}

// rar visits all entries. A locked entry makes it give up, unless this is the last password: then the names are
// reported at least.
func (w *walk) rar(n *node, b []byte, password string, last bool) (locked bool) {
	options := []rardecode.Option{rardecode.MaxDictionarySize(maxDictionary)}
	if password != "" {
		options = append(options, rardecode.Password(password))
	}
	if !last && w.rarLocked(b, options) {
		return true
	}

	opened := password != "" && !w.rarLocked(b, options)
	r, err := rardecode.NewReader(w.source(b), options...)
	for err == nil && !w.stopped() {
		var h *rardecode.FileHeader
		if h, err = r.Next(); err == nil && !h.IsDir {
			err = w.rarEntry(n, r, h, opened, int64(len(b)))
		}
	}
	w.rarEnded(n, err)

	return false
}

// rarEnded notes why no more entries could be read.
func (w *walk) rarEnded(n *node, err error) {
	switch {
	case isRarPassword(err):
		w.encrypted(n.path)
	case err == nil || errors.Is(err, io.EOF) || errors.Is(err, errStopped):
	default:
		w.unscannable(n.path, brief(err))
	}
}

// rarEntry visits one entry of an archive of so many octets; opened says that the password fits.
func (w *walk) rarEntry(n *node, r *rardecode.Reader, h *rardecode.FileHeader, opened bool, archive int64) error {
	names := []string{h.Name}
	var flags []Flag
	if h.LinkType != rardecode.LinkTypeNone {
		flags = append(flags, Flag{SymlinkEntry, h.LinkTarget})
	}
	if h.Encrypted && !opened {
		w.closed(n, names, append(flags, Flag{Encrypted, "RAR"})...)
		return nil
	}
	if h.Encrypted || h.HeaderEncrypted {
		flags = append(flags, Flag{Unlocked, "RAR"})
	}

	e := entry{names: names, r: r, packed: max(h.PackedSize, 1), flags: flags}
	if !h.UnKnownSize {
		e.declared = []int64{h.UnPackedSize}
	}
	if h.Solid { // packed against what came before
		e.packed = archive
	}

	return w.child(n, e)
}

func isRarPassword(err error) bool {
	return errors.Is(err, rardecode.ErrArchiveEncrypted) || errors.Is(err, rardecode.ErrArchivedFileEncrypted) || errors.Is(err, rardecode.ErrBadPassword)
}

// rarLocked tries whether the first file's content opens with these options.
func (w *walk) rarLocked(b []byte, options []rardecode.Option) bool {
	r, err := rardecode.NewReader(w.source(b), options...)
	if err != nil {
		return isRarPassword(err)
	}
	for range 100 {
		h, err := r.Next()
		if err != nil {
			return isRarPassword(err)
		}
		if h.IsDir || !h.Encrypted {
			continue
		}
		_, err = io.CopyN(io.Discard, r, 1<<16)
		return err != nil && !errors.Is(err, io.EOF)
	}
	return false
}
