package mapfile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"postern/internal/mail"
	"postern/rules/perlre"
)

// Find gives the first entry of the file that fits a value and holds on a day, as in "2027-01-31". An address also fits by its
// domain. Expressions take their steps from the budget; where it is exhausted, nothing that follows is said to fit.
func (m *Map) Find(value, day string, b *perlre.Budget) (Entry, bool) {
	value = value[:min(len(value), maxValue)]
	best := m.first(m.filed(value), day)
	for _, i := range m.candidates(value) {
		p := m.patterns[i]
		if best >= 0 && p.entry > best || m.entries[p.entry].Expired(day) {
			continue
		}
		if _, ok := p.re.Find(value, 0, b); ok {
			best = p.entry // those behind it in the file are behind it here
			break
		}
		if b.Exhausted() {
			break
		}
	}
	if best < 0 {
		return Entry{}, false
	}
	return m.entries[best], true
}

// first is the first entry of those that holds on a day, -1 for none.
func (m *Map) first(found []int32, day string) int32 {
	best := int32(-1)
	for _, n := range found {
		if (best < 0 || n < best) && !m.entries[n].Expired(day) {
			best = n
		}
	}
	return best
}

// candidates are the expressions that may match a value, in their order.
func (m *Map) candidates(value string) (all []int) {
	if m.scan == nil {
		for i := range m.patterns {
			all = append(all, i)
		}
		return all
	}
	found := m.scan.NewFound()
	m.scan.Candidates(value, found)
	for i := range m.patterns {
		if found.May(i) {
			all = append(all, i)
		}
	}
	return all
}

// filed are the entries that are no expressions and fit.
func (m *Map) filed(value string) []int32 {
	if value == "" || value == "<>" {
		return m.addresses["<>"]
	}
	if ip, err := netip.ParseAddr(strings.Trim(value, "[]")); err == nil {
		return m.networks.find(ip)
	}
	if at := strings.LastIndexByte(value, '@'); at >= 0 {
		return m.address(value, at)
	}
	return m.domain(mail.ASCIIDomain(strings.TrimPrefix(value, ".")))
}

func (m *Map) address(value string, at int) []int32 {
	key := strings.ToLower(value)
	domain := mail.ASCIIDomain(value[at+1:])
	if a, err := mail.ParseAddress(value); err == nil {
		key = a.Key()
	}
	found := slices.Clone(m.addresses[key])
	for _, under := range []string{domain, ""} {
		for _, g := range m.globs[under] {
			if globbed(g.text, key) {
				found = append(found, g.entry)
			}
		}
		if domain == "" {
			break
		}
	}
	return append(found, m.domain(domain)...)
}

// domain gives the entries of a domain, and those of all names below one that it is in.
func (m *Map) domain(name string) []int32 {
	if name == "" || len(m.domains) == 0 {
		return nil
	}
	found := slices.Clone(m.domains[name])
	for rest := name; ; {
		i := strings.IndexByte(rest, '.')
		if i < 0 {
			return found
		}
		found = append(found, m.domains[rest[i:]]...)
		rest = rest[i+1:]
	}
}

// globbed matches a pattern with * and ? against a whole text.
func globbed(pattern, text string) bool {
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(text) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, mark = i, j
			i++
		case i < len(pattern) && (pattern[i] == '?' || pattern[i] == text[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}

// networks finds the networks that an address is in by looking for each length that there is.
type networks struct {
	entries map[netip.Prefix][]int32
	bits    [2][]int // in use, of IPv4 and IPv6
}

func newNetworks() networks { return networks{entries: map[netip.Prefix][]int32{}} }

func family(a netip.Addr) int {
	if a.Is6() {
		return 1
	}
	return 0
}

func (s *networks) add(text string, n int32) error {
	p, err := readPrefix(text)
	if err != nil {
		return fmt.Errorf("%.60q is not a network; write 192.0.2.0/24, 2001:db8::/32 or an address: %w", text, err)
	}
	s.entries[p] = append(s.entries[p], n)
	f := family(p.Addr())
	if !slices.Contains(s.bits[f], p.Bits()) {
		s.bits[f] = append(s.bits[f], p.Bits())
	}
	return nil
}

func (s *networks) find(a netip.Addr) (found []int32) {
	a = a.Unmap().WithZone("")
	for _, bits := range s.bits[family(a)] {
		if p, err := a.Prefix(bits); err == nil {
			found = append(found, s.entries[p]...)
		}
	}
	return found
}
