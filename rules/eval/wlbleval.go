package eval

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"postern/rules/relays"
	"postern/rules/views"
)

func welcomeFunctions() map[string]Func {
	inFrom := func(list string) Func {
		return func(c *Context, _ []string) float64 { return c.anyIn(c.fromAddresses(), list) }
	}
	inTo := func(list string) Func {
		return func(c *Context, _ []string) float64 { return c.anyIn(c.toAddresses(), list) }
	}
	listed := func(name string) Func {
		return func(c *Context, _ []string) float64 { return truth(c.hostsListed()[name]) }
	}
	return map[string]Func{
		"check_from_in_blocklist": inFrom("blocklist_from"), "check_from_in_blacklist": inFrom("blocklist_from"),
		"check_to_in_blocklist": inTo("blocklist_to"), "check_to_in_blacklist": inTo("blocklist_to"),
		"check_to_in_welcomelist": inTo("welcomelist_to"), "check_to_in_whitelist": inTo("welcomelist_to"),
		"check_to_in_more_spam": inTo("more_spam_to"), "check_to_in_all_spam": inTo("all_spam_to"),
		"check_from_in_list": func(c *Context, args []string) float64 { return c.anyIn(c.fromAddresses(), arg(args, 0)) },
		"check_to_in_list":   func(c *Context, args []string) float64 { return c.anyIn(c.toAddresses(), arg(args, 0)) },
		"check_replyto_in_list": func(c *Context, args []string) float64 {
			to := c.text("Reply-To:addr")
			return truth(to != "" && c.Config.Addresses[arg(args, 0)].Holds(to))
		},
		"check_from_in_welcomelist": fromInWelcomelist, "check_from_in_whitelist": fromInWelcomelist,
		"check_forged_in_welcomelist": forgedInWelcomelist, "check_forged_in_whitelist": forgedInWelcomelist,
		"check_from_in_default_welcomelist": fromInDefault, "check_from_in_default_whitelist": fromInDefault,
		"check_forged_in_default_welcomelist": forgedInDefault, "check_forged_in_default_whitelist": forgedInDefault,
		"check_mailfrom_matches_rcvd": mailfromMatchesReceived,
		"check_uri_host_listed":       func(c *Context, args []string) float64 { return truth(c.hostsListed()[arg(args, 0)]) },
		"check_uri_host_in_blocklist": listed("BLOCK"), "check_uri_host_in_blacklist": listed("BLOCK"),
		"check_uri_host_in_welcomelist": listed("WELCOME"), "check_uri_host_in_whitelist": listed("WELCOME"),
	}
}

func (c *Context) anyIn(addresses []string, list string) float64 {
	l := c.Config.Addresses[list]
	for _, a := range addresses {
		if l.Holds(a) {
			return 1
		}
	}
	return 0
}

func unique(all []string) []string {
	var kept []string
	for _, s := range all {
		if !slices.Contains(kept, s) {
			kept = append(kept, s)
		}
	}
	return kept
}

var dots = regexp.MustCompile(`\.{2,}`)

// fromAddresses are all addresses a message may be from.
func (c *Context) fromAddresses() []string {
	return once(c, "from", func() []string {
		if resent := c.Message.Get("Resent-From:first:addr"); len(resent) > 0 {
			return unique(resent)
		}
		var all []string
		for _, name := range []string{"From:addr", "Envelope-Sender:addr", "Resent-Sender:addr", "X-Envelope-From:addr", "EnvelopeFrom:addr"} {
			for _, a := range c.Message.Get(name) {
				if a != "" {
					all = append(all, dots.ReplaceAllString(a, "."))
				}
			}
		}
		return unique(all)
	})
}

var receivedFor = regexp.MustCompile(` for <?(\S+@(\S+?))>?;`)

// toAddresses are all addresses a message may be for.
func (c *Context) toAddresses() []string {
	return once(c, "to", func() []string {
		resent := append(slices.Clone(c.Message.Get("Resent-To:first:addr")), c.Message.Get("Resent-Cc:first:addr")...)
		if len(resent) > 0 {
			return unique(resent)
		}
		var all []string
		received := c.Message.Get("Received")
		for _, line := range received[:min(3, len(received))] {
			if m := receivedFor.FindStringSubmatch(line); m != nil && views.ValidName(strings.ToLower(m[2])) {
				all = append(all, m[1])
			}
		}
		for _, name := range []string{"To", "Apparently-To", "Delivered-To", "Envelope-Recipients", "Apparently-Resent-To", "X-Envelope-To", "Envelope-To", "X-Delivered-To", "X-Original-To", "X-Rcpt-To", "X-Real-To", "Cc"} {
			all = append(all, c.Message.Get(name+":addr")...)
		}
		return unique(all)
	})
}

