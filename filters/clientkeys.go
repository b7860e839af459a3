package filters

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"postern/internal/mail"
	"postern/internal/state"
)

// State that one filter writes and others read. Filters don't depend on each other, so shared state is here.

// ClientKey is the address as limits and reputations count it: of IPv6 its /64, as RFC 4291 section 2.5.4 gives each host
// that many addresses. It is "" without an address.
func ClientKey(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		return prefix(a, 64)
	}
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// NetworkKey is the network of an address: /24, of IPv6 /48.
func NetworkKey(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		return prefix(a, 48)
	}
	return prefix(a, 24)
}

func prefix(a netip.Addr, bits int) string {
	p, err := a.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}

// Public says whether an address can be that of a stranger's machine. All mail from a private one, or none of it, comes
// through a machine of ours: what it did before says nothing.
func Public(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsValid() && !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsUnspecified()
}

// RegisteredDomain is the registered domain of a name, by the public-suffix list; the domain itself if there is none
// above it. The domain is in A-labels.
func RegisteredDomain(domain string) string {
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	if d, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil {
		return d
	}
	return domain
}

// ProvenDomains are the domains that SPF or DKIM stood for, in A-labels, as they were found. It is known at StageMessage.
func ProvenDomains(tx *mail.Transaction) (spf, dkim []string) {
	each := func(found []Finding) {
		for i := range found {
			switch v := found[i].Value.(type) {
			case SPF:
				spf = append(spf, v.AuthenticatedDomains()...)
			case DKIM:
				dkim = append(dkim, v.AuthenticatedDomains()...)
			}
		}
	}
	each(tx.Session.Findings)
	each(tx.Findings)
	return spf, dkim
}

// LastRecipient is the one in question at RCPT, the null address if there is none.
func LastRecipient(tx *mail.Transaction) mail.Address {
	if n := len(tx.Recipients); n > 0 {
		return tx.Recipients[n-1].Address
	}
	return mail.Address{}
}

// The kinds of the keys below.
const (
	kindCorrespondent = "corr"
	kindGood          = "good"
)

// CorrespondentKey is the key under which it is remembered that ours wrote to theirs: two addresses (mail.Address.Key),
// two domains, or "*" for any user of ours. The filter correspondents keeps it.
func CorrespondentKey(ours, theirs string) string { return state.Key(kindCorrespondent, ours, theirs) }

// Corresponds says whether one of ours has written to one of theirs.
func Corresponds(ctx context.Context, s *state.State, ours, theirs mail.Address) bool {
	if theirs.IsNull() {
		return false
	}
	_, ok := s.Get(ctx, CorrespondentKey(ours.Key(), theirs.Key()))
	return ok
}

// CorrespondsDomain reports whether a user of our domain has written to an address in theirs.
func CorrespondsDomain(ctx context.Context, s *state.State, ours, theirs string) bool {
	_, ok := s.Get(ctx, CorrespondentKey(ours, theirs))
	return ok
}

// GoodClient says whether an address has a good name: much of its mail was good, hardly any bad. The filter reputation
// keeps that. It takes well below a microsecond, with Redis one question.
func GoodClient(ctx context.Context, s *state.State, client netip.Addr) bool {
	key := ClientKey(client)
	if key == "" {
		return false
	}
	_, ok := s.Get(ctx, state.Key(kindGood, key))
	return ok
}

// SetGoodClient remembers for a time that an address has a good name, or forgets it.
func SetGoodClient(ctx context.Context, s *state.State, client netip.Addr, good bool, keep time.Duration) {
	key := state.Key(kindGood, ClientKey(client))
	if good {
		s.Put(ctx, key, []byte{1}, keep)
		return
	}
	if _, known := s.Get(ctx, key); known {
		s.Delete(ctx, key)
	}
}

// SetCorrespondent remembers for a time that ours wrote to theirs: by addresses, by domains, and by any user.
func SetCorrespondent(ctx context.Context, s *state.State, ours, theirs mail.Address, keep time.Duration) {
	for _, key := range []string{
		CorrespondentKey(ours.Key(), theirs.Key()), CorrespondentKey("*", theirs.Key()),
		CorrespondentKey(ours.ASCIIDomain(), theirs.ASCIIDomain()),
	} {
		s.Put(ctx, key, []byte{1}, keep)
	}
	SetPartner(ctx, s, theirs.ASCIIDomain(), keep)
}
