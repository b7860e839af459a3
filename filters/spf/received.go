package spf

import (
	"errors"
	"net/netip"
	"strings"

	"postern/internal/mail"
)

// maxRelays is how many relays of ours may stand one behind the other.
const maxRelays = 10

var (
	errNoReceived = errors.New("the relay put no Received field on top")
	errReceived   = errors.New("the relay's Received field does not name its client in a form that can be read")
)

// before gives the client in front of our relays. Each field is believed only because the relay that wrote it handed the
// message to the next one we trust: the first field that names a stranger ends it.
func (f filter) before(relay netip.Addr, received []mail.Field) (visitor, error) {
	for i, field := range received {
		if i == maxRelays {
			break
		}
		v, err := parseReceived(field.Value())
		if err != nil {
			return visitor{}, err
		}
		if !f.settings.ExternalRelays.Contains(v.client) {
			v.relay = relay
			return v, nil
		}
	}
	return visitor{}, errNoReceived
}

// parseReceived reads the From-domain and TCP-info of a Received field: RFC 5321 section 4.4,
//
//	from NAME (HOST [ADDRESS]) by ...
//	from NAME ([ADDRESS]) by ...
//	from [ADDRESS] (HOST [ADDRESS]) by ...
//	from NAME (ADDRESS) by ...         as Exchange has it
//
// The address must be in the one comment that follows the name, at
// its end: what stands in the name or before it, the client wrote itself.
func parseReceived(value string) (visitor, error) {
	rest, ok := cutWord(value, "from")
	if !ok {
		return visitor{}, errReceived
	}
	name, rest, ok := strings.Cut(rest, " ")
	rest = strings.TrimLeft(rest, " \t")
	if !ok || strings.ContainsAny(name, "()\"\\") || !strings.HasPrefix(rest, "(") {
		return visitor{}, errReceived
	}
	info, rest, ok := strings.Cut(rest[1:], ")")
	// sendmail's word for a name that its address does not have
	if plain, forged := strings.CutSuffix(info, " (may be forged"); forged && strings.HasPrefix(rest, ")") {
		info, rest = plain, rest[1:]
	}
	// a comment within the comment, or a quoted pair, and two readers could see two addresses
	if !ok || strings.ContainsAny(info, "(\\\"") {
		return visitor{}, errReceived
	}
	rest = strings.TrimLeft(rest, " \t")
	for strings.HasPrefix(rest, "(") { // such as (using TLSv1.3 with cipher ...)
		rest = strings.TrimLeft(rest[commentEnd(rest):], " \t")
	}
	if _, by := cutWord(rest, "by"); !by {
		return visitor{}, errReceived
	}
	client, err := addressIn(strings.TrimSpace(info))
	if err != nil {
		return visitor{}, err
	}
	return visitor{client: client, helo: name}, nil
}

// commentEnd is where the comment that text begins with ends: RFC 5322 section 3.2.2.
func commentEnd(text string) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(text)
}

// cutWord takes a word and the white space behind it.
func cutWord(text, word string) (string, bool) {
	if len(text) <= len(word) || !strings.EqualFold(text[:len(word)], word) || text[len(word)] != ' ' && text[len(word)] != '\t' {
		return text, false
	}
	return strings.TrimLeft(text[len(word):], " \t"), true
}

// addressIn reads HOST [ADDRESS], [ADDRESS], [IPv6:ADDRESS] or a bare address.
func addressIn(info string) (netip.Addr, error) {
	if inner, ok := strings.CutSuffix(info, "]"); ok {
		open := strings.LastIndexByte(inner, '[')
		if open < 0 || strings.Count(info, "[") != 1 || strings.Count(info, "]") != 1 {
			return netip.Addr{}, errReceived
		}
		info = inner[open+1:]
		if len(info) > 5 && strings.EqualFold(info[:5], "IPv6:") {
			info = info[5:]
		}
	}
	ip, err := netip.ParseAddr(info)
	if err != nil || ip.Zone() != "" {
		return netip.Addr{}, errReceived
	}
	return ip.Unmap(), nil
}
