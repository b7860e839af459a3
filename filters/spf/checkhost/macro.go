package checkhost

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"postern/internal/mail"
)

// macroString is a text with macros in it: RFC 7208 section 7.1. A string that was read is never nil.
type macroString []part

// part is literal text, or a macro if letter is set.
type part struct {
	literal string
	// letter is in lower case; escape is set if it stood there in upper case: section 7.3, URL escaping.
	letter byte
	escape bool
	// keep is how many parts stay, from the right, 0 for all; reverse turns their order first.
	keep       int
	reverse    bool
	delimiters string
}

var (
	errMacro    = errors.New("not a macro")
	errNonASCII = errors.New("the local part is not ASCII")
)

// parseMacros reads a macro-string. The letters c, r and t are for explanations only: section 7.2.
func parseMacros(text string, explanation bool) (macroString, error) {
	m := macroString{}
	for text != "" {
		i := strings.IndexByte(text, '%')
		if i != 0 {
			if i < 0 {
				i = len(text)
			}
			m = append(m, part{literal: text[:i]})
			text = text[i:]
			continue
		}
		if len(text) < 2 {
			return nil, errMacro
		}
		p, rest, err := parseEscape(text, explanation)
		if err != nil {
			return nil, err
		}
		m, text = append(m, p), rest
	}
	return m, nil
}

// parseEscape reads the percent sign at the front and what it makes of the characters behind it.
func parseEscape(text string, explanation bool) (p part, rest string, err error) {
	switch text[1] {
	case '%':
		return part{literal: "%", letter: '%'}, text[2:], nil
	case '_':
		return part{literal: " ", letter: '%'}, text[2:], nil
	case '-':
		return part{literal: "%20", letter: '%'}, text[2:], nil
	case '{':
		inner, rest, ok := strings.Cut(text[2:], "}")
		if !ok {
			return part{}, "", errMacro
		}
		p, err := parseMacro(inner, explanation)
		return p, rest, err
	}
	return part{}, "", errMacro
}

// parseMacro reads what stands between the braces: a letter, transformers, delimiters (RFC 7208 section 7.1).
func parseMacro(inner string, explanation bool) (part, error) {
	p := part{delimiters: "."}
	letters := "slodiphv"
	if explanation {
		letters += "crt"
	}
	if inner == "" || !isAlpha(inner[0]) || strings.IndexByte(letters, inner[0]|0x20) < 0 {
		return p, errMacro
	}
	p.escape = inner[0] >= 'A' && inner[0] <= 'Z'
	p.letter = inner[0] | 0x20
	rest, err := p.readKeep(inner[1:])
	if err != nil {
		return p, err
	}
	if rest != "" && rest[0]|0x20 == 'r' {
		p.reverse, rest = true, rest[1:]
	}
	if strings.Trim(rest, ".-+,/_=") != "" {
		return p, errMacro
	}
	p.delimiters = cmp.Or(rest, p.delimiters)

	return p, nil
}

// readKeep reads how many parts are kept, if that is said, and gives what stands behind it.
func (p *part) readKeep(text string) (rest string, err error) {
	rest = strings.TrimLeft(text, "0123456789")
	keep, err := strconv.Atoi(text[:len(text)-len(rest)])
	switch {
	// section 7.3: the number must not be zero; more parts than a name can have mean all of them
	case err != nil:
		return rest, nil
	case keep == 0:
		return "", errMacro
	}
	p.keep = keep
	return rest, nil
}

// parseDomainSpec reads a macro-string that ends in a macro or in a top label: section 7.1.
func parseDomainSpec(text string) (macroString, error) {
	m, err := parseMacros(text, false)
	switch {
	case err != nil:
		return nil, err
	case len(m) == 0:
		return nil, errDomain
	case m[len(m)-1].letter != 0:
		return m, nil
	}
	end := strings.TrimSuffix(m[len(m)-1].literal, ".")
	dot := strings.LastIndexByte(end, '.')
	if dot < 0 || !isTopLabel(end[dot+1:]) {
		return nil, errDomain
	}
	return m, nil
}

// isTopLabel wants letters, digits and inner hyphens, but not digits alone.
func isTopLabel(label string) bool {
	notNumeric := false
	for i := range len(label) {
		c := label[i]
		switch {
		case isAlpha(c), c == '-' && i > 0 && i < len(label)-1:
			notNumeric = true
		case isDigit(c):
		default:
			return false
		}
	}
	return notNumeric
}

