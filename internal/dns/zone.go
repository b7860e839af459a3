package dns

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// Zone is a fake of the world's DNS, read from plain text: for tests and for the demo. It is an Exchanger.
//
//	example.org    MX       10 mx.example.org
//	mx.example.org A        192.0.2.1
//	192.0.2.1      PTR      mx.example.org
//	example.org    TXT      v=spf1 mx -all
//	slow.example   TIMEOUT
//	bad.example    SERVFAIL TXT
//
// A TXT value reaches to the end of the line; as a sequence of "quoted strings" it becomes the strings of one record.
// SERVFAIL, REFUSED and TIMEOUT are how every question for that name ends, or that of the one type that follows.
// Nothing below such a name is touched. The zone counts no TTLs: each record has 300 s.
type Zone struct {
	records  map[string][]dns.RR
	failures map[question]string
	// parents are names without records that exist because others lie below them.
	parents map[string]bool
}

// everyType is the question of a failure that names no type.
const everyType = 0

// ParseZone reads a zone. Empty lines and those that begin with # or ; are skipped.
func ParseZone(text string) (*Zone, error) {
	z := &Zone{records: map[string][]dns.RR{}, failures: map[question]string{}, parents: map[string]bool{}}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if err := z.add(line); err != nil {
			return nil, fmt.Errorf("zone line %d: %w", n, err)
		}
	}
	return z, nil
}

func (z *Zone) add(line string) error {
	name, rest := cutField(line)
	kind, value := cutField(rest)
	kind = strings.ToUpper(kind)
	if ip, err := netip.ParseAddr(name); err == nil {
		if name, err = dns.ReverseAddr(ip.String()); err != nil {
			return err
		}
	}
	q, err := newQuestion(name, everyType)
	if err != nil {
		return err
	}
	for parent := q.name; parent != "."; {
		_, after, ok := strings.Cut(parent, ".")
		if !ok || after == "" {
			break
		}
		parent = after
		z.parents[parent] = true
	}
	switch kind {
	case "SERVFAIL", "REFUSED", "TIMEOUT":
		if value != "" {
			q.kind = dns.StringToType[strings.ToUpper(value)]
		}
		z.failures[q] = kind
		return nil
	}
	rr, err := newRecord(q.name, kind, value)
	if err != nil {
		return err
	}
	z.records[q.name] = append(z.records[q.name], rr)
	return nil
}

func newRecord(name, kind, value string) (dns.RR, error) {
	if value == "" {
		return nil, fmt.Errorf("want NAME TYPE VALUE, got only %q %q", name, kind)
	}
	if kind == "TXT" {
		h := dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 300}
		return &dns.TXT{Hdr: h, Txt: txtStrings(value)}, nil
	}
	rr, err := dns.NewRR(name + " 300 IN " + kind + " " + value)
	if err == nil && rr == nil {
		err = fmt.Errorf("record %s %s says nothing", name, kind)
	}
	return rr, err
}

// txtStrings cuts a value into the strings of a TXT record of 255 octets at most, in presentation form.
func txtStrings(value string) []string {
	var parts []string
	rest := value
	for strings.HasPrefix(rest, `"`) {
		inner, after, ok := strings.Cut(rest[1:], `"`)
		if !ok {
			break
		}
		parts = append(parts, inner)
		rest = strings.TrimSpace(after)
	}
	if rest != "" || parts == nil {
		parts = []string{value}
	}
	var strs []string
	for _, p := range parts {
		for len(p) > 255 {
			strs = append(strs, strings.ReplaceAll(p[:255], `\`, `\\`))
			p = p[255:]
		}
		strs = append(strs, strings.ReplaceAll(p, `\`, `\\`))
	}
	return strs
}

func cutField(line string) (field, rest string) {
	line = strings.TrimLeft(line, " \t")
	i := strings.IndexAny(line, " \t")
	if i < 0 {
		return line, ""
	}
	return line[:i], strings.TrimLeft(line[i:], " \t")
}

type timeoutError struct{}

func (timeoutError) Error() string   { return "timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// Exchange answers from the zone; a TIMEOUT comes at once.
func (z *Zone) Exchange(_ context.Context, query *dns.Msg, _, _ string) (*dns.Msg, error) {
	asked := query.Question[0]
	name := strings.ToLower(asked.Name)
	reply := new(dns.Msg)
	reply.SetReply(query)
	for range MaxAliases + 4 {
		switch failure := z.failure(name, asked.Qtype); failure {
		case "TIMEOUT":
			return nil, timeoutError{}
		case "SERVFAIL", "REFUSED":
			reply.Rcode = dns.StringToRcode[failure]
			return reply, nil
		}
		alias := ""
		for _, rr := range z.records[name] {
			if rr.Header().Rrtype == asked.Qtype {
				reply.Answer = append(reply.Answer, rr)
			} else if cname, ok := rr.(*dns.CNAME); ok {
				reply.Answer = append(reply.Answer, rr)
				alias = strings.ToLower(cname.Target)
			}
		}
		if alias == "" {
			if len(z.records[name]) == 0 && !z.parents[name] {
				reply.Rcode = dns.RcodeNameError
			}
			return reply, nil
		}
		name = alias
	}
	return reply, nil
}

// failure is what the zone says of a name instead of an answer, "" if it answers.
func (z *Zone) failure(name string, kind uint16) string {
	if all := z.failures[question{name, everyType}]; all != "" {
		return all
	}
	return z.failures[question{name, kind}]
}

// NewZoneResolver is a resolver that knows the zone in text and nothing else.
func NewZoneResolver(text string) (*Resolver, error) {
	z, err := ParseZone(text)
	if err != nil {
		return nil, err
	}
	return New(Options{Exchange: z, Attempts: 1})
}
