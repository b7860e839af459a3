package unpack

import (
	"errors"

	"postern/internal/mimeview/unpack/officecrypt"
)

// Office documents with a password: Excel's own, which it tries by itself, then those that the mail names.

// maxTries is how many passwords are tried on all documents and archives of one walk: each costs up to a tenth of a second.
// Beyond, what is encrypted is said to be so; a document that not even Excel's own password was tried on is a limit.
const maxTries = 100

// documentPasswords gives those to be tried on one document.
func (w *walk) documentPasswords() []string {
	if w.tries >= 2*maxTries {
		w.limit("passwords")
		return nil
	}
	w.tries++
	return append([]string{officecrypt.BuiltIn}, w.slowPasswords()...)
}

// slowPasswords gives those to be tried on one archive.
func (w *walk) slowPasswords() []string {
	all := w.o.Passwords[:max(0, min(maxSlowPasswords, len(w.o.Passwords), maxTries-w.tries))]
	w.tries += len(all)
	return all
}

// unseal opens the package that an encrypted document of Office 2007 and later is.
func (ole *oleFile) unseal() {
	if ole.sealed == nil {
		return
	}
	sealed := officecrypt.NewPackage(ole.info, ole.sealed, ole.w.late)
	for _, password := range ole.w.documentPasswords() {
		plain, err := sealed.Open(password)
		if errors.Is(err, officecrypt.ErrPassword) && !ole.w.late() {
			continue
		}
		if err != nil {
			break
		}
		part := olePart{names: []string{first(ole.n.names)}, content: plain}
		if password != officecrypt.BuiltIn {
			part.flags = []Flag{{Unlocked, "Office"}}
		}
		ole.inside = append(ole.inside, part)
		return
	}
	ole.locked("Office")
}

// workbookLocked opens a workbook of Excel 97. What it was protected with by its writer's own will opens everywhere.
func (ole *oleFile) workbookLocked(stream, pass []byte, depth int) {
	for _, password := range ole.w.documentPasswords() {
		plain, err := officecrypt.OpenWorkbook(stream, pass, password)
		if errors.Is(err, officecrypt.ErrPassword) {
			continue
		}
		if err != nil || depth > 0 {
			break
		}
		if password != officecrypt.BuiltIn {
			ole.o.flag(Unlocked, "Excel")
		}
		ole.workbookOpened(plain)
		return
	}
	ole.locked("Excel")
}

// workbookOpened reads the records behind the FilePass, which is passed over.
func (ole *oleFile) workbookOpened(b []byte) {
	for at := 0; at+4 <= len(b); {
		id, size := int(le16(b[at:])), int(le16(b[at+2:]))
		if id == 0x2f {
			ole.workbook(b[min(len(b), at+4+size):], 1)
			return
		}
		at += 4 + size
	}
}
