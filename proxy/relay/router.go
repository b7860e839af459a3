package relay

import (
	"strings"

	"postern/internal/mail"
)

// Router finds the route of a recipient's domain.
type Router struct {
	// Domains maps "example.com" (that domain) and ".example.com" (all below it) to the name of a route.
	Domains map[string]string
	// Default is the route of every other domain; empty for none.
	Default string
}

// NewRouter makes a Router; the domains may be in U-labels and any case.
func NewRouter(domains map[string]string, fallback string) *Router {
	r := &Router{Domains: make(map[string]string, len(domains)), Default: fallback}
	for domain, name := range domains {
		if below, ok := strings.CutPrefix(domain, "."); ok {
			r.Domains["."+asciiOr(below)] = name
		} else {
			r.Domains[asciiOr(domain)] = name
		}
	}
	return r
}

// Route gives the name of the route for a domain: the domain itself, then the nearest entry above it, then the default.
func (r *Router) Route(domain string) (string, bool) {
	name := asciiOr(domain)
	if route, ok := r.Domains[name]; ok {
		return route, true
	}
	for rest := name; ; {
		dot := strings.IndexByte(rest, '.')
		if dot < 0 {
			return r.Default, r.Default != ""
		}
		if route, ok := r.Domains[rest[dot:]]; ok {
			return route, true
		}
		rest = rest[dot+1:]
	}
}

func asciiOr(domain string) string {
	if a := mail.ASCIIDomain(domain); a != "" {
		return a
	}
	return strings.ToLower(domain)
}