// atEdge are the relays whose word counts: the last one that is not ours, else all of ours.
func (c *Context) atEdge() []*relays.Relay {
	p := c.Message.Path()
	if len(p.Untrusted) > 0 {
		return p.Untrusted[:1]
	}
	return p.Trusted
}

func mailfromMatchesReceived(c *Context, _ []string) float64 {
	sender := c.text("EnvelopeFrom:addr")
	at := strings.LastIndexByte(sender, '@')
	if at <= 0 || !strings.Contains(strings.Trim(sender[at+1:], "."), ".") {
		return 0
	}
	domain := c.Config.Domains.Trim(sender[at+1:])
	for _, r := range c.atEdge() {
		if r.RDNS != "" && c.Config.Domains.Trim(r.RDNS) == domain {
			return 1
		}
	}
	return 0
}

// welcome says what the lists of senders with their relays say: 1 welcome, -1 such a sender over another relay, 0 nothing.
func (c *Context) welcome(list string, plain bool) int {
	return once(c, "welcome "+list, func() int {
		found := 0
		for _, a := range c.fromAddresses() {
			if plain && c.Config.Addresses["welcomelist_from"].Holds(a) {
				return 1
			}
			switch c.byRelay(list, a) {
			case 1:
				return 1
			case -1:
				found = -1
			}
		}
		return found
	})
}

func (c *Context) byRelay(list, address string) int {
	edge := c.atEdge()
	hosts := c.Config.Received[list].of(address)
	if len(edge) == 0 || len(hosts) == 0 {
		return 0
	}
	for _, h := range hosts {
		for _, r := range edge {
			if relayIs(r, h) {
				return 1
			}
		}
	}
	if c.Config.Addresses["welcomelist_allows_relays"].Holds(address) {
		return 0
	}
	return -1
}

// relayIs says whether a relay is the host, or in the network in brackets, that a list names.
func relayIs(r *relays.Relay, host string) bool {
	inner, ok := strings.CutPrefix(host, "[")
	if !ok {
		name := strings.ToLower(r.RDNS)
		return name == host || strings.HasSuffix(name, "."+host)
	}
	network := strings.Replace(inner, "]", "", 1)
	if p, err := netip.ParsePrefix(network); err == nil {
		a, err := netip.ParseAddr(r.IP)
		return err == nil && p.Contains(a.Unmap())
	}
	if a, err := netip.ParseAddr(network); err == nil {
		b, err := netip.ParseAddr(r.IP)
		return err == nil && a.Unmap() == b.Unmap()
	}
	return strings.HasPrefix(r.IP, strings.TrimRight(network, ".")+".")
}

func fromInWelcomelist(c *Context, _ []string) float64 {
	return truth(c.welcome("welcomelist_from_rcvd", true) > 0)
}

func fromInDefault(c *Context, _ []string) float64 {
	return truth(c.welcome("def_welcomelist_from_rcvd", false) > 0)
}

func forgedInWelcomelist(c *Context, _ []string) float64 {
	return truth(c.welcome("welcomelist_from_rcvd", true) < 0 && c.welcome("def_welcomelist_from_rcvd", false) == 0)
}

func forgedInDefault(c *Context, _ []string) float64 {
	return truth(c.welcome("def_welcomelist_from_rcvd", false) < 0 && c.welcome("welcomelist_from_rcvd", true) == 0)
}

// hostsListed says which lists of hosts hold a host that a link leads to.
func (c *Context) hostsListed() map[string]bool {
	return once(c, "hosts", func() map[string]bool {
		found := map[string]bool{}
		if len(c.Config.Hosts) == 0 {
			return found
		}
		for _, u := range c.Message.Links() {
			if len(u.Raw) >= 7 && strings.EqualFold(u.Raw[:7], "mailto:") {
				continue
			}
			for _, h := range u.Hosts {
				for name, list := range c.Config.Hosts {
					found[name] = found[name] || listHolds(list, h)
				}
			}
		}
		return found
	})
}

// listHolds looks a host up, and then what it is below of.
func listHolds(list map[string]bool, host string) bool {
	if views.IsIP(host) {
		return list[host]
	}
	for host != "" {
		if in, ok := list[host]; ok {
			return in
		}
		_, rest, ok := strings.Cut(host, ".")
		if !ok {
			break
		}
		host = rest
	}
	return false
}
