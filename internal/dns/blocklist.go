package dns

import (
	"context"
	"net"
	"net/netip"

	"github.com/miekg/dns"
)

// StartA gives the addresses of a name if they are known already. If not, it begins to ask and returns at once with
// known false: a LookupA later finds the answer or waits for it. Block lists are asked so, early in the dialogue.
func (r *Resolver) StartA(ctx context.Context, name string) (list []netip.Addr, known bool, err error) {
	q := question{name + ".", dns.TypeA}
	if !isPlain(name) {
		if q, err = newQuestion(name, dns.TypeA); err != nil {
			return nil, true, err
		}
	}
	if a, ok := r.cache.get(q, r.now()); ok && (len(a.records) > 0 || a.alias == "" || a.nx) {
		for _, rr := range a.records {
			if one, isA := rr.(*dns.A); isA {
				if ip, ok := netip.AddrFromSlice(one.A); ok {
					list = append(list, ip.Unmap())
				}
			}
		}
		if list == nil {
			err = &net.DNSError{Err: "no such name or no such record", Name: name, IsNotFound: true}
		}
		return list, true, err
	}
	// whoever asks does not wait, and the question goes on without him
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, err = r.ask(gone, q)
	return nil, false, err
}

// isPlain says whether a name is what newQuestion would make of it but for the dot at its end: as those of lists are,
// of which each client costs a dozen.
func isPlain(name string) bool {
	label := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.':
			if label == 0 {
				return false
			}
			label = 0
			continue
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-':
		default:
			return false
		}
		if label++; label > 63 {
			return false
		}
	}
	return label > 0 && len(name) <= 253
}
