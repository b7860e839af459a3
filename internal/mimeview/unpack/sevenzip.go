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
	if errors.Is(err, sevenzipcheck.ErrEncrypted) {
		for _, limits.Password = range w.slowPasswords() {
			if _, err := sevenzipcheck.Check(b, limits); err == nil {
				return func() { w.sevenzip(n, b, true, limits.Password) }
			}
		}
	}
	sealed := errors.Is(err, sevenzipcheck.ErrEncrypted)
	switch {
	case err != nil && !sealed:
		o.flag(Unscannable, brief(err))
		w.unscannable(n.path, brief(err))
		return nil
	case sealed: // the numbers behind the encryption can't be checked before the library believes them
		o.flag(Encrypted, "7z, names too")
		w.encrypted(n.path)
		return nil
	}
	return func() { w.sevenzip(n, b, locked, "") }
}

// sevenzip visits the files. known is the password that opened the list of their names, "" if that is open.
func (w *walk) sevenzip(n *node, b []byte, locked bool, known string) {
	r, password, ok := w.open7z(b, locked, known)
	if r == nil {
		w.unscannable(n.path, "7z: the library does not read it")
		return
	}
	var sum int64 // octets before a file in its solid block, all of which are decoded for it
	for _, f := range r.File {
		if w.stopped() {
			return
		}
		if f.FileInfo().IsDir() {
			continue
		}
		names := []string{f.Name}
		var flags []Flag
		if mode := f.Attributes >> 16; f.Attributes&0x8000 != 0 && mode&0xf000 == 0xa000 { // p7zip keeps the Unix mode there
			flags = append(flags, Flag{SymlinkEntry, ""})
		}
		if locked && !ok && f.UncompressedSize > 0 {
			w.closed(n, names, append(flags, Flag{Encrypted, "7z"})...)
			continue
		}
		if locked && password != "" {
			flags = append(flags, Flag{Unlocked, "7z"})
		}
		if sum += int64(min(f.UncompressedSize, 1<<40)); sum > w.o.Total {
			w.limit("total")
			w.closed(n, names, append(flags, Flag{LimitHit, "total"})...)
			return
		}
		content, err := f.Open()
		if err != nil {
			w.closed(n, names, append(flags, Flag{Unscannable, brief(err)})...)
			continue
		}
		err = w.child(n, entry{names: names, r: content, packed: int64(len(b)), declared: []int64{int64(min(f.UncompressedSize, 1<<62))}, flags: flags})
		_ = content.Close() // gives a decoder back, there is no file
		if err != nil {
			return // the rest of the block stands behind it
		}
	}
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
