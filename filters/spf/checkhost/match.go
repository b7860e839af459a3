package checkhost

import (
	"net/netip"
	"strings"

	"postern/internal/mail"
)

// match says whether a mechanism matches the client: RFC 7208 section 5.
func (c *check) match(m mechanism, domain string) (matches bool, err error) {
	switch m.name {
	case "all":
		matches = true
	case "ip4", "ip6":
		matches = m.network.Contains(c.client)
	default:
		return c.matchName(m, domain)
	}
	c.step("%s: %s", m.text, yes(matches))
	return matches, nil
}

func yes(matches bool) string {
	if matches {
		return "matches"
	}
	return "does not match"
}

// matchName does the mechanisms that ask DNS.
func (c *check) matchName(m mechanism, domain string) (matches bool, err error) {
	if err := c.count(m.text); err != nil {
		return false, err
	}
	name := domain
	if m.domain != nil {
		// section 4.8: what expands to no name that DNS could be asked for does not match
		if name, err = c.expandName(m.domain, domain); (err != nil || !wellFormed(name)) && m.name != "include" {
			c.step("%s: %q is not a name: does not match", m.text, name)
			return false, nil
		}
	}
	var found string
	switch m.name {
	case "include":
		return c.include(m, name)
	case "a":
		found, matches, err = c.matchA(m, name)
	case "mx":
		found, matches, err = c.matchMX(m, name)
	case "exists":
		found, matches, err = c.matchExists(name)
	case "ptr":
		names := c.clientNames()
		found = strings.Join(names, " ")
		matches = within(names, name) != ""
	}
	if err != nil {
		c.step("%s: %v", m.text, err)
		return false, err
	}
	c.step("%s: look-up %d: %s: %s: %s", m.text, c.lookups, name, found, yes(matches))
	return matches, nil
}

// include asks another record, which matches if that says pass: section 5.2.
func (c *check) include(m mechanism, name string) (bool, error) {
	if !wellFormed(name) {
		return false, permError("%s includes no domain", m.text)
	}
	c.step("%s: look-up %d: %s", m.text, c.lookups, name)
	c.depth++
	v := c.host(name)
	c.depth--
	c.step("%s: %s there: %s", m.text, v.result, yes(v.result == mail.AuthPass))
	switch v.result {
	case mail.AuthTempError, mail.AuthPermError:
		return false, &problem{v.result, v.why}
	case mail.AuthNone:
		return false, permError("%s: %s has no SPF record", m.text, name)
	default: // pass matches; fail, softfail and neutral do not
		return v.result == mail.AuthPass, nil
	}
}

// matchA looks for the client among the addresses of a name: section 5.3.
func (c *check) matchA(m mechanism, name string) (found string, matches bool, err error) {
	addresses, void, err := c.addresses(name)
	if err != nil {
		return "", false, err
	}
	if void {
		return "nothing", false, c.void(name)
	}
	return list(addresses), c.among(addresses, m), nil
}

// matchMX looks for the client among the addresses of the mail exchangers: section 5.4. Several that have no address
// count as one look-up that found nothing, because the limit is one of terms.
func (c *check) matchMX(m mechanism, name string) (found string, matches bool, err error) {
	hosts, err := c.dns.LookupMX(c.ctx, name)
	void, err := fromDNS(name, err)
	switch {
	case err != nil:
		return "", false, err
	case void:
		return "nothing", false, c.void(name)
	case len(hosts) > maxHosts:
		// section 4.6.4: more than 10 are a permerror, whether or not one of the first would match
		return "", false, permError("%s has more than %d mail exchangers", name, maxHosts)
	}
	var names []string
	empty := ""
	for _, h := range hosts {
		host := strings.TrimSuffix(h.Host, ".")
		if host == "" { // RFC 7505: no mail there
			continue
		}
		addresses, void, err := c.addresses(host)
		if err != nil {
			return "", false, err
		}
		if void {
			empty = host
		}
		names = append(names, host+" "+list(addresses))
		if c.among(addresses, m) {
			return strings.Join(names, ", "), true, nil
		}
	}
	if empty != "" {
		err = c.void(empty)
	}
	return strings.Join(names, ", "), false, err
}

// matchExists wants any A record, whatever the client's family: section 5.7.
func (c *check) matchExists(name string) (found string, matches bool, err error) {
	addresses, err := c.dns.LookupA(c.ctx, name)
	void, err := fromDNS(name, err)
	if err == nil && void {
		return "nothing", false, c.void(name)
	}
	return list(addresses), len(addresses) > 0, err
}

// addresses are those of a name in the client's family: section 5.
func (c *check) addresses(name string) (found []netip.Addr, void bool, err error) {
	if c.client.Is4() {
		found, err = c.dns.LookupA(c.ctx, name)
	} else {
		found, err = c.dns.LookupAAAA(c.ctx, name)
	}
	void, err = fromDNS(name, err)
	return found, void, err
}

func (c *check) among(addresses []netip.Addr, m mechanism) bool {
	bits := m.bits6
	if c.client.Is4() {
		bits = m.bits4
	}
	for _, a := range addresses {
		if netip.PrefixFrom(a, bits).Contains(c.client) {
			return true
		}
	}
	return false
}

func list(addresses []netip.Addr) string {
	var b strings.Builder
	for i, a := range addresses {
		if i == maxHosts {
			b.WriteString(" ...")
			break
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(a.String())
	}
	if b.Len() == 0 {
		return "nothing"
	}
	return b.String()
}

// clientNames are the names that the client's address has and that have the client's address: section 5.5. A client
// without names costs the domain none of its void look-ups: whoever sends chooses that, not who published the record.
func (c *check) clientNames() []string {
	if c.namesKnown {
		return c.names
	}
	c.namesKnown = true
	claimed, err := c.dns.LookupAddr(c.ctx, c.client.String())
	if err != nil {
		c.step("%s PTR: %v", c.client, err)
		return nil
	}
	for i, name := range claimed {
		// section 4.6.4: of more than 10 names the first 10 count
		if i == maxHosts {
			break
		}
		addresses, _, err := c.addresses(name)
		if err != nil { // section 5.5: a name that gives no answer is passed over
			continue
		}
		for _, a := range addresses {
			if a == c.client {
				c.names = append(c.names, strings.TrimSuffix(name, "."))
				break
			}
		}
	}
	c.step("%s PTR: %d names, %d of them true", c.client, len(claimed), len(c.names))
	return c.names
}

// within gives the name that is a domain itself, else one below it.
func within(names []string, domain string) string {
	below := ""
	for _, name := range names {
		if strings.EqualFold(name, domain) {
			return name
		}
		rest, ok := strings.CutSuffix(strings.ToLower(name), strings.ToLower(domain))
		if below == "" && ok && strings.HasSuffix(rest, ".") {
			below = name
		}
	}
	return below
}

// clientName is the macro p: section 7.3.
func (c *check) clientName(domain string) string {
	names := c.clientNames()
	if name := within(names, domain); name != "" {
		return name
	}
	if len(names) > 0 {
		return names[0]
	}
	return "unknown"
}
