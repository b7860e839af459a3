package mail

import (
	"errors"
	"strings"

	"golang.org/x/text/unicode/norm"

	"postern/internal/mail/encodedword"
)

// ErrFromNoAddress is what ParseFrom says of a field that names nobody's mailbox: "<>", "MAILER-DAEMON", "Mail Delivery
// System". Bounces are written so. The one mailbox it gives then has a name and no address.
var ErrFromNoAddress = errors.New("no address in it")

// Author is what a From field says to a reader.
type Author struct {
	Mailboxes []Mailbox
	// Group says that the field holds a group (RFC 6854).
	Group bool
	// Odd says what is wrong in a field that breaks RFC 5322 section 3.4 but can be read in one way only; "" for none.
	Odd string
}

// ParseFrom reads the value of a From, Sender, Reply-To or To field as ReadAuthor does.
func ParseFrom(value string) (mailboxes []Mailbox, group bool, err error) {
	a, err := ReadAuthor(value)
	return a.Mailboxes, a.Group, err
}

// ReadAuthor reads the value of a From field: a mailbox-list of RFC 5322 section 3.4 and, as RFC 6854 allows, groups. It
// refuses what two readers could see two different addresses in. What breaks the grammar and still holds just one address
// for every reader ("Acme, Inc. <a@b.example>") is read, and Odd says what is wrong. It takes time linear in the length.
func ReadAuthor(value string) (Author, error) {
	boxes, group, err := parseList(value)
	if err == nil {
		return Author{Mailboxes: boxes, Group: group}, nil
	}

	if name, ok := withoutAddress(value); ok {
		return Author{Mailboxes: []Mailbox{{Name: name}}}, ErrFromNoAddress
	}

	// a trick stays a trick, and nothing is read twice that was too much once
	if errors.Is(err, ErrFromSyntax) && len(value) <= maxTolerated {
		if box, ok := onlyAddress(value); ok {
			return Author{Mailboxes: []Mailbox{box}, Odd: "special characters without quotes"}, nil
		}
	}

	return Author{Group: group}, err
}

// maxTolerated bounds how long a field may be, in octets, that is read although it breaks the grammar.
const maxTolerated = 8 << 10

// onlyAddress reads a field that breaks the grammar and ends in one address, if no reader can find another domain in it:
// neither raw, nor decoded, nor with quotes and comments taken away.
func onlyAddress(value string) (Mailbox, bool) {
	text := strings.TrimRight(value, " \t,;")

	name, inner := "", text
	if open := strings.LastIndexByte(text, '<'); open >= 0 {
		var behind string
		name = text[:open]
		inner, behind, _ = strings.Cut(text[open+1:], ">")
		// "Bob <bob@example.org>." is one, too
		if strings.Trim(behind, " \t>.") != "" {
			return Mailbox{}, false
		}
	}

	// "<mailto:a@b.example>" is what a link was pasted as
	address, ok := looseAddress(strings.TrimPrefix(strings.Trim(inner, " \t"), "mailto:"))
	if !ok {
		return Mailbox{}, false
	}

	shown := encodedword.Decode(name)
	for _, reading := range []string{value, name, shown, withoutComments(name), withoutComments(shown)} {
		if otherDomain(reading, address) || otherDomain(joined(reading), address) {
			return Mailbox{}, false
		}
	}

	return Mailbox{Name: strings.Trim(strings.NewReplacer(`\"`, `"`, `"`, "").Replace(shown), " \t<"), Address: address}, true
}

// looseAddress reads a local part without quotes, "@" and a domain, and nothing else.
func looseAddress(text string) (Address, bool) {
	local, domain, _ := strings.Cut(text, "@")
	domain = strings.TrimSuffix(domain, ".")

	goodLocal := isPlainLocal(local) && plainText(local) && !hidesAddress(local)
	if !goodLocal || !ValidDomain(domain) || !plainText(domain) {
		return Address{}, false
	}

	return Address{Local: local, Domain: domain}, true
}

