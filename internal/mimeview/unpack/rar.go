package unpack

import (
	"bytes"
	"errors"
	"io"

	"github.com/nwaples/rardecode/v2"
)

// maxSlowPasswords: RAR and 7z make each trial cost up to seconds, on purpose.
const maxSlowPasswords = 5

func inspectRar(w *walk, n *node, o *Object) func() {
	if !o.is("application/vnd.rar") {
		return nil
	}
	at := bytes.Index(n.content, []byte("Rar!\x1a\x07"))
	if at > 0 {
		o.flag(PrefixedArchive, "rar")
	}
	return func() {
		b := n.content[max(at, 0):]
		passwords := append([]string{""}, w.o.Passwords[:min(maxSlowPasswords, len(w.o.Passwords))]...)
		for i, password := range passwords {
			locked := w.rar(n, b, password, i == len(passwords)-1)
			if !locked || w.late() {
				return
			}
		}
	}
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
		if h, err = r.Next(); err != nil {
			break
		}
		if h.IsDir {
			continue
		}
		names := []string{h.Name}
		var flags []Flag
		if h.LinkType != rardecode.LinkTypeNone {
			flags = append(flags, Flag{SymlinkEntry, h.LinkTarget})
		}
		if h.Encrypted && !opened {
			w.closed(n, names, append(flags, Flag{Encrypted, "RAR"})...)
			continue
		}
		if h.Encrypted || h.HeaderEncrypted {
			flags = append(flags, Flag{Unlocked, "RAR"})
		}
		e := entry{names: names, r: r, packed: max(h.PackedSize, 1), flags: flags}
		if !h.UnKnownSize {
			e.declared = []int64{h.UnPackedSize}
		}
		if h.Solid { // packed against what came before
			e.packed = int64(len(b))
		}
		err = w.child(n, e)
	}
	if isRarPassword(err) {
		w.encrypted(n.path)
	} else if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errStopped) {
		w.unscannable(n.path, brief(err))
	}
	return false
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
