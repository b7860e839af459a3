package lab_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// records is a DNS read from a suite: resource records by name in lower case, and names for which nobody answers.
type records struct {
	rrs     map[string][]dns.RR
	timeout map[string]bool
	// rcode is the answer for names with another failure.
	rcode map[string]int
}

func newRecords() *records {
	return &records{map[string][]dns.RR{}, map[string]bool{}, map[string]int{}}
}

type noAnswer struct{}

func (noAnswer) Error() string   { return "timeout" }
func (noAnswer) Timeout() bool   { return true }
func (noAnswer) Temporary() bool { return true }

func (r *records) Exchange(_ context.Context, q *dns.Msg, _, _ string) (*dns.Msg, error) {
	reply := new(dns.Msg)
	reply.SetReply(q)
	name := strings.ToLower(q.Question[0].Name)
	for range 10 {
		alias := ""
		for _, rr := range r.rrs[name] {
			if rr.Header().Rrtype == q.Question[0].Qtype {
				reply.Answer = append(reply.Answer, rr)
			} else if c, ok := rr.(*dns.CNAME); ok {
				reply.Answer = append(reply.Answer, rr)
				alias = strings.ToLower(c.Target)
			}
		}
		if r.timeout[name] && len(reply.Answer) == 0 {
			return nil, noAnswer{}
		}
		if code := r.rcode[name]; code != 0 {
			reply.Rcode = code
		}
		if alias == "" {
			if len(r.rrs[name]) == 0 && len(reply.Answer) == 0 && reply.Rcode == 0 && !r.parent(name) {
				reply.Rcode = dns.RcodeNameError
			}
			return reply, nil
		}
		name = alias
	}
	return reply, nil
}

func (r *records) parent(name string) bool {
	for n := range r.rrs {
		if strings.HasSuffix(n, "."+name) {
			return true
		}
	}
	return false
}