// maxName is the longest name DNS can be asked for: section 7.3.
const maxName = 253

// expandName expands a domain-spec into a name, shortened from the left label by label where it is too long. It works
// from the right and stops when no more can count, so that no record makes it do more.
func (c *check) expandName(m macroString, domain string) (string, error) {
	name := ""
	for _, p := range slices.Backward(m) {
		value, err := c.value(p, domain)
		if err != nil {
			return "", err
		}
		if name = value + name; len(name) > maxName+1 {
			break
		}
	}
	name = strings.TrimSuffix(name, ".")
	if len(name) > maxName {
		// section 7.3: whole labels go until it fits
		if dot := strings.IndexByte(name[len(name)-maxName-1:], '.'); dot >= 0 {
			name = name[len(name)-maxName+dot:]
		}
	}
	return name, nil
}

// maxExplanation bounds the text that exp= gives.
const maxExplanation = 500

// expandText expands an explanation: section 6.2. What comes out is one line of printable ASCII.
func (c *check) expandText(m macroString, domain string) (string, error) {
	var b strings.Builder
	for _, p := range m {
		if b.Len() >= maxExplanation {
			break
		}
		value, err := c.value(p, domain)
		if err != nil {
			return "", err
		}
		for i := 0; i < len(value) && b.Len() < maxExplanation; i++ {
			if value[i] < ' ' || value[i] >= 0x7f {
				b.WriteByte('?')
			} else {
				b.WriteByte(value[i])
			}
		}
	}
	return b.String(), nil
}

// value is what stands in the place of one part.
func (c *check) value(p part, domain string) (string, error) {
	if p.letter == 0 || p.letter == '%' {
		return p.literal, nil
	}
	text := c.letter(p.letter, domain)
	// RFC 8616 section 4: with a local part that is not ASCII a term that uses it does not match
	if (p.letter == 's' || p.letter == 'l') && !mail.IsASCII(text) {
		return "", errNonASCII
	}
	if p.keep > 0 || p.reverse || p.delimiters != "." {
		text = p.transform(text)
	}
	if p.escape {
		text = urlEscape(text)
	}
	return text, nil
}

// transform reverses the parts of a value and keeps the last ones, as the macro has it: section 7.1.
func (p part) transform(text string) string {
	parts := splitAny(text, p.delimiters)
	if p.reverse {
		slices.Reverse(parts)
	}
	if p.keep > 0 && p.keep < len(parts) {
		parts = parts[len(parts)-p.keep:]
	}
	return strings.Join(parts, ".")
}

// splitAny cuts at each of the delimiters.
func splitAny(text, delimiters string) []string {
	var parts []string
	for {
		i := strings.IndexAny(text, delimiters)
		if i < 0 {
			return append(parts, text)
		}
		parts, text = append(parts, text[:i]), text[i+1:]
	}
}

// letter is the value of a macro letter: section 7.2.
func (c *check) letter(letter byte, domain string) string {
	switch letter {
	case 's':
		return c.local + "@" + c.senderDomain
	case 'l':
		return c.local
	case 'o':
		return c.senderDomain
	case 'd':
		return domain
	case 'i':
		return dotted(c.client)
	case 'p':
		return c.clientName(domain)
	case 'v':
		if c.client.Is4() {
			return "in-addr"
		}
		return "ip6"
	case 'h':
		return c.query.Helo
	}
	return c.explanationLetter(letter)
}

// explanationLetter is the value of a letter that only explanations have.
func (c *check) explanationLetter(letter byte) string {
	switch letter {
	case 'c':
		return c.client.String()
	case 'r':
		return c.query.Receiver
	case 't':
		return strconv.FormatInt(c.query.Now.Unix(), 10)
	}
	return ""
}

// dotted is an address as the macro i has it: for IPv6 nibbles with dots between.
func dotted(ip netip.Addr) string {
	if ip.Is4() {
		return ip.String()
	}
	b := make([]byte, 0, 63)
	for i, octet := range ip.As16() {
		if i > 0 {
			b = append(b, '.')
		}
		b = fmt.Appendf(b, "%X.%X", octet>>4, octet&15)
	}
	return string(b)
}

// urlEscape leaves the unreserved characters of RFC 3986 section 2.3 alone.
func urlEscape(text string) string {
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		if isAlpha(c) || isDigit(c) || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
