// Package signature reads and checks the signatures of RFC 6376, with the algorithms of RFC 8301 and RFC 8463. It holds
// what DKIM and the seals of RFC 8617 have in common: tag lists, canonical forms, keys.
//
// Every step is linear in the size of the message and bounded: a body is put into canonical form once however many
// signatures there are, a header field is found by its name without a search.
package signature

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"postern/internal/mail"
)

// Limits that no setting changes.
const (
	// MaxTags bounds the tags of a list, MaxNames the field names in h=.
	MaxTags  = 64
	MaxNames = 1000
	// MinKeyBits and MaxKeyBits bound an RSA key: RFC 8301 section 3.2, and what verifies in a few milliseconds.
	MinKeyBits = 1024
	MaxKeyBits = 8192
)

// Canonical is a canonical form: RFC 6376 section 3.4.
type Canonical string

// The canonical forms.
const (
	Simple  Canonical = "simple"
	Relaxed Canonical = "relaxed"
)

// Signature is a DKIM-Signature field that can be checked.
type Signature struct {
	Field                      mail.Field
	Algorithm                  string
	Header, Body               Canonical
	Domain, Selector, Identity string
	Names                      []string
	BodyHash, Sig              []byte
	// SigText is b= without white space.
	SigText string
	// Length is l=, -1 without one.
	Length          int64
	Signed, Expires time.Time
}

// Tags is a tag list: RFC 6376 section 3.2.
type Tags map[string]string

// ParseTags reads a tag list. White space around names and values is taken away, that within values stays.
func ParseTags(text string) (Tags, error) {
	tags := Tags{}
	for left, more := text, true; more; {
		var spec string
		spec, left, more = strings.Cut(left, ";")
		name, value, ok := strings.Cut(spec, "=")
		name = strings.Trim(name, " \t\r\n")
		// RFC 6376 section 3.2: one semicolon may end the list; nothing between two of them is no tag
		switch empty := !ok && name == ""; {
		case empty && !more:
			continue
		case empty:
			return nil, errors.New("nothing between two semicolons")
		case !ok:
			return nil, errors.New("a tag without =")
		}
		if !isTagName(name) {
			return nil, errors.New("a tag with a bad name")
		}
		// RFC 6376 section 3.2: tags with duplicate names must not occur, else the whole list is invalid
		if _, twice := tags[name]; twice {
			return nil, fmt.Errorf("the tag %s= stands there twice", name)
		}
		if len(tags) == MaxTags {
			return nil, errors.New("too many tags")
		}
		tags[name] = strings.Trim(value, " \t\r\n")
	}
	return tags, nil
}

func isTagName(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		later := c >= '0' && c <= '9' || c == '_' // may stand behind a letter
		if !letter && (i == 0 || !later) {
			return false
		}
	}
	return name != ""
}

// Parse reads a DKIM-Signature field. With an error, what could be read of the signature is given as well.
func Parse(field mail.Field) (*Signature, error) {
	s := &Signature{Field: field, Length: -1}
	tags, err := ParseTags(string(field.Raw[field.ValueAt:]))
	if err != nil {
		return s, err
	}
	// RFC 6376 section 6.1.1: v= must be 1
	if tags["v"] != "1" {
		s.name(tags)
		return s, errors.New("not version 1")
	}
	return s, s.read(tags)
}

// name takes what tells signatures apart, whether or not the rest can be read.
func (s *Signature) name(tags Tags) {
	s.Algorithm = strings.ToLower(tags["a"])
	s.Domain, s.Selector = mail.ASCIIDomain(tags["d"]), mail.ASCIIDomain(tags["s"])
	s.SigText = withoutSpace(tags["b"])
}

// read reads all tags but the version.
func (s *Signature) read(tags Tags) error {
	s.name(tags)
	// RFC 6376 section 6.1.1: a, b, bh, d, h and s must be there
	for _, name := range []string{"a", "b", "bh", "d", "h", "s"} {
		if tags[name] == "" {
			return fmt.Errorf("no %s= tag", name)
		}
	}
	if err := s.readNames(tags); err != nil {
		return err
	}
	if err := s.readForm(tags); err != nil {
		return err
	}
	if err := s.readHashes(tags); err != nil {
		return err
	}
	return s.readNumbers(tags)
}

// checkName lets nothing reach DNS that is no domain name.
func (s *Signature) checkName() error {
	if !isName(s.Domain) || !strings.Contains(s.Domain, ".") {
		s.Domain = ""
		return errors.New("d= is not a domain name")
	}
	if !isName(s.Selector) {
		s.Selector = ""
		return errors.New("s= is not a selector")
	}
	return nil
}

