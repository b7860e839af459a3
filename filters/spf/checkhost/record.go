package checkhost

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// record is an SPF record that has been read: RFC 7208 section 4.6.1.
type record struct {
	mechanisms []mechanism
	// redirect and exp are nil where the record has none.
	redirect, exp macroString
	// all says that there is an "all" somewhere, which makes a redirect void: section 6.1.
	all bool
}

// mechanism is one directive.
type mechanism struct {
	qualifier byte
	name      string
	// text is the term as it stands in the record.
	text string
	// domain is nil where the mechanism speaks of the current domain.
	domain macroString
	// network is that of ip4 and ip6; bits4 and bits6 those of a and mx.
	network      netip.Prefix
	bits4, bits6 int
}

// terms gives what stands behind the version of an SPF record; ok is false for any other text. RFC 7208 section 4.5:
// the version ends at a space or at the end of the record, section 12 has it in any case.
func terms(text string) (rest string, ok bool) {
	version, rest, _ := strings.Cut(text, " ")
	return rest, strings.EqualFold(version, "v=spf1")
}

// parseRecord holds the terms of a record against the grammar of RFC 7208 section 12. Section 4.6: an error anywhere
// is found before anything is evaluated.
func parseRecord(text string) (record, error) {
	var r record
	for i := range len(text) {
		if text[i] < ' ' || text[i] >= 0x7f {
			return r, errors.New("characters that are not printable ASCII")
		}
	}
	// section 4.6.1: terms are separated by spaces and by nothing else
	for term := range strings.SplitSeq(text, " ") {
		if term == "" {
			continue
		}
		err := r.addModifier(term)
		if errors.Is(err, errNoModifier) {
			err = r.addDirective(term)
		}
		if err != nil {
			return r, fmt.Errorf("can't read %q: %w", term, err)
		}
	}
	return r, nil
}

var (
	errNoModifier = errors.New("no modifier")
	errTwice      = errors.New("it may stand there once")
	errMechanism  = errors.New("no such mechanism")
	errDomain     = errors.New("not a domain")
	errNetwork    = errors.New("not an address or a network")
	errLength     = errors.New("not a length of a network prefix")
)

// addModifier reads name=value: section 6.
func (r *record) addModifier(term string) error {
	name, value, ok := strings.Cut(term, "=")
	if !ok || !isModifierName(name) {
		return errNoModifier
	}
	var target *macroString
	switch strings.ToLower(name) {
	case "redirect":
		target = &r.redirect
	case "exp":
		target = &r.exp
	default:
		// section 6: what is not known is passed over, but must be a macro-string
		_, err := parseMacros(value, false)
		return err
	}
	// section 6: redirect and exp must not appear more than once each
	if *target != nil {
		return errTwice
	}
	var err error
	*target, err = parseDomainSpec(value)
	return err
}

func isModifierName(name string) bool {
	for i := range len(name) {
		c := name[i]
		later := isDigit(c) || c == '-' || c == '_' || c == '.' // may stand behind a letter
		if !isAlpha(c) && (i == 0 || !later) {
			return false
		}
	}
	return name != ""
}

func (r *record) addDirective(term string) error {
	m := mechanism{qualifier: '+', text: term, bits4: 32, bits6: 128}
	if strings.IndexByte("+-?~", term[0]) >= 0 {
		m.qualifier, term = term[0], term[1:]
	}
	end := strings.IndexAny(term, ":/")
	if end < 0 {
		end = len(term)
	}
	m.name = strings.ToLower(term[:end])
	if err := m.readArguments(term[end:]); err != nil {
		return err
	}
	r.all = r.all || m.name == "all"
	r.mechanisms = append(r.mechanisms, m)
	return nil
}

// readArguments reads what stands behind the name of a mechanism: sections 5.1 to 5.7.
func (m *mechanism) readArguments(rest string) (err error) {
	switch m.name {
	case "all":
		if rest != "" {
			return errMechanism
		}
		return nil
	case "include", "exists":
	case "ptr":
		if rest == "" {
			return nil
		}
	case "a", "mx":
		if rest, err = m.cutLengths(rest); err != nil || rest == "" {
			return err
		}
	case "ip4", "ip6":
		return m.readNetwork(rest)
	default:
		return errMechanism
	}
	domain, found := strings.CutPrefix(rest, ":")
	if !found {
		return errDomain
	}
	m.domain, err = parseDomainSpec(domain)
	return err
}

// readNetwork reads what stands behind ip4 and ip6: section 5.6.
func (m *mechanism) readNetwork(rest string) (err error) {
	network, found := strings.CutPrefix(rest, ":")
	if !found {
		return errNetwork
	}
	m.network, err = parseNetwork(network, m.name == "ip4")
	return err
}

// cutLengths takes dual-cidr-length from the end: [ "/" ip4-cidr-length ] [ "//" ip6-cidr-length ], section 5.6. A
// domain may hold slashes of its own.
func (m *mechanism) cutLengths(text string) (rest string, err error) {
	if i := strings.LastIndex(text, "//"); i >= 0 {
		if m.bits6, err = parseLength(text[i+2:], 128); err != nil {
			return "", err
		}
		text = text[:i]
	}
	if i := strings.LastIndexByte(text, '/'); i >= 0 && allDigits(text[i+1:]) {
		if m.bits4, err = parseLength(text[i+1:], 32); err != nil {
			return "", err
		}
		text = text[:i]
	}
	return text, nil
}

// parseLength wants a number without leading zeros.
func parseLength(text string, limit int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || !allDigits(text) {
		return 0, errLength
	}
	if padded := text != "0" && text[0] == '0'; padded || n > limit {
		return 0, errLength
	}
	return n, nil
}

func allDigits(text string) bool {
	for i := range len(text) {
		if !isDigit(text[i]) {
			return false
		}
	}
	return text != ""
}

func parseNetwork(text string, four bool) (netip.Prefix, error) {
	address, length, has := strings.Cut(text, "/")
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Is4() != four || ip.Zone() != "" {
		return netip.Prefix{}, errNetwork
	}
	bits := ip.BitLen()
	if has {
		if bits, err = parseLength(length, bits); err != nil {
			return netip.Prefix{}, err
		}
	}
	return netip.PrefixFrom(ip, bits), nil
}

func isAlpha(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
