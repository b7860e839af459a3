// Package helo looks at the name a client gives in HELO or EHLO (RFC 5321 section 4.1.1.1). A host that sends mail
// honestly knows its own name; much of what sends spam does not, or takes ours.
package helo

import (
	"context"
	"net/netip"
	"strings"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
)

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name: "helo",
	Help: "Looks at the name a client gives in HELO or EHLO.",
	// at MAIL, not at HELO: only then is it known whether the client has logged in
	Stages: mail.StageMail,
	Inline: true,
	Symbols: []filters.Symbol{
		{Name: "HELO_BAREIP", Score: 3, Help: "HELO is an IP address without brackets"},
		{Name: "HELO_NOT_FQDN", Score: 2, Help: "HELO is not a fully-qualified name"},
		{Name: "HELO_INVALID", Score: 3, Help: "HELO is neither a domain name nor an address literal"},
		{Name: "HELO_OWN_NAME", Score: 5, Help: "HELO is the gateway's own name or one of its domains"},
		{Name: "HELO_LOCALHOST", Score: 3, Help: "HELO is localhost or a name that exists in no public network"},
		{Name: "HELO_LITERAL_MISMATCH", Score: 2, Help: "HELO is an address literal of another address than the client's"},
	},
	New: func(section config.Section, env filters.Env) (filters.Filter, error) {
		return filter{env}, section.Decode(&struct{}{})
	},
}

type filter struct{ env filters.Env }

func (f filter) Inspect(_ context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	s := tx.Session
	if s.Outbound() { // user agents and inside machines call themselves what they like
		return nil, nil
	}
	if symbol := f.check(s.Helo, s.Client.Unmap()); symbol != "" {
		return []filters.Finding{{Symbol: symbol, Evidence: filters.Printable(s.Helo)}}, nil
	}
	return nil, nil
}

func (f filter) check(name string, client netip.Addr) string {
	// RFC 5321 section 4.1.3: an address literal is allowed where a host has no name
	if strings.HasPrefix(name, "[") {
		ip, ok := mail.ParseLiteral(name)
		switch {
		case !ok:
			return "HELO_INVALID"
		case ip.Unmap() != client:
			return "HELO_LITERAL_MISMATCH"
		}
		return ""
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return "HELO_BAREIP"
	}
	domain := strings.ToLower(strings.TrimSuffix(name, "."))
	switch {
	case !mail.ValidDomain(domain):
		return "HELO_INVALID"
	case strings.EqualFold(domain, f.env.Hostname) || f.env.Local != nil && f.env.Local(domain):
		return "HELO_OWN_NAME"
	case domain == "localhost" || hasReservedEnd(domain):
		return "HELO_LOCALHOST"
	case !strings.Contains(domain, "."):
		return "HELO_NOT_FQDN"
	}
	return ""
}

// hasReservedEnd knows the endings that no public name has: RFC 6761, RFC 6762, RFC 8375, RFC 9476, and two that
// routers are delivered with.
func hasReservedEnd(domain string) bool {
	switch domain[strings.LastIndexByte(domain, '.')+1:] {
	case "localhost", "localdomain", "local", "invalid", "lan", "internal", "alt":
		return strings.Contains(domain, ".")
	}
	return strings.HasSuffix(domain, ".home.arpa")
}