// text adds a TXT record of these strings, whose octets may be any.
func (r *records) text(name string, parts ...string) {
	name = canonical(name)
	rr := &dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}}
	for _, part := range parts {
		for first := true; first || part != ""; first = false {
			n := min(len(part), 255)
			var b strings.Builder
			for i := range n {
				switch c := part[i]; {
				case c == '\\' || c == '"':
					b.WriteString(`\` + string(c))
				case c < ' ' || c >= 0x7f:
					fmt.Fprintf(&b, `\%03d`, c)
				default:
					b.WriteByte(c)
				}
			}
			rr.Txt = append(rr.Txt, b.String())
			part = part[n:]
		}
	}
	r.rrs[name] = append(r.rrs[name], rr)
}

// add adds any other record; what can't be one is left out, as no server could answer so.
func (r *records) add(name, kind, value string) {
	name = canonical(name)
	if rr, err := dns.NewRR("x. 60 IN " + kind + " " + value); err == nil && rr != nil {
		rr.Header().Name = name
		r.rrs[name] = append(r.rrs[name], rr)
	}
}

// canonical is a name as it stands in a question: names of the suites hold any octets.
func canonical(name string) string {
	var packed [256]byte
	name = dns.Fqdn(strings.ToLower(name))
	if _, err := dns.PackDomainName(strings.ReplaceAll(name, `\`, `\\`), packed[:], 0, nil, false); err != nil {
		return name
	}
	unpacked, _, err := dns.UnpackDomainName(packed[:], 0)
	if err != nil {
		return name
	}
	return unpacked
}

// textZone is a DNS of TXT records.
func textZone(texts map[string]string) *records {
	r := newRecords()
	for name, text := range texts {
		r.text(name, text)
	}
	return r
}

// spfScenario is a document of the SPF suite.
type spfScenario struct {
	Description string             `yaml:"description"`
	Tests       map[string]spfCase `yaml:"tests"`
	Zone        map[string][]any   `yaml:"zonedata"`
}

type spfCase struct {
	Helo     string `yaml:"helo"`
	Host     string `yaml:"host"`
	MailFrom string `yaml:"mailfrom"`
	Result   any    `yaml:"result"`
}

// results are those that the suite allows.
func (c spfCase) results() []string {
	switch v := c.Result.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, one := range v {
			all = append(all, fmt.Sprint(one))
		}
		return all
	}
	return nil
}

func (s spfScenario) zone(t *testing.T) *records {
	t.Helper()
	r := newRecords()
	for name, list := range s.Zone {
		hasTXT := false
		var spf [][]string
		for _, entry := range list {
			switch v := entry.(type) {
			case string: // TIMEOUT: for what does not stand there
				r.timeout[canonical(name)] = true
			case map[string]any:
				for kind, value := range v {
					switch kind {
					case "TXT":
						hasTXT = true
						if value != "NONE" {
							r.text(name, texts(value)...)
						}
					case "SPF":
						spf = append(spf, texts(value))
					case "MX":
						if pair, ok := value.([]any); ok && len(pair) == 2 {
							r.add(name, "MX", fmt.Sprintf("%v %s", pair[0], dns.Fqdn(fmt.Sprint(pair[1]))))
						}
					case "PTR", "CNAME":
						r.add(name, kind, dns.Fqdn(fmt.Sprint(value)))
					default:
						r.add(name, kind, fmt.Sprint(value))
					}
				}
			}
		}
		if !hasTXT { // the suite's own rule: records of type SPF stand as TXT, too
			for _, one := range spf {
				r.text(name, one...)
			}
		}
	}
	return r
}

// texts are the strings of a TXT record. YAML gives characters where the suite means octets.
func texts(value any) []string {
	octets := func(text string) string {
		b := make([]byte, 0, len(text))
		for _, c := range text {
			if c > 0xff {
				return text
			}
			b = append(b, byte(c))
		}
		return string(b)
	}
	list, ok := value.([]any)
	if !ok {
		return []string{octets(fmt.Sprint(value))}
	}
	var all []string
	for _, one := range list {
		all = append(all, octets(fmt.Sprint(one)))
	}
	return all
}

// arcScenario is a document of the ARC suite.
type arcScenario struct {
	Tests map[string]struct {
		Message string `yaml:"message"`
		CV      string `yaml:"cv"`
	} `yaml:"tests"`
	Records map[string]string `yaml:"txt-records"`
}

// dkimZone reads chasquid's files: "NAME: TEXT", lines joined by a backslash; TEMPERROR and PERMERROR are failures.
func dkimZone(t *testing.T, file string) *records {
	t.Helper()
	r := newRecords()
	text, err := os.ReadFile(file)
	if err != nil {
		return r
	}
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", "")) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch {
		case !ok || strings.HasPrefix(name, "#"):
		case value == "TEMPERROR":
			r.timeout[canonical(name)] = true
		case value == "PERMERROR":
			r.rcode[canonical(name)] = dns.RcodeNameError
		default:
			r.text(name, strings.Join(strings.Fields(value), " "))
		}
	}
	return r
}

// spoof is one way to look like somebody else.
type spoof struct {
	id, from, header, want string
	// attacker is set where attack.test is the one address shown, so that it may pass for itself.
	attacker bool
}

// spoofs are the ways known from "Composition Kills" (USENIX Security 2020, espoofer), "Weak Links" (2021) and practice.
func spoofs() []spoof {
	const a, l = "From: <x@attack.test>", "From: <admin@bank.test>"
	many := strings.Repeat(a+"\n", 300) + l
	return []spoof{
		{id: "HD-01 no such subdomain", from: "any@mailfrom.notexist.bank.test", header: l, want: "DMARC_POLICY_SOFTFAIL"},
		{id: "HD-02", from: "(any@bank.test", header: l, want: "refused"},
		{id: "HD-03", header: "DKIM-Signature: v=1; a=rsa-sha256; d=bank.test; s=selector._domainkey.attack.test.\x00.any; h=from; bh=AAAA; b=AAAA\n" + l, want: "refused"},
		{id: "HD-04", header: "DKIM-Signature: v=1; a=rsa-sha256; d=bank.test'a.attack.test; s=x; h=from; bh=AAAA; b=AAAA\n" + l, want: "DMARC_POLICY_SOFTFAIL"},
		{id: "HD-05", from: "any@bank.test(a.attack.test", header: l, want: "refused"},
		{id: "HD-06", from: "any@bank.test'@any.attack.test", header: l, want: "refused"},
		{id: "HD-07", from: "@bank.test,@any.test:any@attack.test", header: l, want: "DMARC_POLICY_SOFTFAIL"},
		{id: "HD-08 attack first", header: a + "\n" + l, want: "refused"},
		{id: "HD-08 legit first", header: l + "\n" + a, want: "refused"},
		{id: "HD-08 three", header: a + "\n" + l + "\n" + a, want: "refused"},
		{id: "HD-08 many", header: many, want: "refused"},
		{id: "HD-09", header: " " + a + "\n" + l, want: "refused"},
		{id: "HD-10", header: a + "\nFrom : <admin@bank.test>", want: "refused"},
		{id: "HD-10 other order", header: "From : <x@attack.test>\n" + l, want: "refused"},
		{id: "HD-11", header: "From\n : <x@attack.test>\n" + l, want: "refused"},
		{id: "HD-12", header: "From\n : <x@attack.test>\nSender: <admin@bank.test>", want: "refused"},
		{id: "HD-13", header: "From\n : <x@attack.test>\nResent-From: <admin@bank.test>", want: "refused"},
		{id: "HD-14", header: "From: <x@attack.test>, <admin@bank.test>\nSender: <x@attack.test>", want: "held"},
		{id: "HD-14 turned", header: "From: <admin@bank.test>, <x@attack.test>\nSender: <x@attack.test>", want: "held"},
		{id: "HD-15", header: "From: =?utf-8?B?PGFkbWluQGJhbmsudGVzdD4=?=,<x@attack.test>", want: "refused"},
		{id: "HD-15 as name", header: "From: =?utf-8?B?PGFkbWluQGJhbmsudGVzdD4=?= <x@attack.test>", want: "FROM_NEQ_DISPLAY_NAME", attacker: true},
		{id: "HD-16", header: "From: <@attack.test,@any.test:admin@bank.test>", want: "refused"},
		{id: "HD-17", header: `From: <admin@bank.test>\,<x@attack.test>`, want: "refused"},
		{id: "HD-18", header: "From: admin@bank.test,<x@attack.test>", want: "held"},
		{id: "HD-19", header: "From: <any@attack.test>admin@bank.test", want: "refused"},
		{id: "HD-21 quoted", header: `From: "admin@bank.test" <x@attack.test>`, want: "FROM_NEQ_DISPLAY_NAME", attacker: true},
		{id: "HD-21 bare", header: "From: admin@bank.test <x@attack.test>", want: "refused"},
		{id: "HD-22 comment", header: "From: admin(@attack.test)@bank.test", want: "refused"},
		{id: "HD-22 trailing comment", header: `From: "a b" (c) <x@attack.test> (admin@bank.test)`, want: "FROM_COMMENT_ADDRESS", attacker: true},
		{id: "HD-22 deep", header: "From: " + strings.Repeat("(", 300) + strings.Repeat(")", 300) + " x@attack.test", want: "refused"},
		{id: "HD-23 U+FFFD", header: "From: <x@bank.test\uFFFDattack.test>", want: "refused"},
		{id: "HD-23 brace", header: "From: <admin@bank.test}attack.test>", want: "refused"},
		{id: "HD-24", header: "From: <\u202etset.knab\u202d@attack.test>", want: "refused"},
		{id: "HD-24 joiner in the address", header: "From: <x@ba\u200dnk.test>", want: "refused"},
		{id: "HD-24 direction in the name", header: "From: \"\u202etset.knab@nimda\" <x@attack.test>", want: "refused"},
		{id: "HD-25 own, Cyrillic", header: "From: <ceo@c\u043erp.test>", want: "held"},
		{id: "HD-25 own, digit", header: "From: <ceo@c0rp.test>", want: "held"},
		{id: "HD-26", header: "From: <ceo@corp.test>", want: "held"},
		{id: "HD-27 own address as name", header: `From: "CEO ceo@corp.test" <x@attack.test>` + "\nReply-To: y@other.test", want: "held", attacker: true},
		{id: "HD-28 empty", header: "From:", want: "refused"},
		{id: "HD-28 empty group", header: "From: undisclosed:;", want: "held"},
		{id: "HD-28 group", header: "From: bank: x@attack.test, admin@bank.test;", want: "held"},
		{id: "HD-28 own group", header: "From: bank: x@attack.test;", want: "held"},
		{id: "HD-29", header: "X: y", want: "refused"},
		{id: "HD-30", header: l + "\nReply-To: a@bank.test\nReply-To: x@attack.test\nCc: a@bank.test\nCc: b@bank.test", want: "MULTIPLE_UNIQUE_HEADERS"},
		{id: "HD-31 long name", header: strings.Repeat("X", 2000) + ": y\n" + a + "\n" + "From" + "\u00a0" + ": <admin@bank.test>", want: "refused"},
		{id: "HD-31 no colon", header: a + "\nno colon here\n" + l, want: "refused"},
		{id: "HD-33", header: "X-Postern: 1 accept 0 DMARC_POLICY_ALLOW\nX-MS-Exchange-Organization-SCL: -1\n" + l, want: "DMARC_POLICY_SOFTFAIL"},
		{id: "HD-35 fields", header: strings.Repeat("X: y\n", 1100) + l, want: "refused"},
		{id: "HD-35 octets", header: l + "\nTo: " + strings.Repeat("a@b.test,\n ", 110_000) + "c@d.test", want: "refused"},
		{id: "HD-36", header: a + "\nResent-From: <admin@bank.test>\nResent-From: <admin@bank.test>", want: "DMARC_POLICY_ALLOW", attacker: true},
		{id: "HD-38", header: a + "\nReply-To: ceo@c0rp.test", want: "held", attacker: true},
		{id: "HD-37, HD-39", header: l + "\nList-Unsubscribe: <javascript:alert(1)>, <http://169.254.169.254/>\nDisposition-Notification-To: x@attack.test", want: "DMARC_POLICY_SOFTFAIL"},
		{id: "AR-01 forged result", header: "Authentication-Results: gw.test; dmarc=pass header.from=bank.test\n" + l, want: "DMARC_POLICY_SOFTFAIL"},
		{id: "AR-02 disguised", header: "Authentication-Results: (x) \"GW.test.\" 1; dmarc=pass header.from=bank.test\n" + l, want: "DMARC_POLICY_SOFTFAIL"},
		{id: "AR-07", from: `"; dmarc=pass header.from=bank.test"@attack.test`, header: l, want: "DMARC_POLICY_SOFTFAIL"},
		{id: "AR-09", header: "ARC-Authentication-Results: i=1; gw.test; dmarc=pass header.from=bank.test\n" + l, want: "DMARC_POLICY_SOFTFAIL"},
	}
}
