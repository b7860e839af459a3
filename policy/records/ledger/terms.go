package ledger

import (
	"crypto/sha256"
	"encoding/base32"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/policy"
)

// A record is found by its terms, which both databases index alike: the words of its texts, and for each value that is
// looked for as a whole one token that stands for it. Terms consist of letters, digits and "_" only, whatever a sender
// writes, so that nothing in them can be read as a query.

// A field of exact values is told by one letter.
type field string

const (
	fieldSender          field = "f"
	fieldSenderDomain    field = "g"
	fieldRecipient       field = "r"
	fieldRecipientDomain field = "q"
	fieldClient          field = "c"
	fieldSymbol          field = "y"
	fieldDisposition     field = "v"
	fieldSHA256          field = "s"
	fieldMessageID       field = "m"
	fieldSubject         field = "t"
	fieldUser            field = "u"
	fieldDoor            field = "o"
	fieldDirection       field = "x"
	fieldPolicy          field = "p"
	fieldKind            field = "k"
	fieldFate            field = "e"
)

// exact is the token of a value: a hash, as values are long, secret or hostile.
func exact(f field, value string) string {
	sum := sha256.Sum256([]byte(value))
	return "_" + string(f) + strings.ToLower(base32.HexEncoding.EncodeToString(sum[:10]))
}

// Bounds of the words of a record.
const (
	maxWords     = 300
	maxWord      = 64 // octets
	maxAddressed = 50 // recipients whose addresses are taken apart into words; all are found as a whole
)

// terms gathers those of one record, each once.
type terms struct {
	seen  map[string]bool
	list  []string
	words int
}

func (t *terms) add(term string) {
	if !t.seen[term] {
		t.seen[term] = true
		t.list = append(t.list, term)
	}
}

func (t *terms) exact(f field, value string) { t.add(exact(f, value)) }

// known adds a value that not every record has.
func (t *terms) known(f field, value string) {
	if value != "" {
		t.exact(f, value)
	}
}

func (t *terms) text(texts ...string) {
	for _, text := range texts {
		for _, w := range words(text, true) {
			if t.words++; t.words > maxWords {
				return
			}
			t.add(w)
		}
	}
}

func (t *terms) String() string { return strings.Join(t.list, " ") }

func newTerms() *terms { return &terms{seen: make(map[string]bool, 64)} }

// terms of a transaction.
func (t *Transaction) terms() string {
	all := newTerms()
	address, domain := fold(t.From)
	all.exact(fieldSender, address)
	all.exact(fieldSenderDomain, domain)
	for i, r := range t.Recipients {
		address, domain := fold(r.Address)
		all.exact(fieldRecipient, address)
		all.exact(fieldRecipientDomain, domain)
		all.exact(fieldDisposition, r.Disposition.String())
		if strings.HasSuffix(string(r.Fate), string(Masked)) { // the record of a fetch: that it was masked is its only fate
			all.exact(fieldFate, string(Masked))
			all.exact(fieldFate, Masked.of(address))
			all.exact(fieldFate, Masked.of("@"+domain))
		}
		if i < maxAddressed {
			all.text(r.Address)
		}
	}
	all.client(t.Client)
	all.reasons(t.Findings)
	all.exact(fieldDoor, t.Door)
	all.exact(fieldKind, string(t.Kind))
	all.exact(fieldDirection, direction(t.Outbound))
	all.known(fieldSHA256, strings.ToLower(t.SHA256))
	all.known(fieldMessageID, messageID(t.MessageID))
	all.known(fieldUser, strings.ToLower(t.user()))
	all.known(fieldPolicy, t.PolicyVersion)
	all.known(fieldSubject, t.Subject)
	all.text(mimeview.DecodeValue(t.Subject), t.From, mimeview.DecodeValue(t.HeaderFrom), t.MessageID, t.ClientName, t.Helo, t.user())
	return all.String()
}

func (t *Transaction) user() string {
	if t.User == "" && t.Facts != nil {
		return t.Facts.User
	}
	return t.User
}

