package policy

import (
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"postern/internal/mail"
	"postern/policy/calendar"
)

// list finds the entries that may fit a message without looking at all of them: each is filed under its sender, and its
// recipient if it names one as well, else under its network. The first entry of the file that fits is the one that counts.
type list struct {
	entries   []entry
	bySender  map[string][]int // those without a recipient
	byPair    map[pair][]int
	byNetwork map[netip.Prefix][]int
	bits      [2][]int // the prefix lengths in use, IPv4 and IPv6
	addresses bool     // whether an entry names a single address
}

type pair struct{ sender, recipient string }

type entry struct {
	Entry
	name      string // for reasons: "sender partner.example from 192.0.2.0/24"
	sender    string // normalised
	recipient string
	network   netip.Prefix
	expires   calendar.Minute // 0 for never
}

// parties of a message, in the forms in which entries are filed.
type parties struct {
	client    netip.Addr
	envelope  mail.Address
	authors   []mail.Address
	recipient mail.Address
	at        calendar.Minute
}

func newList(zone calendar.Zone, entries []Entry) *list {
	l := &list{bySender: map[string][]int{}, byPair: map[pair][]int{}, byNetwork: map[netip.Prefix][]int{}}
	for i, e := range entries {
		one := entry{Entry: e, name: e.name(), sender: pattern(e.Sender), recipient: pattern(e.Recipient), network: e.Network.Prefix}
		if e.Expires != "" {
			one.expires, _ = calendar.EndOfDay(e.Expires, zone) // compiler.entry says what is wrong with it
		}
		l.entries = append(l.entries, one)
		if one.sender != "" {
			if one.recipient != "" {
				key := pair{one.sender, one.recipient}
				l.byPair[key] = append(l.byPair[key], i)
			} else {
				l.bySender[one.sender] = append(l.bySender[one.sender], i)
			}
			l.addresses = l.addresses || strings.Contains(one.sender, "@")
			continue
		}
		l.byNetwork[one.network] = append(l.byNetwork[one.network], i)
		family := 0
		if one.network.Addr().Is6() {
			family = 1
		}
		if !slices.Contains(l.bits[family], one.network.Bits()) {
			l.bits[family] = append(l.bits[family], one.network.Bits())
		}
	}
	return l
}

func (e Entry) name() string {
	var parts []string
	if e.Sender != "" {
		parts = append(parts, "sender "+e.Sender)
	}
	if e.Network.IsValid() {
		parts = append(parts, "network "+e.Network.String())
	}
	if e.Recipient != "" {
		parts = append(parts, "recipient "+e.Recipient)
	}
	return strings.Join(parts, ", ")
}

// pattern brings an address, a domain or ".domain" into the form in which they are compared; "" if it is none of them.
func pattern(text string) string {
	switch {
	case text == "" || text == "<>":
		return text
	case text[0] == '.':
		if d := mail.ASCIIDomain(text[1:]); mail.ValidDomain(text[1:]) && d != "" {
			return "." + d
		}
		return ""
	case !strings.Contains(text, "@"):
		if !mail.ValidDomain(text) {
			return ""
		}
		return mail.ASCIIDomain(text)
	}
	a, err := mail.ParseAddress(text)
	if err != nil {
		return ""
	}
	return a.Key()
}

// fits says whether an address falls under a pattern.
func fits(pattern string, a mail.Address) bool {
	switch {
	case pattern == "<>":
		return a.IsNull()
	case pattern == "":
		return true
	case strings.Contains(pattern, "@"):
		return a.Key() == pattern
	case pattern[0] == '.':
		return strings.HasSuffix(a.ASCIIDomain(), pattern) && len(a.ASCIIDomain()) > len(pattern)
	}
	return a.ASCIIDomain() == pattern
}

