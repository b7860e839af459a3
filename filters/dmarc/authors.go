package dmarc

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"postern/filters"
	"postern/internal/mail"
)

// authors are the domains that a reader may see: those of all From fields. RFC 9989 section 5.3.1 leaves mail with
// several to us; each is judged and the worst outcome holds.
type authors struct {
	domains []string
	// doubt says why a reader may see yet another one; more is set if there are more than are judged.
	doubt string
	more  bool
	limit int
}

func readAuthors(h *mail.Header, limit int) authors {
	a := authors{limit: limit}
	fields := h.All("From")
	switch {
	case len(fields) > 1:
		a.doubt = fmt.Sprintf("%d From fields", len(fields))
	case h.Has(mail.DefectFirstLineFolded) || h.Has(mail.DefectFoldedName):
		a.doubt = "a field cut by folding may be another From"
	case h.Has(mail.DefectTooManyFields) || h.Has(mail.DefectTooLong):
		a.doubt = "the header is too large to find every From"
	}
	for _, field := range fields {
		boxes, group, err := mail.ParseFrom(field.Value())
		if err != nil {
			a.doubt = "a From that can't be read" // the filter headers says so
			a.more = a.more || errors.Is(err, mail.ErrFromLimit)
			continue
		}
		if group {
			a.doubt = "a group in From"
		}
		if field.ValueAt != len(field.Name)+1 {
			a.doubt = "white space before the colon of From"
		}
		for _, b := range boxes {
			a.add(b.Address.ASCIIDomain())
		}
	}
	return a
}

func (a *authors) add(domain string) {
	switch {
	case domain == "" || strings.HasPrefix(domain, "["):
		a.doubt = "an address without a domain name in From"
	case slices.Contains(a.domains, domain):
	case len(a.domains) == a.limit:
		a.doubt, a.more = "too many domains in From", true
	default:
		a.domains = append(a.domains, domain)
	}
}

// odd says what is to be said of the authors themselves.
func (a *authors) odd(local func(string) bool) []filters.Finding {
	var found []filters.Finding
	if a.more {
		found = append(found, filters.Finding{Symbol: "DMARC_AUTHOR_LIMIT", Evidence: fmt.Sprintf("more than %d domains in From", a.limit)})
	}
	for i, domain := range a.domains {
		if i > 0 && organizationOf(domain, local) != organizationOf(a.domains[0], local) {
			found = append(found, filters.Finding{Symbol: "DMARC_MULTIPLE_AUTHORS", Evidence: filters.Printable(strings.Join(a.domains, ", "))})
			break
		}
	}
	return found
}

// organizationOf tells organizations apart by the public suffix list: how an author's domain has set up DNS says nothing
// here. All domains of ours are one.
func organizationOf(domain string, local func(string) bool) string {
	if local(domain) {
		return ""
	}
	return filters.RegisteredDomain(domain)
}
