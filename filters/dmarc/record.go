package dmarc

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"postern/filters"
)

// record is a DMARC policy record: RFC 9989 section 4.7.
type record struct {
	text string
	// policy, subdomain and missing are p, sp and np, "" where the tag is absent or not one of the three words.
	policy, subdomain, missing filters.DMARCPolicy
	// psd is "y", "n" or "u".
	psd                   string
	strictDKIM, strictSPF bool
	testing               bool
	failure               string
	rua                   []string
	// unusable is set if there is no valid p= and no report address.
	unusable bool
}

var errNoRecord = errors.New("not a DMARC record")

// Limits of a record: octets, and addresses for reports.
const (
	maxRecord = 8 << 10
	maxRua    = 10
)

// parseRecord reads a TXT record. It forgives everything but a missing version: a domain that asks for protection in a
// clumsy way still gets it. What can't be understood counts as absent.
//
// RFC 9989 section 4.10.1 would let an sp= or np= that can't be read switch off the p= beside it. That would take the
// protection from a domain that asked for it; here such a tag is one of the syntax errors that section 4.7 discards.
func parseRecord(text string) (record, error) {
	r := record{text: text, psd: "u", failure: "0"}
	if len(text) > maxRecord {
		return r, errNoRecord
	}
	given := map[string]bool{}
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
		// a repeated tag is ignored: the first valid one counts
		if !ok || given[name] {
			continue
		}
		given[name] = r.set(name, value)
	}
	// RFC 9989 section 4.10.1: without a valid p= it is none if reports are wanted; else the record says nothing
	r.unusable = r.policy == "" && len(r.rua) == 0
	// RFC 9989 sections 4.7 and 4.10.1: without a p= that can be read, it is none
	if r.policy == "" {
		r.policy = filters.DMARCNone
	}
	return r, nil
}

// set takes one tag; unknown ones must be ignored (RFC 9989 section 4.7). It says whether the value can be read.
func (r *record) set(name, value string) bool {
	lower := strings.ToLower(value)

	switch name {
	case "p":
		return oneOf(&r.policy, lower, filters.DMARCNone, filters.DMARCQuarantine, filters.DMARCReject)
	case "sp":
		return oneOf(&r.subdomain, lower, filters.DMARCNone, filters.DMARCQuarantine, filters.DMARCReject)
	case "np":
		return oneOf(&r.missing, lower, filters.DMARCNone, filters.DMARCQuarantine, filters.DMARCReject)
	case "psd":
		return oneOf(&r.psd, lower, "y", "n", "u")
	case "adkim":
		return yesOrNo(&r.strictDKIM, lower, "s", "r")
	case "aspf":
		return yesOrNo(&r.strictSPF, lower, "s", "r")
	case "t":
		return yesOrNo(&r.testing, lower, "y", "n")
	case "fo":
		if len(lower) <= 7 && strings.Trim(lower, "01ds:") == "" && lower != "" {
			r.failure = lower
		}
	case "rua":
		r.rua = reportAddresses(value)
	}

	return true
}

func oneOf[T ~string](into *T, value string, words ...T) bool {
	if !slices.Contains(words, T(value)) {
		return false
	}
	*into = T(value)

	return true
}

func yesOrNo(into *bool, value, yes, no string) bool {
	*into = value == yes

	return value == yes || value == no
}

// reportAddresses keeps the mailto: addresses of a list, verbatim (RFC 9989 section 4.7: other schemes must be
// ignored).
func reportAddresses(list string) []string {
	var uris []string
	for uri := range strings.SplitSeq(list, ",") {
		uri = strings.TrimSpace(uri)
		u, err := url.Parse(uri)
		if err == nil && strings.EqualFold(u.Scheme, "mailto") && strings.Contains(u.Opaque, "@") && len(uris) < maxRua {
			uris = append(uris, uri)
		}
	}
	return uris
}

// applies gives the policy for a message of the record's domain or of a subdomain, which may not exist.
func (r record) applies(sub, exists bool) filters.DMARCPolicy {
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
		case filters.DMARCReject:
			return filters.DMARCQuarantine
		case filters.DMARCQuarantine:
			return filters.DMARCNone
		case filters.DMARCNone: // there is no lower one
		}
	}
	return policy
}

func (r record) tags() filters.DMARCTags {
	mode := func(strict bool) string {
		if strict {
			return "s"
		}
		return "r"
	}
	return filters.DMARCTags{P: r.policy, SP: r.subdomain, NP: r.missing, ADKIM: mode(r.strictDKIM), ASPF: mode(r.strictSPF),
		FO: r.failure, Testing: r.testing}
}
