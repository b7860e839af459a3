package content

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/internal/dns"
)

// How long the client's name is looked for, and how many names are.
const (
	reverseTime  = 2 * time.Second
	reverseNames = 3
)

// unresolved stands for the name of a client whose name nobody can tell now: RFC 2606 section 2. Rules must not take it for a
// client without a name.
const unresolved = "unresolved.invalid"

// reverseName is the name of the client that leads back to it, as mail servers note it: "" if there is none.
func (f *filter) reverseName(ctx context.Context, client netip.Addr) string {
	if f.env.DNS == nil {
		return unresolved
	}
	ctx, cancel := context.WithTimeout(ctx, reverseTime)
	defer cancel()
	names, err := f.env.DNS.LookupAddr(ctx, client.Unmap().String())
	if err != nil && !dns.IsNotFound(err) {
		return unresolved
	}
	for _, name := range names[:min(len(names), reverseNames)] {
		found, err := f.addresses(ctx, name, client)
		if err != nil && !dns.IsNotFound(err) {
			return unresolved
		}
		if slices.Contains(found, client.Unmap()) {
			return strings.TrimSuffix(strings.ToLower(name), ".")
		}
	}
	return ""
}

func (f *filter) addresses(ctx context.Context, name string, client netip.Addr) ([]netip.Addr, error) {
	if client.Unmap().Is4() {
		return f.env.DNS.LookupA(ctx, name)
	}
	return f.env.DNS.LookupAAAA(ctx, name)
}
