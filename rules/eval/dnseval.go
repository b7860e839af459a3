package eval

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"postern/rules/perlre"
	"postern/rules/relays"
	"postern/rules/views"
)

func dnsFunctions() map[string]Func {
	return map[string]Func{
		"check_rbl": rblOf(false), "check_rbl_txt": rblOf(true), "check_rbl_sub": rblSub, "check_rbl_accreditor": rblAccreditor,
		"check_rbl_from_host":   func(c *Context, args []string) float64 { return c.namesListed(c.hostsOf(c.fromAddresses()), args) },
		"check_rbl_from_domain": func(c *Context, args []string) float64 { return c.namesListed(c.domainsOf(c.fromAddresses()), args) },
		"check_rbl_envfrom": func(c *Context, args []string) float64 {
			return c.namesListed(c.hostsOf(c.Message.Get("EnvelopeFrom:addr")), args)
		},
		"check_rbl_headers": rblHeaders, "check_rbl_rcvd": rblReceived, "check_dns_sender": senderDead,
		"check_bayes": never, // it asks a classifier of SpamAssassin's own

	}
}

// Subtest says which answers of a list count: any, an exact one, a mask of bits, a range, or what an expression matches.
type Subtest struct {
	exact     string
	mask      uint32
	low, high uint32
	ranged    bool
	re        *perlre.Regexp
}

// ParseSubtest reads a subtest: "" for any answer, 127.0.0.2, 16, 0x10, 127.0.0.2-127.0.0.9, or a regular expression as
// compile reads it.
func ParseSubtest(text string, compile func(string) (*perlre.Regexp, error)) (s Subtest, err error) {
	text = strings.Trim(text, `"'`)
	if low, high, ok := strings.Cut(text, "-"); ok {
		var ok1, ok2 bool
		s.low, ok1 = answerNumber(low)
		s.high, ok2 = answerNumber(high)
		if s.ranged = ok1 && ok2; s.ranged {
			return s, nil
		}
	}
	switch n, ok := answerNumber(text); {
	case text == "":
	case ok && strings.Contains(text, "."):
		s.exact = text
	case ok:
		s.mask = n
	default:
		expr := text
		if !strings.HasPrefix(expr, "/") && !strings.HasPrefix(expr, "m") {
			expr = "/" + strings.ReplaceAll(expr, "/", `\/`) + "/"
		}
		s.re, err = compile(expr)
	}
	return s, err
}

func answerNumber(text string) (uint32, bool) {
	if a, err := netip.ParseAddr(text); err == nil && a.Is4() {
		b := a.As4()
		return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]), true
	}
	n, err := strconv.ParseUint(text, 0, 32)
	return uint32(n), err == nil
}

// Any says whether one of the answers counts.
func (s Subtest) Any(answers []string) bool {
	for _, a := range answers {
		if s.holds(a) {
			return true
		}
	}
	return false
}

func (s Subtest) holds(answer string) bool {
	n, isAddress := answerNumber(answer)
	switch {
	case s.re != nil:
		b := perlre.NewBudget(100_000)
		_, ok := s.re.Find(answer, 0, b)
		return ok
	case s.exact != "":
		return answer == s.exact
	case s.ranged:
		return isAddress && n >= s.low && n <= s.high
	case s.mask != 0:
		return isAddress && n>>24 == 127 && n&s.mask&0xffffff != 0
	}
	return true
}

// reverse writes an address for a list.
func reverse(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	return views.ReverseIP(a)
}

// relayIPs are the addresses of relays that a set of a rule means, by the ending of its name.
func (c *Context) relayIPs(set string) []string {
	p := c.Message.Path()
	list := func(all []*relays.Relay) (ips []string) {
		for _, r := range all {
			if r.IP != "" && !r.Private && !slices.Contains(ips, r.IP) {
				ips = append(ips, r.IP)
			}
		}
		return ips
	}
	ips := list(p.Untrusted)
	switch {
	case strings.HasSuffix(set, "-lastexternal"):
		ips = list(p.External)
		return ips[:min(1, len(ips))]
	case strings.HasSuffix(set, "-notfirsthop"):
		if ips = list(p.External); len(ips) > 1 {
			ips = ips[:len(ips)-1]
		}
	case strings.HasSuffix(set, "-firsttrusted"):
		return ips[:min(1, len(ips))]
	case strings.HasSuffix(set, "-untrusted"):
		ips = ips[min(1, len(ips)):]
	default:
		slices.Reverse(ips)
	}
	return ips[:min(int(c.Config.number("num_check_received", 9)), len(ips))]
}

