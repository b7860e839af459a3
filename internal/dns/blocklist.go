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
	if a, ok := r.cache.get(q, r.now()); ok && a.isFinal() {
		if list = addressesOf(a.records, dns.TypeA); list == nil {
			err = &net.DNSError{Err: "no such name or no such record", Name: name, IsNotFound: true}
		}
		return list, true, err
	}
	// the caller does not wait, and the question goes on without it
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, err = r.ask(gone, q)
	return nil, false, err
}

// isFinal says that an answer does not end at an alias that would have to be asked for next.
func (a answer) isFinal() bool { return len(a.records) > 0 || a.alias == "" || a.nx }

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