// withoutAddress says whether a value names no mailbox at all in any reading, and what it shows instead. A bare word is
// taken for a local part, except MAILER-DAEMON and POSTMASTER: some servers append their own domain to it.
func withoutAddress(value string) (name string, ok bool) {
	shown := encodedword.Decode(value)
	if strings.ContainsAny(value, "@") || hasAt(shown) || len(value) > maxTolerated {
		return "", false
	}

	if text, angle, found := strings.Cut(value, "<"); found {
		if !namesNobody(angle) {
			return "", false
		}
		return strings.TrimSpace(strings.Trim(displayName(text), `" `)), true
	}

	return strings.Join(strings.Fields(shown), " "), isProse(value)
}

// namesNobody says whether the text behind a "<" is an empty address, or a name of the mail system itself.
func namesNobody(angle string) bool {
	inner, behind, closed := strings.Cut(angle, ">")
	inner = strings.Trim(inner, " \t")

	return closed && !strings.ContainsAny(behind, "<>") && (inner == "" || isDaemon(inner))
}

// isProse says whether a text without addresses can't be read as a list of local parts either.
func isProse(text string) bool {
	words := strings.Fields(text)
	if len(words) == 0 || isDaemon(words[0]) {
		return true
	}

	return len(words) > 1 && !strings.ContainsAny(text, ",;:")
}

func isDaemon(word string) bool {
	word = strings.Trim(word, `"`)
	return strings.EqualFold(word, "MAILER-DAEMON") || strings.EqualFold(word, "postmaster")
}

// otherDomain says whether a text holds an address of a domain that is neither the author's nor above or below it.
func otherDomain(text string, author Address) bool {
	own := author.ASCIIDomain()

	for at := range atSigns(shownText(text)) {
		if at.isAddress() && !sameLine(ASCIIDomain(at.domain), own) {
			return true
		}
	}

	return false
}

// sameLine says whether two domains are equal, or one is a subdomain of the other.
func sameLine(a, b string) bool {
	return a == b || strings.HasSuffix(a, "."+b) || strings.HasSuffix(b, "."+a)
}

// withoutComments drops what stands in parentheses: RFC 5322 section 3.2.2. A quoted-pair ends no comment (section 3.2.1).
func withoutComments(text string) string {
	var b strings.Builder
	depth := 0

	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && depth > 0:
			i++
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth == 0:
			b.WriteByte(c)
		}
	}

	return b.String()
}

// joined puts together what a reader takes for one domain though it is written apart: white space around its dots (obs-domain
// of RFC 5322 section 4.4), quotes, brackets, quoted-pairs and characters that can't be seen within.
func joined(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r < ' ' || r == 0x7f || strings.ContainsRune("\"\\<>[]()", r):
			return -1
		}
		return r
	}, shownText(text))

	parts := strings.Split(text, ".")
	for i := range parts {
		if i > 0 {
			parts[i] = strings.TrimLeft(parts[i], " ")
		}
		if i < len(parts)-1 {
			parts[i] = strings.TrimRight(parts[i], " ")
		}
	}

	return strings.Join(parts, ".")
}

// AddressesIn finds the addresses that a person sees in a text such as a display name, at most 16. "boss @ example.org"
// is one, and so is one with invisible characters or wide letters in it.
func AddressesIn(text string) (found []Address) {
	for at := range atSigns(shownText(text)) {
		a := Address{Local: at.local, Domain: at.domain}
		if at.local != "" && at.isAddress() && ValidDomain(at.domain) {
			found = append(found, a)
		}
		if len(found) == 16 {
			break
		}
	}

	return found
}

// hidesAddress says whether a local part holds an address of its own that a reader may show instead of the true one: within
// quotes or encoded.
func hidesAddress(local string) bool {
	shown := encodedword.Decode(local)
	return hasAt(local) || hasAt(shown) || strings.ContainsAny(shown, "<>")
}

func hasAt(text string) bool { return strings.Contains(shownText(text), "@") }

// shownText is a text as the eye takes it: wide forms as plain ones (UAX 15), without what shows nothing. The ideographic
// full stop parts the labels of a domain as the dot does (RFC 3490 section 3.1).
func shownText(text string) string {
	if IsASCII(text) {
		return text
	}

	return strings.Map(func(r rune) rune {
		switch {
		case isInvisible(r):
			return -1
		case r == '\u3002':
			return '.'
		}
		return r
	}, norm.NFKC.String(text))
}