// match gives the entries that fit, in the order of the file, until one satisfies want.
func (l *list) match(p parties, want func(*entry) bool) (*entry, bool) {
	if len(l.entries) == 0 {
		return nil, false
	}
	var recipients []string // the forms in which entries name this one
	if len(l.byPair) > 0 && !p.recipient.IsNull() {
		recipients = wider(p.recipient.Key())
	}
	candidates := l.senderCandidates(nil, p.envelope, recipients)
	for _, a := range p.authors {
		candidates = l.senderCandidates(candidates, a, recipients)
	}
	candidates = l.networkCandidates(candidates, p.client)
	slices.Sort(candidates)
	for _, i := range slices.Compact(candidates) {
		e := &l.entries[i]
		if e.expires != 0 && p.at >= e.expires {
			continue
		}
		if e.network.IsValid() && !e.network.Contains(p.client) {
			continue
		}
		// an entry for one recipient says nothing before the recipient is known
		if e.recipient != "" && (p.recipient.IsNull() || !fits(e.recipient, p.recipient)) {
			continue
		}
		if want(e) {
			return e, true
		}
	}
	return nil, false
}

func (l *list) senderCandidates(found []int, a mail.Address, recipients []string) []int {
	if len(l.bySender)+len(l.byPair) == 0 {
		return found
	}
	if a.IsNull() {
		return l.filed(found, "<>", recipients)
	}
	domain := a.ASCIIDomain()
	if l.addresses {
		found = l.filed(found, a.Key(), recipients)
	}
	if domain == "" {
		return found
	}
	found = l.filed(found, domain, recipients)
	for rest := domain; ; {
		i := strings.IndexByte(rest, '.')
		if i < 0 {
			return found
		}
		found = l.filed(found, rest[i:], recipients)
		rest = rest[i+1:]
	}
}

// filed adds the entries under one form of a sender.
func (l *list) filed(found []int, sender string, recipients []string) []int {
	found = append(found, l.bySender[sender]...)
	for _, r := range recipients {
		found = append(found, l.byPair[pair{sender, r}]...)
	}
	return found
}

// wider are a pattern and all that fit whatever it fits; of an address those that fit it.
func wider(pattern string) []string {
	if pattern == "" {
		return nil
	}
	all := []string{pattern}
	domain := pattern
	if i := strings.LastIndexByte(pattern, '@'); i >= 0 {
		domain = pattern[i+1:]
		all = append(all, domain)
	}
	for rest := strings.TrimPrefix(domain, "."); ; {
		i := strings.IndexByte(rest, '.')
		if i < 0 {
			return all
		}
		all = append(all, rest[i:])
		rest = rest[i+1:]
	}
}

func (l *list) networkCandidates(found []int, client netip.Addr) []int {
	if !client.IsValid() {
		return found
	}
	family := 0
	if client.Is6() {
		family = 1
	}
	for _, bits := range l.bits[family] {
		if p, err := client.Prefix(bits); err == nil {
			found = append(found, l.byNetwork[p]...)
		}
	}
	return found
}

// proven says whether the sender that an allow entry names is who it claims to be: SPF or DKIM passed for a domain that
// is aligned, as DMARC has it (RFC 9989, relaxed), with the address that fits the entry. Of several authors none is
// proven: readers show only one of them, and the sender chose which.
func (e *entry) proven(p parties, authenticated []string) bool {
	if e.sender == "" || e.network.IsValid() || e.Unauthenticated {
		return true
	}
	if fits(e.sender, p.envelope) && aligned(p.envelope.ASCIIDomain(), authenticated) {
		return true
	}
	return len(p.authors) == 1 && fits(e.sender, p.authors[0]) && aligned(p.authors[0].ASCIIDomain(), authenticated)
}

func aligned(domain string, authenticated []string) bool {
	if domain == "" {
		return false
	}
	organization := organizational(domain)
	for _, a := range authenticated {
		if a == domain || a != "" && organizational(a) == organization {
			return true
		}
	}
	return false
}

// organizational is the domain that was registered. A public suffix stands for itself.
func organizational(domain string) string {
	if d, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil {
		return d
	}
	return domain
}
