package mail

import (
	"errors"
	"strings"
	"unicode/utf8"

	"postern/internal/mail/ascii"
	"postern/internal/mail/encodedword"
)

// Limits of an address header field.
const (
	maxMailboxes    = 1000
	maxCommentDepth = 16
)

// Mailbox is one address of a header field, with the name a reader shows for it.
type Mailbox struct {
	// Name is the display name, decoded (RFC 2047), "" without one.
	Name    string
	Address Address
	// Commented says that the name, or its end, stands in a comment.
	Commented bool
}

// Errors of ParseFrom.
var (
	ErrFromSyntax = errors.New("not a list of addresses that every reader reads alike")
	ErrFromRoute  = errors.New("a source route in an address")
	ErrFromLimit  = errors.New("too many addresses or comments too deep")
	ErrFromHidden = errors.New("an address within the local part of another one")
)

// parseList reads a mailbox-list of RFC 5322 section 3.4 and, as RFC 6854 allows, groups, of which there is then at least
// one. It is strict wherever two readers could see two different addresses, and takes time linear in the length. Honest
// mail forces a few tolerances: dots and octets above 127 within a display name without quotes, dots anywhere in a local
// part, a dot behind a domain.
func parseList(value string) (mailboxes []Mailbox, group bool, err error) {
	p := fromParser{text: value}
	mailboxes, err = p.list()

	return mailboxes, p.groups > 0, err
}

func (p *fromParser) list() (mailboxes []Mailbox, err error) {
	for {
		p.comment = p.next
		if err := p.skip(); err != nil {
			return nil, err
		}
		switch {
		case p.at == len(p.text):
			return mailboxes, p.ended(len(mailboxes))
		case len(mailboxes) == maxMailboxes:
			return nil, ErrFromLimit
		}
		m, kind, err := p.item()
		if err != nil {
			return nil, err
		}
		if err := p.separator(kind); err != nil {
			return nil, err
		}
		if kind == oneMailbox {
			mailboxes = append(mailboxes, p.named(m))
		}
	}
}

type itemKind int

const (
	oneMailbox itemKind = iota
	groupStart
	groupEnd
)

type fromParser struct {
	text    string
	at      int
	inGroup bool
	groups  int
	// comment is what the last comment of an item says, next what one behind the comma does.
	comment, next string
}

// named gives a mailbox without a name the one that a comment holds, as it was once written (RFC 5322 section 3.4) and as
// readers still show it: "bob@example.org (Bob)". They show an address in a comment beside a name, too.
func (p *fromParser) named(m Mailbox) Mailbox {
	comment := displayName(strings.TrimSpace(p.comment))
	switch {
	case comment == "":
	case m.Name == "":
		m.Name, m.Commented = comment, true
	case hasAt(comment):
		m.Name, m.Commented = m.Name+" ("+comment+")", true
	}
	return m
}

// ended checks that a list may end here: it is not empty, and no group is open.
func (p *fromParser) ended(mailboxes int) error {
	if mailboxes+p.groups == 0 || p.inGroup {
		return ErrFromSyntax
	}
	return nil
}

func (p *fromParser) peek() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

// separator reads what must stand behind an item: a comma, the end of the group or of all.
func (p *fromParser) separator(kind itemKind) error {
	if kind == groupStart {
		return nil
	}
	p.next = ""
	if err := p.skip(); err != nil {
		return err
	}
	switch {
	case p.at == len(p.text):
		return nil
	case p.peek() == ';' && p.inGroup && kind == oneMailbox:
		return nil
	case p.peek() == ',':
		return p.comma()
	}
	return ErrFromSyntax
}

// comma reads a comma and the white space and comments behind it, which belong to the next item.
func (p *fromParser) comma() error {
	p.at++
	own := p.comment
	p.comment = ""
	if err := p.skip(); err != nil {
		return err
	}
	p.comment, p.next = own, p.comment
	// RFC 5322 section 4.4: the obsolete syntax allows empty items; a list that ends so is cut off or a trick
	if p.at == len(p.text) || p.peek() == ',' {
		return ErrFromSyntax
	}
	return nil
}

