package ledger

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"postern/internal/mail"
)

// Subjects says what is kept of the subjects of messages.
type Subjects string

// The choices: as they are; as a keyed hash, so that equal ones can still be told; nothing.
const (
	SubjectsKept   Subjects = "keep"
	SubjectsHashed Subjects = "hash"
	SubjectsNone   Subjects = "none"
)

// Privacy says how much of texts and names is kept, and for how long. The zero Privacy keeps all.
type Privacy struct {
	// Subjects is SubjectsKept where nothing is said.
	Subjects Subjects
	// Key makes the hashes of subjects. With it subjects can be guessed and checked; without it they can't. At least 16
	// octets.
	Key []byte
	// MaskAfter is the age from which on no full address is kept: ann@example.com becomes a***@example.com, display names
	// go. 0 masks nothing. It is done by Expire, so once a day.
	MaskAfter time.Duration
}

func (p Privacy) check() error {
	switch p.Subjects {
	case "", SubjectsKept, SubjectsNone:
	case SubjectsHashed:
		if len(p.Key) < 16 {
			return errors.New("hashed subjects need a key of 16 octets or more")
		}
	default:
		return fmt.Errorf("subjects can be kept as %s, %s or %s, not %q", SubjectsKept, SubjectsHashed, SubjectsNone, p.Subjects)
	}
	if p.MaskAfter < 0 {
		return errors.New("addresses can't be masked before they come")
	}
	return nil
}

// subject is what is kept of one.
func (p Privacy) subject(s string) string {
	switch {
	case p.Subjects == SubjectsNone:
		return ""
	case p.Subjects == SubjectsHashed && s != "":
		h := hmac.New(sha256.New, p.Key)
		h.Write([]byte(s))
		return "hash:" + hex.EncodeToString(h.Sum(nil)[:16])
	}
	return s
}

// hide takes out of a transaction what is not to be kept of its subject: also where a rule quotes it as evidence.
func (p Privacy) hide(t *Transaction) {
	kept := p.subject(t.Subject)
	if kept == t.Subject {
		return
	}
	const shortest = 4 // octets; less is found everywhere
	if len(t.Subject) >= shortest {
		for i := range t.Findings {
			for j, e := range t.Findings[i].Evidence { // the slices are our own since bounded
				t.Findings[i].Evidence[j] = strings.ReplaceAll(e, t.Subject, "(subject)")
			}
		}
	}
	t.Subject = kept
	if t.Facts != nil { // our own since bounded
		t.Facts.Subject = ""
	}
}

// due says whether a record of this time is old enough to be masked.
func (p Privacy) due(at, now time.Time) bool { return p.MaskAfter > 0 && now.Sub(at) > p.MaskAfter }

// masked gives a transaction without full addresses. A Message-ID is no address.
func (t Transaction) masked() Transaction {
	id, user := t.MessageID, t.User
	t = rewrite(t, maskText)
	t.MessageID, t.User = id, maskUser(user)
	t.HeaderFrom = onlyAddresses(t.HeaderFrom)
	if f := t.Facts; f != nil { // rewrite has made it our own
		f.From, f.User, f.ReplyTo, f.Groups = maskAddress(f.From), maskUser(f.User), maskText(f.ReplyTo), nil
		for i, a := range f.HeaderFrom {
			f.HeaderFrom[i] = maskAddress(a)
		}
	}
	return t
}

func (c Connection) masked() Connection {
	user := c.User
	c = rewrite(c, maskText)
	c.User = maskUser(user)
	return c
}

const mask = "***"

func maskAddress(a mail.Address) mail.Address {
	if a.Local != "" {
		a.Local = maskLocal(a.Local)
	}
	return a
}

// maskLocal leaves the first character. What is masked already stays as it is.
func maskLocal(local string) string {
	_, n := utf8.DecodeRuneInString(local)
	if local == mask || local[n:] == mask {
		return local
	}
	return local[:n] + mask
}

func maskUser(user string) string {
	if user == "" || strings.Contains(user, "@") {
		return maskText(user)
	}
	return maskLocal(user)
}

// maskText masks all that looks like an address in a text.
func maskText(s string) string {
	if !strings.Contains(s, "@") {
		return s
	}
	var b strings.Builder
	for {
		at := strings.IndexByte(s, '@')
		if at < 0 {
			b.WriteString(s)
			return b.String()
		}
		begun := localBegins(s[:at])
		b.WriteString(s[:begun])
		if begun < at {
			b.WriteString(maskLocal(s[begun:at]))
		}
		b.WriteByte('@')
		s = s[at+1:]
	}
}

// localBegins finds where the local part begins that ends a text: a quoted one at its quote.
func localBegins(s string) int {
	if strings.HasSuffix(s, `"`) {
		if i := strings.LastIndexByte(s[:len(s)-1], '"'); i >= 0 {
			return i
		}
	}
	return strings.LastIndexAny(s, " \t\r\n<>(),;:\"[]") + 1
}

// onlyAddresses drops display names.
func onlyAddresses(author string) string {
	var kept []string
	for _, w := range strings.FieldsFunc(author, func(r rune) bool { return strings.ContainsRune(" \t\r\n<>(),;\"", r) }) {
		if strings.Contains(w, "@") {
			kept = append(kept, w)
		}
	}
	return strings.Join(kept, ", ")
}
