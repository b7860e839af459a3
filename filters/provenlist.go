package filters

import (
	"slices"
	"strings"

	"postern/internal/mail"
)

// ProvenList says whether mail came over a mailing list whose own domain is proven: its members' letters have replies to
// the list, foreign authors and links of all kinds. RFC 2919 section 2: List-Id is the list's name in a domain of its host.
func ProvenList(tx *mail.Transaction) bool {
	id := tx.Message.Header().Get("List-Id")
	if i := strings.LastIndexByte(id, '<'); i >= 0 {
		id = id[i+1:]
	}
	list := RegisteredDomain(mail.ASCIIDomain(strings.Trim(strings.TrimSpace(id), "<>")))
	if list == "" {
		return false
	}

	spf, dkim := ProvenDomains(tx)

	return slices.ContainsFunc(append(spf, dkim...), func(d string) bool { return RegisteredDomain(mail.ASCIIDomain(d)) == list })
}