// item reads one mailbox, the front of a group or the end of one.
func (p *fromParser) item() (Mailbox, itemKind, error) {
	if p.peek() == ';' && p.inGroup {
		p.at++
		p.inGroup = false
		return Mailbox{}, groupEnd, nil
	}
	words, quoted, bare, err := p.words()
	if err != nil {
		return Mailbox{}, 0, err
	}
	switch p.peek() {
	case '<':
		m, err := p.angle()
		m.Name = displayName(strings.Join(words, " "))
		return m, oneMailbox, err
	case ':':
		if p.inGroup || len(words) == 0 {
			return Mailbox{}, 0, ErrFromSyntax
		}
		p.at++
		p.inGroup = true
		p.groups++
		return Mailbox{}, groupStart, nil
	case '@':
		if !bare {
			return Mailbox{}, 0, ErrFromSyntax
		}
		m, err := p.addrSpec(words[0], quoted[0])
		return m, oneMailbox, err
	}
	return Mailbox{}, 0, ErrFromSyntax
}

// addrSpec reads on from the @ of an addr-spec. Much software writes "bob@example.org <bob@example.org>" without the
// quotes that the name needs; where both are the same address, no reader can see another.
//
// RFC 5322 section 3.4.1.
func (p *fromParser) addrSpec(local string, quoted bool) (Mailbox, error) {
	if !quoted && !isPlainLocal(local) {
		return Mailbox{}, ErrFromSyntax
	}
	address, err := p.domainAfter(local, quoted)
	if err != nil {
		return Mailbox{}, err
	}
	if err := p.skip(); err != nil || p.peek() != '<' {
		return Mailbox{Address: address}, err
	}
	m, err := p.angle()
	if err == nil && m.Address.Key() != address.Key() {
		err = ErrFromSyntax
	}
	m.Name = address.String()
	return m, err
}

// words reads the words of a phrase or a local part. bare says that there is one word, with no white space or comment
// between it and what follows.
func (p *fromParser) words() (words []string, quoted []bool, bare bool, err error) {
	bare = true
	for p.at < len(p.text) {
		c := p.peek()
		switch {
		case c == '"' || isDotAtext(c):
			text, isQuoted, err := p.word()
			if err != nil {
				return nil, nil, false, err
			}
			words, quoted = append(words, text), append(quoted, isQuoted)
		case strings.IndexByte(" \t(", c) >= 0:
			if err := p.skip(); err != nil {
				return nil, nil, false, err
			}
			bare = bare && p.peek() != '@'
		default:
			return words, quoted, bare && len(words) == 1, nil
		}
		if len(words) > 1000 {
			return nil, nil, false, ErrFromLimit
		}
	}

	return words, quoted, false, nil
}

// word reads a quoted string, or atoms and dots.
func (p *fromParser) word() (text string, quoted bool, err error) {
	if p.peek() == '"' {
		text, err = p.quotedString()
		return text, true, err
	}

	return p.dotAtom(), false, nil
}

// dotAtom reads characters of atoms and dots, wherever the dots stand.
func (p *fromParser) dotAtom() string {
	start := p.at
	for p.at < len(p.text) && isDotAtext(p.text[p.at]) {
		p.at++
	}

	return p.text[start:p.at]
}

func isDotAtext(c byte) bool { return c == '.' || isAtext(c) }

// angle reads "<" addr-spec ">".
func (p *fromParser) angle() (Mailbox, error) {
	p.at++
	if err := p.skip(); err != nil {
		return Mailbox{}, err
	}
	// RFC 5322 section 4.4: obs-route may still be read; no honest mail has it, and readers disagree on it
	if c := p.peek(); c == '@' || c == ',' {
		return Mailbox{}, ErrFromRoute
	}
	local, quoted, err := p.localPart()
	if err != nil {
		return Mailbox{}, err
	}
	if p.peek() != '@' {
		return Mailbox{}, ErrFromSyntax
	}
	address, err := p.domainAfter(local, quoted)
	if err != nil {
		return Mailbox{}, err
	}
	if err := p.skip(); err != nil {
		return Mailbox{}, err
	}
	if p.peek() != '>' {
		return Mailbox{}, ErrFromSyntax
	}
	p.at++
	return Mailbox{Address: address}, nil
}

