package dmarc

import (
	"strings"

	"postern/filters"
	"postern/internal/mail"
)

// vouched names the trusted sealer that saw DMARC pass for this author domain when the mail came to it, "" if there is
// none: RFC 8617 section 7.2.1. Whom to trust is a setting of the filter arc.
func vouched(findings []mail.Finding, domain string) string {
	for _, f := range findings {
		chain, ok := f.Value.(filters.ARC)
		if !ok || chain.Result != mail.AuthPass || chain.Trusted == "" {
			continue
		}
		passed := false
		for _, r := range chain.Vouched {
			if r.Method != mail.MethodDMARC {
				continue
			}
			if r.Result != mail.AuthPass || authorOf(r) != domain {
				return ""
			}
			passed = true
		}
		if passed {
			return chain.Trusted
		}
	}
	return ""
}

// authorOf is the author domain of a result of DMARC, "" unless it names one.
func authorOf(r mail.AuthResult) string {
	from := ""
	for _, p := range r.Props {
		if strings.EqualFold(p.Type, "header") && strings.EqualFold(p.Property, "from") {
			if from != "" {
				return ""
			}
			from = p.Value[strings.LastIndexByte(p.Value, '@')+1:]
		}
	}
	return mail.ASCIIDomain(from)
}
