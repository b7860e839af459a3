// Package mail holds the nouns of the gateway: the things RFC 5321 and RFC 5322 speak of, each with one strict
// reading, one canonical writing and hard limits. Nothing in it waits on a network, a clock or a disk, but for the
// spool of a message.
package mail

import (
	"errors"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// Limits in octets. RFC 5321 section 4.5.3.1: "To the maximum extent possible, implementation techniques that impose no
// limits on the length of these objects should be used." SRS and VERP go over its 64 octets for a local part every day, so
// only the path as a whole has a bound, that of a command line (section 4.5.3.1.4); DNS bounds the domain.
const (
	MaxDomain = 255
	MaxPath   = 480
)

// Address is a mailbox as it stands in an envelope: RFC 5321 section 4.1.2. It is the only type that may become wire
// text. The zero Address is the null reverse-path "<>".
type Address struct {
	// Local is the local part with quotes and quoted-pairs taken away.
	Local string
	// Domain is the domain as it was given, or an address literal with its brackets. It is empty only for the null
	// reverse-path and for <postmaster>.
	Domain string
	// Quoted says that the local part came in quotes which only its dots ask for ("a..b"): what is passed on is written
	// as it came, with or without them. Otherwise it is false, and the quotes follow from Local.
	Quoted bool `json:",omitempty"`
}

// Errors of ParsePath. Each is wrapped with nothing, so that a door can choose the reply by errors.Is.
var (
	ErrPathSyntax    = errors.New("syntax error in the path, want <local-part@domain>")
	ErrPathTooLong   = errors.New("address too long: 480 octets in all and 255 behind the @ are the limit")
	ErrNeedsSMTPUTF8 = errors.New("address is not ASCII and SMTPUTF8 was not asked for")
)

// IsNull says whether this is the null reverse-path.
func (a Address) IsNull() bool { return a.Local == "" && a.Domain == "" }

// String writes the address in its one canonical form, without angle brackets: the local part is a dot-string where
// that is possible and a correctly quoted string where it is not. Dots where RFC 5321 has none ("a..b", "a.") stay as
// they are: that is how the mailbox's own server writes it.
func (a Address) String() string {
	if a.IsNull() {
		return ""
	}
	if a.Domain == "" {
		return a.local()
	}
	return a.local() + "@" + a.Domain
}

// Path writes the address as a path, angle brackets included.
func (a Address) Path() string { return "<" + a.String() + ">" }

// NeedsUTF8 says whether the address can only be written with SMTPUTF8 (RFC 6531 section 3.3).
func (a Address) NeedsUTF8() bool { return !IsASCII(a.Local) || !IsASCII(a.Domain) }

// ASCIIDomain is the domain as DNS and every comparison want it: A-labels, lower case, no trailing dot. It is empty if
// the domain has no such form.
func (a Address) ASCIIDomain() string { return ASCIIDomain(a.Domain) }

// Key is the address for comparisons in lists and limits: local part in lower case, domain in A-labels.
func (a Address) Key() string {
	if a.IsNull() {
		return "<>"
	}
	domain := a.ASCIIDomain()
	if domain == "" { // an address literal
		domain = strings.ToLower(a.Domain)
	}
	return strings.ToLower(a.Local) + "@" + domain
}

// WithoutDetail is the address without what stands behind a "+" in its local part (RFC 5233 section 4), if it has such.
func (a Address) WithoutDetail() (plain Address, detailed bool) {
	local, _, detailed := strings.Cut(a.Local, "+")
	if !detailed || local == "" {
		return a, false
	}

	return Address{Local: local, Domain: a.Domain}, true
}

// Literal is the address within an address literal ("[192.0.2.1]", "[IPv6:2001:db8::1]"): RFC 5321 section 4.1.3.
func (a Address) Literal() (netip.Addr, bool) { return ParseLiteral(a.Domain) }

// RoutesBySender says whether the local part holds what some servers read as a route of the sender's choice: "user%far",
// "far!user" or "user@far" within quotes. A server behind us that trusts us may follow it, so it is never a plain name.
func (a Address) RoutesBySender() bool { return strings.ContainsAny(a.Local, "@%!") }

// WithASCIIDomain gives the address with its domain in A-labels where it is internationalised.
func (a Address) WithASCIIDomain() Address {
	if !IsASCII(a.Domain) {
		a.Domain = a.ASCIIDomain()
	}
	return a
}

// WithNormalDomain gives the address with an internationalised domain as it was judged: the letters that its A-labels stand
// for, whatever wide or capital forms it came in.
func (a Address) WithNormalDomain() Address {
	if IsASCII(a.Domain) {
		return a
	}
	if u, err := idna.Lookup.ToUnicode(a.ASCIIDomain()); err == nil && u != "" {
		a.Domain = u
	}

	return a
}

// ASCIIDomain maps a domain to A-labels in lower case (RFC 5891, with the mapping of UTS 46); "" if it is none.
func ASCIIDomain(domain string) string {
	domain = strings.TrimSuffix(domain, ".")
	if IsASCII(domain) && !strings.Contains(domain, "xn--") && !strings.Contains(domain, "XN--") {
		return strings.ToLower(domain)
	}
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil {
		return ""
	}
	return strings.ToLower(ascii)
}

// ParseLiteral reads an address literal.
func ParseLiteral(domain string) (netip.Addr, bool) {
	if len(domain) < 3 || domain[0] != '[' || domain[len(domain)-1] != ']' {
		return netip.Addr{}, false
	}
	inner := domain[1 : len(domain)-1]
	if len(inner) > 5 && strings.EqualFold(inner[:5], "IPv6:") {
		ip, err := netip.ParseAddr(inner[5:])
		return ip, err == nil && ip.Is6() && ip.Zone() == ""
	}
	ip, err := netip.ParseAddr(inner)
	return ip, err == nil && ip.Is4()
}

// ParseAddress reads a mailbox without angle brackets, as it stands in settings and on the command line.
func ParseAddress(text string) (Address, error) {
	p := pathParser{rest: text, utf8: true}
	a, err := p.mailbox()
	if err == nil && p.rest != "" {
		err = ErrPathSyntax
	}
	if err != nil {
		return Address{}, err
	}
	return a, nil
}

// ParsePath reads a reverse-path or forward-path from the front of text and gives what stands behind it. The source
// route, if there is one, is read and dropped. Raw UTF-8 is read only if utf8 is set.
//
// RFC 5321 section 4.1.2: Path = "<" [ A-d-l ":" ] Mailbox ">".
func ParsePath(text string, smtputf8 bool) (Address, string, error) {
	p := pathParser{rest: text, utf8: smtputf8}
	if !p.eat('<') {
		return Address{}, "", ErrPathSyntax
	}
	if p.eat('>') {
		return Address{}, p.rest, nil
	}
	before := len(p.rest)
	// RFC 5321 appendix C: source routes are accepted and ignored.
	if err := p.sourceRoute(); err != nil {
		return Address{}, "", err
	}
	a, err := p.mailbox()
	if err != nil {
		return Address{}, "", err
	}
	if before-len(p.rest) > MaxPath-2 {
		return Address{}, "", ErrPathTooLong
	}
	if !p.eat('>') {
		return Address{}, "", ErrPathSyntax
	}
	return a, p.rest, nil
}

type pathParser struct {
	rest string
	utf8 bool
}

func (p *pathParser) eat(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *pathParser) sourceRoute() error {
	if p.rest == "" || p.rest[0] != '@' {
		return nil
	}
	for p.eat('@') {
		if _, err := p.domain(); err != nil {
			return err
		}
		if p.eat(':') {
			return nil
		}
		if !p.eat(',') {
			return ErrPathSyntax
		}
	}
	return ErrPathSyntax
}

func (p *pathParser) mailbox() (Address, error) {
	var a Address
	var err error
	if strings.HasPrefix(p.rest, `"`) {
		a.Local, err = p.quotedString()
		a.Quoted = isPlainLocal(a.Local) && !isDotAtom(a.Local)
	} else {
		a.Local, err = p.dotString()
	}
	if err != nil {
		return a, err
	}
	if !p.eat('@') {
		// RFC 5321 section 4.5.1: <postmaster> without a domain, in any case.
		if strings.EqualFold(a.Local, "postmaster") {
			return a, nil
		}
		return a, ErrPathSyntax
	}
	a.Domain, err = p.domain()
	return a, err
}

// dotString reads Atom *("." Atom), and dots in other places too: whole countries have had mailboxes like "a..b" and
// "a.", and only the server behind them knows.
func (p *pathParser) dotString() (string, error) {
	n := 0
	for n < len(p.rest) && (isAtext(p.rest[n]) || p.rest[n] == '.') {
		n++
	}
	text := p.rest[:n]
	if strings.Trim(text, ".") == "" {
		return "", ErrPathSyntax
	}
	if err := p.checkUTF8(text); err != nil {
		return "", err
	}
	p.rest = p.rest[n:]
	return text, nil
}

// quotedString reads a Quoted-string and takes its quotes away.
func (p *pathParser) quotedString() (string, error) {
	var b strings.Builder
	i := 1
	for ; i < len(p.rest) && p.rest[i] != '"'; i++ {
		c := p.rest[i]
		if c == '\\' {
			i++
			if i == len(p.rest) {
				return "", ErrPathSyntax
			}
			c = p.rest[i]
		}
		// RFC 5321 section 4.1.2: qtextSMTP and quoted-pairSMTP hold printable ASCII and space only.
		if c < ' ' || c == 0x7f {
			return "", ErrPathSyntax
		}
		b.WriteByte(c)
	}
	if i >= len(p.rest) {
		return "", ErrPathSyntax
	}
	if err := p.checkUTF8(b.String()); err != nil {
		return "", err
	}
	p.rest = p.rest[i+1:]
	return b.String(), nil
}

// domain reads a domain of RFC 5321 section 2.3.5 or an address literal. Labels are of letters, digits, hyphens and,
// because they exist in the wild, underscores.
func (p *pathParser) domain() (string, error) {
	if strings.HasPrefix(p.rest, "[") {
		end := strings.IndexByte(p.rest, ']')
		if end < 0 {
			return "", ErrPathSyntax
		}
		literal := p.rest[:end+1]
		if _, ok := ParseLiteral(literal); !ok {
			return "", ErrPathSyntax
		}
		p.rest = p.rest[end+1:]
		return literal, nil
	}
	n := 0
	for n < len(p.rest) && isDomainByte(p.rest[n]) {
		n++
	}
	text := strings.TrimSuffix(p.rest[:n], ".") // RFC 1034 section 3.1: the root's dot makes no other name
	if err := p.checkUTF8(text); err != nil {
		return "", err
	}
	if err := checkDomain(text); err != nil {
		return "", err
	}
	p.rest = p.rest[n:]
	return text, nil
}

func (p *pathParser) checkUTF8(text string) error {
	if !p.utf8 && !IsASCII(text) {
		return ErrNeedsSMTPUTF8
	}
	if !plainText(text) {
		return ErrPathSyntax
	}
	return nil
}

// ValidDomain says whether the text is a domain by the grammar of RFC 5321 (no address literal).
func ValidDomain(text string) bool {
	for i := range len(text) {
		if !isDomainByte(text[i]) {
			return false
		}
	}
	return checkDomain(text) == nil
}

func checkDomain(text string) error {
	if text == "" {
		return ErrPathSyntax
	}
	if len(text) > MaxDomain {
		return ErrPathTooLong
	}
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return ErrPathSyntax
		}
		if len(label) > 63 && IsASCII(label) {
			return ErrPathTooLong
		}
	}
	// An internationalised domain must have a form that DNS knows: RFC 5891 section 5.
	if ASCIIDomain(text) == "" {
		return ErrPathSyntax
	}
	return nil
}

