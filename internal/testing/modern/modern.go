// Package modern has the mail of today to judge filters by: honest mail in the shapes of the senders that people hear from,
// and phishing and fraud as they are sent. Both are made, the same at every call, of templates in testdata: a shape says
// which program sends, with which envelope and MIME structure, its rows have the texts, a mailer is the header fields of a
// program, a layout its HTML. Signatures are real, Zone has the keys and policies: what a message is worth is found out by
// who receives it, not claimed.
package modern

import (
	"embed"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"strings"
	"time"
)

// Set says what a message is.
type Set string

// The two sets.
const (
	Honest Set = "honest"
	Phish  Set = "phish"
)

// Result is what a check of the sender is to find.
type Result string

// The results of RFC 8601 section 2.7 that occur.
const (
	Pass     Result = "pass"
	Fail     Result = "fail"
	SoftFail Result = "softfail"
	None     Result = "none"
)

// Now is when the mail comes: a few minutes after the youngest was written.
func Now() time.Time { return time.Date(2026, time.November, 2, 10, 0, 0, 0, time.UTC) }

// Message is one message and how it comes.
type Message struct {
	Name     string // shape, language and number: unique
	Set      Set
	Shape    string
	Language string // ISO 639-1
	Octets   []byte // with CRLF, signed
	Envelope Envelope
	Auth     Auth

	dns names
}

// Envelope is what a client says of itself and of the message. From is empty for a bounce.
type Envelope struct {
	Client         netip.Addr
	Helo, From, To string
}

// Auth is what the checks find with the data of Zone.
type Auth struct{ SPF, DKIM, DMARC Result }

//go:embed testdata
var testdata embed.FS

// Messages makes all messages, the honest first.
func Messages() ([]Message, error) {
	b := &builder{}
	if err := b.read(); err != nil {
		return nil, err
	}
	var all []Message
	for _, set := range []Set{Honest, Phish} {
		files, err := fs.Glob(testdata, path.Join("testdata", string(set), "*.txt"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			text, err := testdata.ReadFile(file)
			if err != nil {
				return nil, err
			}
			some, err := b.shapes(set, string(text), len(all))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			all = append(all, some...)
		}
	}
	return all, nil
}

// builder holds what all messages are made of.
type builder struct {
	mailers, layouts, languages map[string]template
	signer                      *signer
}

func (b *builder) read() (err error) {
	if b.mailers, err = templates("testdata/mailers.txt"); err != nil {
		return err
	}
	if b.layouts, err = templates("testdata/layouts.txt"); err != nil {
		return err
	}
	if b.languages, err = templates("testdata/languages.txt"); err != nil {
		return err
	}
	b.signer, err = newSigner()
	return err
}

func (b *builder) shapes(set Set, text string, before int) (all []Message, err error) {
	seen := map[string]int{}
	for _, shape := range sections(text, "==== ") {
		rows := sections(shape.text, "---- ")
		base, _ := readKeys(shape.text)
		if len(rows) == 0 {
			return nil, fmt.Errorf("%s: no rows", shape.title)
		}
		for _, row := range rows {
			own, body := readKeys(row.text)
			for _, k := range variants(base, own) {
				seen[shape.title+row.title]++
				c := &composer{builder: b, set: set, shape: shape.title, number: before + len(all)}
				m, err := c.message(k, row.title, body, seen[shape.title+row.title])
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", shape.title, row.title, err)
				}
				all = append(all, m)
			}
		}
	}
	return all, nil
}

// client gives each message its own network, so that none gains or loses by the reputation of another.
func client(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, byte(16 + n/256), byte(n), 7})
}

func domainOf(address string) string {
	return strings.ToLower(strings.Trim(address[strings.LastIndexByte(address, '@')+1:], "<> "))
}
