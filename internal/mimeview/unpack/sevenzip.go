package unpack

import (
	"errors"
	"hash/crc32"

	"github.com/bodgit/sevenzip"

	"postern/internal/mimeview/unpack/sevenzipcheck"
)

func inspect7z(w *walk, n *node, o *Object) func() {
	if !o.is("application/x-7z-compressed") {
		return nil
	}
	at := behind(n.content, sevenzipcheck.Signature, func(b []byte) bool {
		return len(b) > 32 && crc32.ChecksumIEEE(b[12:32]) == le32(b[8:])
	})
	if at < 0 {
		drop(o, "application/x-7z-compressed")
		return nil
	}
	if at > 0 && !o.carrier() {
		o.flag(PrefixedArchive, "7z")
	}
	b := n.content[at:]
	limits := sevenzipcheck.Limits{Files: 4 * w.o.Entries, Dictionary: maxDictionary}
	locked, err := sevenzipcheck.Check(b, limits)
	switch {
	case errors.Is(err, sevenzipcheck.ErrEncrypted):
		return sealed7z(w, n, o, b, limits)
	case err != nil:
		o.flag(Unscannable, brief(err))
		w.unscannable(n.path, brief(err))
		return nil
	}
	return func() { w.sevenzip(n, b, locked, "") }
}

// sealed7z tries the passwords on an archive whose names are encrypted, too. Without the right one nothing of it is read:
// the numbers behind the encryption can't be checked before the library allocates by them.
func sealed7z(w *walk, n *node, o *Object, b []byte, limits sevenzipcheck.Limits) func() {
	for _, limits.Password = range w.slowPasswords() {
		if _, err := sevenzipcheck.Check(b, limits); err == nil {
			return func() { w.sevenzip(n, b, true, limits.Password) }
		}
	}
	o.flag(Encrypted, "7z, names too")
	w.encrypted(n.path)
	return nil
}

// sevenzip visits the files. known is the password that opened the list of their names, "" if that is open.
func (w *walk) sevenzip(n *node, b []byte, locked bool, known string) {
	r, password, ok := w.open7z(b, locked, known)
	if r == nil {
		w.unscannable(n.path, "7z: the library does not read it")
		return
	}
	sealed, opened := locked && !ok, locked && password != ""
	var sum int64 // octets before a file in its solid block, all of which are decoded for it
	for _, f := range r.File {
		if w.stopped() {
			return
		}
		if f.FileInfo().IsDir() {
			continue
		}
		names, flags := []string{f.Name}, flags7z(f)
		if sealed && f.UncompressedSize > 0 {
			w.closed(n, names, append(flags, Flag{Encrypted, "7z"})...)
			continue
		}
		if opened {
			flags = append(flags, Flag{Unlocked, "7z"})
		}
		if sum += int64(min(f.UncompressedSize, 1<<40)); sum > w.o.Total {
			w.limit("total")
			w.closed(n, names, append(flags, Flag{LimitHit, "total"})...)
			return
		}
		if err := w.file7z(n, f, int64(len(b)), flags); err != nil {
			return // the rest of the block stands behind it
		}
	}
}

// flags7z says what the attributes tell of a file.
func flags7z(f *sevenzip.File) []Flag {
	if mode := f.Attributes >> 16; f.Attributes&0x8000 != 0 && mode&0xf000 == 0xa000 { // p7zip keeps the Unix mode there
		return []Flag{{SymlinkEntry, ""}}
	}
	return nil
}

// file7z visits one file. Its error ends the archive; one that can't be opened is noted only.
func (w *walk) file7z(n *node, f *sevenzip.File, packed int64, flags []Flag) error {
	names := []string{f.Name}
	content, err := f.Open()
	if err != nil {
		w.closed(n, names, append(flags, Flag{Unscannable, brief(err)})...)
		return nil
	}
	err = w.child(n, entry{names: names, r: content, packed: packed, declared: []int64{int64(min(f.UncompressedSize, 1<<62))}, flags: flags})
	_ = content.Close() // gives a decoder back, there is no file
	return err
}

// open7z opens the archive with the first password that reads its first file.
func (w *walk) open7z(b []byte, locked bool, known string) (r *sevenzip.Reader, password string, ok bool) {
	if known != "" {
		r, err := sevenzip.NewReaderWithPassword(w.source(b), int64(len(b)), known)
		return r, known, err == nil
	}
	r, err := sevenzip.NewReader(w.source(b), int64(len(b)))
	if err != nil {
		return nil, "", false
	}
	if !locked {
		return r, "", true
	}
	for _, password := range w.slowPasswords() {
		if w.late() {
			break
		}
		trial, err := sevenzip.NewReaderWithPassword(w.source(b), int64(len(b)), password)
		if err != nil || !opens(trial) {
			continue
		}
		// a new one: the library does not start again where it has been
		if fresh, err := sevenzip.NewReaderWithPassword(w.source(b), int64(len(b)), password); err == nil {
			return fresh, password, true
		}
	}
	return r, "", false
}

// opens reads the first file of some size. Its sum has to be right: a wrong key yields octets as well.
func opens(r *sevenzip.Reader) bool {
	for _, f := range r.File {
		if f.UncompressedSize == 0 || f.FileInfo().IsDir() {
			continue
		}
		content, err := f.Open()
		if err != nil {
			return false
		}
		sum, size, err := crcOf(content)
		_ = content.Close() // gives a decoder back
		return err == nil && (sum == f.CRC32 || size == proofBytes)
	}
	return true
}
