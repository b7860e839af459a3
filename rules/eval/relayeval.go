package eval

import (
	"net/netip"
	"regexp"
	"strings"

	"postern/rules/relays"
)

func relayFunctions() map[string]Func {
	return map[string]Func{
		"check_for_numeric_helo": checkForNumericHelo, "check_for_illegal_ip": never, "check_all_trusted": checkAllTrusted, "check_no_relays": checkNoRelays,
		"check_relays_unparseable": checkRelaysUnparseable, "check_for_sender_no_reverse": checkForSenderNoReverse, "helo_ip_mismatch": heloIPMismatch,
		"check_for_from_domain_in_received_headers": checkForFromDomainInReceived, "check_for_forged_received_trail": checkForForgedReceivedTrail,
		"check_for_forged_received_ip_helo": checkForForgedReceivedIPHelo, "check_for_no_rdns_dotcom_helo": checkForNoRDNSDotcomHelo,
	}
}

// never is for functions that SpamAssassin keeps for old rules, and that find nothing any more.
func never(*Context, []string) float64 { return 0 }

var numericHelo = regexp.MustCompile(`(?i)\bhelo=(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})(?:[\x00-\x20,;\[()<>]|$)`)

func checkForNumericHelo(c *Context, _ []string) float64 {
	m := numericHelo.FindStringSubmatch(relays.Join(c.Message.Path().Untrusted))
	return truth(m != nil && quad(m[1]) && !relays.Private(m[1]))
}

// quad says whether a text is an IPv4 address.
func quad(text string) bool {
	a, err := netip.ParseAddr(text)
	return err == nil && a.Is4()
}

func checkAllTrusted(c *Context, _ []string) float64 {
	p := c.Message.Path()
	return truth(len(p.Trusted) > 0 && len(p.Untrusted) == 0 && p.Unparseable == 0)
}

func checkNoRelays(c *Context, _ []string) float64 {
	p := c.Message.Path()
	return truth(len(p.Trusted) == 0 && len(p.Untrusted) == 0 && p.Unparseable == 0)
}

func checkRelaysUnparseable(c *Context, _ []string) float64 {
	return truth(c.Message.Path().Unparseable > 0)
}

func checkForSenderNoReverse(c *Context, _ []string) float64 {
	all := c.Message.Path().Untrusted
	if len(all) == 0 {
		return 0
	}
	r := all[len(all)-1]
	return truth(strings.Contains(r.RDNS, ".") && !r.Private)
}

func heloIPMismatch(c *Context, _ []string) float64 {
	for _, r := range c.Message.Path().Untrusted {
		if !publicQuad(r.Helo) || !publicQuad(r.IP) || r.Helo == r.IP {
			continue
		}
		if !strings.HasPrefix(r.IP, r.Helo[:strings.LastIndexByte(r.Helo, '.')+1]) {
			return 1
		}
	}
	return 0
}

func publicQuad(address string) bool { return quad(address) && !relays.Private(address) }

func checkForFromDomainInReceived(c *Context, args []string) float64 {
	domain, wanted := arg(args, 0), arg(args, 1) == "true"
	re := c.pattern(`(?i)\b` + regexp.QuoteMeta(domain))
	if !c.find(re, c.text("From:addr")) {
		return 0
	}
	p := c.Message.Path()
	text := relays.Join(p.Trusted) + "\n" + relays.Join(p.Untrusted)
	found := c.find(c.pattern(` rdns=\S*\b`+domain+` [^\]]*by=\S*\b`+domain+` `), text)
	return truth(found == wanted)
}

var dotcomHelo = regexp.MustCompile(`(?i)(?:\.|^)(?:lycos\.com|lycos\.co\.uk|hotmail\.com|localhost\.com|excite\.com|caramail\.com|cs\.com|aol\.com|msn\.com|yahoo\.com|drizzle\.com)$`)

func checkForNoRDNSDotcomHelo(c *Context, _ []string) float64 {
	found := false
	for _, r := range c.Message.Path().Untrusted {
		if !r.Private { // the last one counts
			found = r.NoRDNS && dotcomHelo.MatchString(r.Helo)
		}
	}
	return truth(found)
}

// forgedTrail counts what does not fit in the way of a message.
type forgedTrail struct{ from, helo int }

// registered gives the part of a host name that somebody registered, by its look.
func registered(host string) string {
	if !strings.ContainsFunc(host, func(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' }) {
		return host
	}
	parts := strings.Split(host, ".")
	last := parts[len(parts)-1]
	switch {
	case len(parts) > 1 && (len(last) >= 3 || last == "ie" || last == "fr" || last == "de"):
		return strings.Join(parts[len(parts)-2:], ".")
	case len(parts) > 2:
		return strings.Join(parts[len(parts)-3:], ".")
	}
	return host
}

var dottedName = regexp.MustCompile(`^\w+(?:[\w.-]+\.)+\w+$`)

func (c *Context) forged() forgedTrail {
	return once(c, "forged", func() (t forgedTrail) {
		all := c.Message.Path().Untrusted
		from := make([]string, len(all))
		for i, r := range all {
			from[i] = registered(strings.ToLower(r.RDNS))
		}
		for i, r := range all {
			by := registered(strings.ToLower(r.By))
			if !dottedName.MatchString(by) {
				continue
			}
			if (from[i] == "localhost" || from[i] == "localhost.localdomain") && r.IP == "127.0.0.1" {
				from[i] = ""
			}
			if strayHelo(registered(strings.ToLower(r.Helo)), r.IP) {
				t.helo++
			}
			if i > 0 && strayBy(by, from[i-1]) {
				t.from++
			}
		}
		return t
	})
}

// strayHelo says whether a HELO is an address of another network than the client's.
func strayHelo(helo, ip string) bool {
	return quad(helo) && quad(ip) && classB(helo) != classB(ip) && !relays.Private(helo)
}

// strayBy says whether a relay has another domain than the one that the next relay saw.
func strayBy(by, from string) bool {
	return dottedName.MatchString(from) && by != from && !(by == "msn.com" && from == "hotmail.com")
}

func classB(ip string) string {
	parts := strings.SplitN(ip, ".", 3)
	return parts[0] + "." + parts[1]
}

func checkForForgedReceivedTrail(c *Context, _ []string) float64 { return truth(c.forged().from > 1) }

func checkForForgedReceivedIPHelo(c *Context, _ []string) float64 { return truth(c.forged().helo > 0) }