// terms of a connection.
func (c *Connection) terms() string {
	all := newTerms()
	all.client(c.Client)
	all.reasons(c.Findings)
	all.exact(fieldDoor, c.Door)
	all.known(fieldUser, strings.ToLower(c.User))
	all.text(c.ClientName, c.Helo, c.User, c.End)
	return all.String()
}

func (t *terms) reasons(reasons []policy.Reason) {
	for _, r := range reasons {
		t.exact(fieldSymbol, strings.ToUpper(r.Symbol))
	}
}

func direction(outbound bool) string {
	if outbound {
		return "out"
	}
	return "in"
}

// client adds the networks of an address that a search can begin with.
func (t *terms) client(a netip.Addr) {
	a = a.Unmap().WithZone("")
	if !a.IsValid() {
		return
	}
	for _, bits := range steps(a) {
		if p, err := a.Prefix(bits); err == nil {
			t.exact(fieldClient, p.String())
		}
	}
}

// steps are the lengths of networks that are terms.
func steps(a netip.Addr) []int {
	if a.Is4() {
		return []int{8, 16, 24, 32}
	}
	return []int{16, 24, 32, 40, 48, 56, 64, 128}
}

// fold gives an address and its domain as they are searched for.
func fold(address string) (string, string) {
	local, domain, found := cutLast(address, "@")
	if !found {
		return strings.ToLower(address), ""
	}
	domain = foldDomain(domain)
	return strings.ToLower(local) + "@" + domain, domain
}

func foldDomain(domain string) string {
	if ascii := mail.ASCIIDomain(domain); ascii != "" {
		return ascii
	}
	return strings.ToLower(domain)
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// messageID is a Message-ID without brackets, as people copy it.
func messageID(id string) string { return strings.Trim(id, "<> \t\r\n") }

// words takes a text apart as a reader sees it: small letters, no accents, look-alikes as what they look like. Scripts
// without spaces give each two neighbours as a word, and in a record each character, too.
func words(text string, record bool) []string {
	text = strings.ToLower(mimeview.Fold(strings.ToLower(text)))
	var found []string
	for _, run := range strings.FieldsFunc(text, func(r rune) bool {
		return r == utf8.RuneError || !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r)
	}) {
		found = split(found, run, record)
		if len(found) > 2*maxWords {
			break
		}
	}
	return found
}

// split parts a run of letters where a script without spaces begins and ends.
func split(found []string, run string, record bool) []string {
	begun := 0
	var before rune
	for i, r := range run {
		dense, was := spaceless(r), spaceless(before)
		switch {
		case i == 0:
		case dense && was:
			found = append(found, string([]rune{before, r}))
		case dense != was && !was:
			found = append(found, shortened(run[begun:i]))
		}
		if dense {
			begun = i + utf8.RuneLen(r)
			if record || i == 0 && begun == len(run) {
				found = append(found, string(r))
			}
		}
		before = r
	}
	if begun < len(run) {
		found = append(found, shortened(run[begun:]))
	}
	return found
}

func spaceless(r rune) bool {
	return r >= 0x0E00 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

func shortened(w string) string {
	if len(w) <= maxWord {
		return w
	}
	end := maxWord
	for !utf8.RuneStart(w[end]) {
		end--
	}
	return w[:end]
}

// networks are the tokens of which a client in the network has one: those of the next step, which part it.
func networks(p netip.Prefix) []string {
	p = p.Masked()
	list := steps(p.Addr())
	for i, bits := range list {
		if bits < p.Bits() {
			continue
		}
		if bits-p.Bits() > 8 { // too many: the network around it is looked through instead
			if i == 0 {
				return nil
			}
			bits = list[i-1]
		}
		var all []string
		for sub, n := p.Addr(), 0; n < 1<<max(0, bits-p.Bits()); n++ {
			one, err := sub.Prefix(bits)
			if err != nil {
				return nil
			}
			all = append(all, exact(fieldClient, one.String()))
			sub = following(one)
		}
		return all
	}
	return nil
}

// following is the first address behind a network.
func following(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := (p.Bits() - 1) / 8; i >= 0; i-- {
		step := byte(1)
		if i == (p.Bits()-1)/8 {
			step = 1 << (7 - (p.Bits()-1)%8)
		}
		if b[i] += step; b[i] != 0 {
			break
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
