package dmarc

import (
	"errors"
	"net/url"
	"strings"
)

// record is a DMARC policy record: RFC 9989 section 4.7.
type record struct {
	text string
	// policy, subdomain and missing are p, sp and np, "" where the tag is absent or not one of the three words.
	policy, subdomain, missing string
	// psd is "y", "n" or "u".
	psd                   string
	strictDKIM, strictSPF bool
	testing               bool
	rua                   []string
}

var (
	errNoRecord  = errors.New("not a DMARC record")
	errBadPolicy = errors.New("p= is none of none, quarantine, reject, and nobody wants a report")
)

// maxRecord bounds a record, in octets.
const maxRecord = 8 << 10

// parseRecord reads a TXT record. It forgives everything but a missing version: a domain that asks for protection in a
// clumsy way still gets it. What can't be understood counts as absent.
func parseRecord(text string) (record, error) {
	r := record{text: text, psd: "u"}
	if len(text) > maxRecord {
		return r, errNoRecord
	}
	given := map[string]bool{}
	badPolicy := false
	for i, spec := range strings.Split(text, ";") {
		name, value, ok := strings.Cut(spec, "=")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		// RFC 9989 section 4.7: v= comes first and its value is exactly DMARC1
		if i == 0 {
			if name != "v" || value != "DMARC1" {
				return r, errNoRecord
			}
			continue
		}
		// a tag that stands there again says nothing: the first one holds
		if !ok || given[name] {
			continue
		}
		given[name] = true
		badPolicy = r.set(name, value) && name == "p" || badPolicy
	}
	switch {
	case badPolicy && len(r.rua) == 0:
		return r, errBadPolicy
	// RFC 9989 section 4.7: without a p= that can be read, it is none
	case r.policy == "":
		r.policy = "none"
	}
	return r, nil
}

// set takes one tag; unknown ones must be ignored (RFC 9989 section 4.7). It says whether the value is bad.
func (r *record) set(name, value string) (bad bool) {
	lower := strings.ToLower(value)
	word := func(into *string, words ...string) bool {
		for _, w := range words {
			if lower == w {
				*into = w
				return false
			}
		}
		return true
	}
	switch name {
	case "p":
		return word(&r.policy, "none", "quarantine", "reject")
	case "sp":
		return word(&r.subdomain, "none", "quarantine", "reject")
	case "np":
		return word(&r.missing, "none", "quarantine", "reject")
	case "psd":
		return word(&r.psd, "y", "n", "u")
	case "adkim":
		r.strictDKIM = lower == "s"
	case "aspf":
		r.strictSPF = lower == "s"
	case "t":
		r.testing = lower == "y"
	case "rua":
		for uri := range strings.SplitSeq(value, ",") {
			uri = strings.TrimSpace(uri)
			if u, err := url.Parse(uri); err == nil && strings.EqualFold(u.Scheme, "mailto") && strings.Contains(u.Opaque, "@") && len(r.rua) < 10 {
				r.rua = append(r.rua, uri)
			}
		}
	}
	return false
}

// applies gives the policy for a message: published is that of p, sp or np, applied what is left of it under t=y.
func (r record) applies(sub, exists bool) (applied string) {
	policy := r.policy
	if sub {
		if r.subdomain != "" {
			policy = r.subdomain
		}
		// RFC 9989 section 4.7: np is for subdomains that do not exist; without it sp, without that p
		if !exists && r.missing != "" {
			policy = r.missing
		}
	}
	// RFC 9989 section 4.7: with t=y, each policy is lowered by one step
	if r.testing {
		switch policy {
		case "reject":
			return "quarantine"
		case "quarantine":
			return "none"
		}
	}
	return policy
}