// localPart reads a local part, quoted or not.
func (p *fromParser) localPart() (local string, quoted bool, err error) {
	local, quoted, err = p.word()
	if err == nil && !quoted && !isPlainLocal(local) {
		err = ErrFromSyntax
	}

	return local, quoted, err
}

// domainAfter reads "@" domain behind a local part.
func (p *fromParser) domainAfter(local string, quoted bool) (Address, error) {
	p.at++
	text, err := p.domainText()
	if err != nil {
		return Address{}, err
	}
	domain := strings.TrimSuffix(text, ".")
	_, literal := ParseLiteral(domain)
	validDomain := literal || ValidDomain(domain)
	if !validDomain || !plainText(local) || !plainText(domain) {
		return Address{}, ErrFromSyntax
	}
	if hidesAddress(local) {
		return Address{}, ErrFromHidden
	}
	return Address{Local: local, Domain: domain, Quoted: quoted && isPlainLocal(local) && !isDotAtom(local)}, nil
}

// domainText reads the characters of a domain, or an address literal with its brackets.
func (p *fromParser) domainText() (string, error) {
	start := p.at
	if p.peek() == '[' {
		end := strings.IndexByte(p.text[p.at:], ']')
		if end < 0 {
			return "", ErrFromSyntax
		}
		p.at += end + 1
		return p.text[start:p.at], nil
	}
	for p.at < len(p.text) && isDomainByte(p.text[p.at]) {
		p.at++
	}
	return p.text[start:p.at], nil
}

// plainText leaves out what is not UTF-8, C1 controls (RFC 6532 section 3.1), U+FFFD, and characters that show nothing or
// turn the reading direction: none of them is ever part of a true address.
func plainText(text string) bool {
	if IsASCII(text) {
		return true
	}
	if !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		isC1 := r >= 0x80 && r < 0xa0
		if isC1 || r == utf8.RuneError || isInvisible(r) {
			return false
		}
	}
	return true
}

// quotedString reads a quoted-string and takes quotes and quoted-pairs away.
func (p *fromParser) quotedString() (string, error) {
	var b strings.Builder
	for i := p.at + 1; i < len(p.text); i++ {
		c := p.text[i]
		switch {
		case c == '"':
			p.at = i + 1
			return b.String(), nil
		case c == '\\' && i+1 < len(p.text):
			i++
			c = p.text[i]
		}
		if c < ' ' && c != '\t' || c == 0x7f {
			return "", ErrFromSyntax
		}
		b.WriteByte(c)
	}
	return "", ErrFromSyntax
}

// skip drops white space and comments: RFC 5322 section 3.2.2. It keeps the text of the last comment.
func (p *fromParser) skip() error {
	for p.at < len(p.text) {
		switch p.text[p.at] {
		case ' ', '\t':
			p.at++
		case '(':
			if err := p.skipComment(); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

// skipComment drops a comment and all that are nested in it.
func (p *fromParser) skipComment() error {
	depth, start := 0, p.at+1
	for ; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case c == '(':
			if depth++; depth > maxCommentDepth {
				return ErrFromLimit
			}
		case c == ')':
			if depth--; depth == 0 {
				p.comment = unescaped(p.text[start:p.at])
				p.at++
				return nil
			}
		case c == '\\':
			p.at++
		case c != '\t' && ascii.IsControl(c):
			return ErrFromSyntax
		}
	}
	p.at = len(p.text)

	return ErrFromSyntax
}

// displayName is a name as a reader shows it. RFC 2047 section 5 has no encoded words within quotes; readers decode them.
func displayName(phrase string) string { return encodedword.Decode(phrase) }

// unescaped takes the backslashes of quoted-pairs away: RFC 5322 section 3.2.1.
func unescaped(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) {
			i++
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