// local writes the local part.
func (a Address) local() string {
	if !a.Quoted && isPlainLocal(a.Local) {
		return a.Local
	}

	var b strings.Builder
	b.Grow(len(a.Local) + 4)
	b.WriteByte('"')
	for i := range len(a.Local) {
		if a.Local[i] == '"' || a.Local[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(a.Local[i])
	}
	b.WriteByte('"')

	return b.String()
}

// isPlainLocal says whether a local part needs no quotes for its characters.
func isPlainLocal(local string) bool {
	for i := range len(local) {
		if !isAtext(local[i]) && local[i] != '.' {
			return false
		}
	}

	return strings.Trim(local, ".") != ""
}

// isDotAtom says whether the dots of a local part stand where RFC 5321 section 4.1.2 has them.
func isDotAtom(text string) bool {
	return text != "" && text[0] != '.' && text[len(text)-1] != '.' && !strings.Contains(text, "..")
}

// isAtext is atext of RFC 5322 section 3.2.3, with the bytes of UTF-8 that RFC 6532 adds.
func isAtext(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c >= 0x80:
		return true
	}
	return strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func isDomainByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c >= 0x80
}

// IsASCII says whether a text has octets of ASCII only.
func IsASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// isInvisible holds for the marks that turn the reading direction or show nothing: an address that has them is never
// what it looks like.
func isInvisible(r rune) bool {
	return r >= 0x200b && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2060 && r <= 0x2069 || r == 0xfeff || r == 0xad
}
