package dmarc

import (
	"context"
	"strings"

	"postern/filters"
	"postern/internal/dns"
	"postern/internal/mail"
)

// Explain judges mail of an author domain and says step by step what was asked and why. findings are what SPF and DKIM
// found, none for mail that nothing authenticates. psl takes the public suffix list instead of the tree walk.
func Explain(ctx context.Context, r *dns.Resolver, psl bool, domain string, findings []mail.Finding, note func(string)) filters.DMARC {
	s := newSearch(r, psl, note)
	note("policy for " + domain + ", where the record may stand (RFC 9989 section 4.10.1):")
	v := s.evaluate(ctx, findings, mail.ASCIIDomain(domain), background{})
	if v.Record == "" {
		return v
	}
	note("the record that applies stands at " + v.PolicyDomain)
	for _, remark := range remarks(v) {
		note(remark)
	}
	return v
}

// SameOrganization says whether two domains have one organizational domain: RFC 9989 section 4.10.2. Aggregate reports
// need it (RFC 9990 section 4).
func SameOrganization(ctx context.Context, r *dns.Resolver, psl bool, a, b string) (bool, error) {
	return newSearch(r, psl, nil).aligned(ctx, mail.ASCIIDomain(b), mail.ASCIIDomain(a), false)
}

// remarks say which tags made the policy what it is.
func remarks(v filters.DMARC) []string {
	var notes []string
	t := v.Tags
	p, sp, np := string(t.P), string(t.SP), string(t.NP)
	switch {
	case v.PolicyDomain == v.Domain:
		notes = append(notes, "p="+p+" is for the domain itself")
	case t.SP != "" || t.NP != "":
		notes = append(notes, "the domain is below it: sp="+or(sp, "(as p)")+" if it exists, np="+or(np, "(as sp)")+" if it does not; p="+p)
	default:
		notes = append(notes, "the domain is below it: without sp and np, p="+p+" is for it, too")
	}
	if t.Testing {
		notes = append(notes, "t=y lowers the policy by one step")
	}
	if v.Policy != "" {
		notes = append(notes, "policy for this mail if it fails: "+string(v.Policy))
	}
	mode := map[string]string{"r": "relaxed: the same organizational domain", "s": "strict: the very domain"}
	notes = append(notes, "DKIM must be aligned "+mode[t.ADKIM], "SPF must be aligned "+mode[t.ASPF])
	if len(v.Aligned) > 0 {
		notes = append(notes, "aligned: "+strings.Join(v.Aligned, ", "))
	}
	return notes
}

func or(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}