// answers are what a list says of the relays of a set. The rules that part its answers ask by the set's name.
func (c *Context) answers(set, zone string, text bool) []string {
	if c.Lists == nil {
		return nil
	}
	return once(c, fmt.Sprint("rbl ", set, zone, text), func() (all []string) {
		for _, ip := range c.relayIPs(set) {
			if text {
				all = append(all, c.Lists.Texts(reverse(ip), zone)...)
			} else {
				all = append(all, c.Lists.Listed(reverse(ip), zone)...)
			}
		}
		return all
	})
}

// setZones says which list a set is asked at, and whether for its texts.
type setZone struct {
	zone string
	text bool
}

func zoneOf(args []string) string { return strings.TrimRight(arg(args, 1), ".") }

func rblOf(text bool) Func {
	return func(c *Context, args []string) float64 {
		answers := c.answers(arg(args, 0), zoneOf(args), text)
		test, err := ParseSubtest(arg(args, 2), c.compileDelimited)
		return truth(err == nil && test.Any(answers))
	}
}

// compileDelimited compiles /expr/.
func (c *Context) compileDelimited(text string) (*perlre.Regexp, error) {
	re := c.pattern(strings.TrimSuffix(strings.TrimPrefix(text, "/"), "/"))
	if re == nil {
		return nil, fmt.Errorf("%s can't be compiled", text)
	}
	return re, nil
}

// rblSub tests the answers that another rule got for its set.
func rblSub(c *Context, args []string) float64 {
	set := arg(args, 0)
	zone, ok := c.Config.SetZones[set]
	if !ok {
		return 0
	}
	test, err := ParseSubtest(arg(args, 1), c.compileDelimited)
	return truth(err == nil && test.Any(c.answers(set, zone.zone, zone.text)))
}

// NoteSet remembers the list a set is asked at.
func (c *Config) NoteSet(function string, args []string) {
	switch function {
	case "check_rbl", "check_rbl_txt", "check_rbl_accreditor":
		if c.SetZones == nil {
			c.SetZones = map[string]setZone{}
		}
		c.SetZones[arg(args, 0)] = setZone{zoneOf(args), function == "check_rbl_txt"}
	}
}

func rblAccreditor(c *Context, args []string) float64 {
	who := strings.ToLower(arg(args, 3))
	for _, f := range strings.Split(strings.ToLower(c.text("Accreditor")), ",") {
		if w := strings.Fields(f); len(w) > 0 && w[0] == who {
			return rblOf(false)(c, args[:min(3, len(args))])
		}
	}
	return 0
}

func (c *Context) hostsOf(addresses []string) (hosts []string) {
	for _, a := range addresses {
		if _, host, ok := strings.Cut(a, "@"); ok && strings.Contains(host, ".") {
			hosts = append(hosts, strings.ToLower(strings.Trim(host, ".")))
		}
	}
	return unique(hosts)
}

func (c *Context) domainsOf(addresses []string) (domains []string) {
	for _, h := range c.hostsOf(addresses) {
		domains = append(domains, c.Config.Domains.Trim(h))
	}
	return unique(domains)
}

// namesListed looks names up.
func (c *Context) namesListed(names []string, args []string) float64 {
	test, err := ParseSubtest(arg(args, 2), c.compileDelimited)
	if c.Lists == nil || err != nil {
		return 0
	}
	for _, n := range names[:min(20, len(names))] {
		switch {
		case views.IsIP(n):
			if strings.Contains(c.Flags, "domains_only") {
				continue
			}
			n = reverse(n)
		case strings.Contains(c.Flags, "ips_only"), !views.ValidName(n), !c.Config.Domains.Valid(n):
			continue
		}
		if test.Any(c.Lists.Listed(n, zoneOf(args))) {
			return 1
		}
	}
	return 0
}

// senderDead says whether nobody can answer the envelope sender.
func senderDead(c *Context, _ []string) float64 {
	hosts := c.hostsOf(c.Message.Get("EnvelopeFrom:addr"))
	return truth(c.Lists != nil && len(hosts) > 0 && c.Lists.Dead(hosts[0]))
}

func rblHeaders(c *Context, args []string) float64 {
	fields := arg(args, 3)
	if fields == "" {
		fields = c.Config.Words["rbl_headers"]
	}
	var names []string
	for _, f := range strings.Split(fields, ",") {
		if hosts := c.hostsOf(c.Message.Get(strings.TrimSpace(f) + ":addr")); len(hosts) > 0 {
			names = append(names, hosts...)
			continue
		}
		names = append(names, strings.Fields(c.text(strings.TrimSpace(f)))...)
	}
	return c.namesListed(unique(names), args)
}

func rblReceived(c *Context, args []string) float64 {
	all := c.Message.Path().Untrusted
	if len(all) == 0 {
		return 0
	}
	r := all[len(all)-1]
	return c.namesListed(unique([]string{r.IP, r.By, r.Helo, r.RDNS}), args)
}
