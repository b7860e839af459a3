package modern

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// names is what DNS has for a message.
type names struct {
	author, policy string // From's domain and its DMARC policy
	spf            Result
	signed         []string
	rdns, mx       bool
}

func (c *composer) names(e Envelope) names {
	n := names{author: strings.ToLower(c.keys["from.domain"]), policy: c.fill(c.keys["dmarc"]), spf: Result(c.keys["spf"]), signed: c.signatures(), rdns: c.keys["rdns"] != "no", mx: c.keys["mx"] != "no"}
	if n.spf == "" {
		n.spf = Pass
	}
	if n.policy == "" {
		n.policy = map[Set]string{Honest: "none", Phish: "absent"}[c.set]
	}
	return n
}

// Zone is the DNS data under which the messages come: SPF and DMARC policies, the key of each signature, the clients' names.
// Its form is that of dns.ParseZone.
func Zone(all []Message) (string, error) {
	s, err := newSigner()
	if err != nil {
		return "", err
	}
	key, err := s.record()
	if err != nil {
		return "", err
	}
	z := zone{lines: map[string]bool{}, allowed: map[string][]string{}, rest: map[string]string{}, policies: map[string]string{}}
	for i := range all {
		z.add(&all[i], key)
	}
	return z.text(), nil
}

type zone struct {
	lines    map[string]bool
	allowed  map[string][]string // the addresses that may send for a domain
	rest     map[string]string   // and what holds for others
	policies map[string]string
}

func (z *zone) add(m *Message, key string) {
	n := m.dns
	client := m.Envelope.Client.String()
	from := domainOf(m.Envelope.From)
	if from == "" { // RFC 7208 section 2.4: of a bounce it is the client's name
		from = strings.ToLower(m.Envelope.Helo)
	}
	switch {
	case n.spf == Pass:
		z.allowed[from] = append(z.allowed[from], client)
	case n.spf == Fail:
		z.rest[from] = "-all"
	case n.spf == SoftFail:
		z.rest[from] = "~all"
	}
	for _, d := range n.signed {
		domain, selector, _ := strings.Cut(d, "/")
		z.lines[selector+"._domainkey."+domain+" TXT "+key] = true
	}
	if org := organisation(n.author); z.policies[org] == "" || z.policies[org] == "absent" {
		z.policies[org] = n.policy
	}
	if n.rdns && strings.Contains(m.Envelope.Helo, ".") && !strings.HasPrefix(m.Envelope.Helo, "[") {
		z.lines[client+" PTR "+m.Envelope.Helo] = true
		z.lines[m.Envelope.Helo+" A "+client] = true
	}
	for _, d := range []string{from, n.author} {
		if n.mx && strings.Contains(d, ".") {
			z.lines[d+" MX 10 mx."+d] = true
			z.lines["mx."+d+" A 198.51.100.25"] = true
		}
	}
}

func (z *zone) text() string {
	for domain := range z.allowed {
		if z.rest[domain] == "" {
			z.rest[domain] = "~all"
		}
	}
	for domain, rest := range z.rest {
		var b strings.Builder
		b.WriteString("v=spf1")
		for _, c := range z.allowed[domain] {
			b.WriteString(" ip4:" + c)
		}
		z.lines[domain+" TXT "+strung(b.String()+" "+rest)] = true
	}
	for domain, policy := range z.policies {
		if policy != "absent" && strings.Contains(domain, ".") {
			z.lines["_dmarc."+domain+" TXT v=DMARC1; p="+policy] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(z.lines)), "\n") + "\n"
}

// strung cuts a text into the strings of one TXT record.
func strung(text string) string {
	var parts []string
	for text != "" {
		n := min(200, len(text))
		parts = append(parts, fmt.Sprintf("%q", text[:n]))
		text = text[n:]
	}
	return strings.Join(parts, " ")
}