// readIdentity reads i=, which is of the domain itself by default.
func (s *Signature) readIdentity(tags Tags) error {
	s.Identity = "@" + s.Domain
	i, ok := tags["i"]
	if !ok {
		return nil
	}
	s.Identity = i
	at := strings.LastIndexByte(i, '@')
	// RFC 6376 section 6.1.1: the domain of i= is d= or a subdomain of it; domains know no case
	if domain := mail.ASCIIDomain(i[at+1:]); at < 0 || domain != s.Domain && !strings.HasSuffix(domain, "."+s.Domain) {
		return errors.New("i= is not within d=")
	}
	return nil
}

func (s *Signature) readNames(tags Tags) error {
	if err := s.checkName(); err != nil {
		return err
	}
	if err := s.readIdentity(tags); err != nil {
		return err
	}
	from := false
	for name := range strings.SplitSeq(tags["h"], ":") {
		name = strings.ToLower(strings.Trim(name, " \t\r\n"))
		if name == "" {
			return errors.New("h= has an empty name")
		}
		if len(s.Names) == MaxNames {
			return errors.New("h= has too many names")
		}
		s.Names = append(s.Names, name)
		from = from || name == "from"
	}
	// RFC 6376 section 5.4: the From field must be signed
	if !from {
		return errors.New("From is not signed")
	}
	return nil
}

func isName(text string) bool {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return false
		}
	}
	return mail.ValidDomain(text)
}

func (s *Signature) checkAlgorithm() error {
	switch s.Algorithm {
	case "rsa-sha256", "ed25519-sha256":
		return nil
	case "rsa-sha1":
		// RFC 8301 section 3.1: rsa-sha1 must not be used for verifying
		return errors.New("rsa-sha1 is no longer valid")
	}
	return errors.New("unknown algorithm")
}

func (c Canonical) known() bool { return c == Simple || c == Relaxed }

func (s *Signature) readForm(tags Tags) error {
	if err := s.checkAlgorithm(); err != nil {
		return err
	}
	s.Header, s.Body = Simple, Simple
	if c, ok := tags["c"]; ok {
		header, body, both := strings.Cut(strings.ToLower(c), "/")
		s.Header = Canonical(header)
		if both {
			s.Body = Canonical(body)
		}
	}
	if !s.Header.known() || !s.Body.known() {
		return errors.New("unknown canonical form")
	}
	if q, ok := tags["q"]; ok {
		for method := range strings.SplitSeq(q, ":") {
			if strings.EqualFold(strings.Trim(method, " \t\r\n"), "dns/txt") {
				return nil
			}
		}
		return errors.New("no query method that is known")
	}
	return nil
}

func (s *Signature) readHashes(tags Tags) (err error) {
	if s.BodyHash, err = decodeBase64(tags["bh"]); err != nil {
		return errors.New("bh= is not base64")
	}
	if s.Sig, err = decodeBase64(tags["b"]); err != nil {
		return errors.New("b= is not base64")
	}
	return nil
}

func (s *Signature) readNumbers(tags Tags) (err error) {
	if text, ok := tags["l"]; ok {
		// RFC 6376 section 3.5: up to 76 digits; more than 18 is beyond any message
		if s.Length, err = number(text); err != nil {
			return errors.New("l= is not a number")
		}
	}
	var t, x int64
	if text, ok := tags["t"]; ok {
		if t, err = number(text); err != nil {
			return errors.New("t= is not a number")
		}
		s.Signed = time.Unix(t, 0)
	}
	if text, ok := tags["x"]; ok {
		if x, err = number(text); err != nil {
			return errors.New("x= is not a number")
		}
		// RFC 6376 section 3.5: x= must be greater than t=
		if !s.Signed.IsZero() && x <= t {
			return errors.New("x= is not after t=")
		}
		s.Expires = time.Unix(x, 0)
	}
	return nil
}

func number(text string) (int64, error) {
	if text == "" || len(text) > 18 {
		return 0, strconv.ErrRange
	}
	n, err := strconv.ParseUint(text, 10, 63)
	return int64(n), err
}

func withoutSpace(text string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '\t', '\r', '\n':
			return -1
		}
		return r
	}, text)
}

// decodeBase64 reads base64 with white space in it (RFC 6376 section 2.10), with or without its padding.
func decodeBase64(text string) ([]byte, error) {
	text = strings.TrimRight(withoutSpace(text), "=")
	return base64.RawStdEncoding.DecodeString(text)
}
