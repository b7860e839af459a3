package eval

import (
	"strings"
	"sync"

	"postern/rules/perlre"
	"postern/rules/views"
)

// Config is what lines of rule files say besides rules: lists of addresses, hosts and domains.
type Config struct {
	Domains *views.Domains
	// Addresses are lists by name: "welcomelist_from" and the like.
	Addresses map[string]*AddressList
	// Received are lists of addresses with the hosts they come from, or the domains that sign for them.
	Received map[string]*PairList
	// Hosts are lists of hosts of links; false takes a host out.
	Hosts map[string]map[string]bool
	// Freemail are domains of free mailboxes, FreemailExempt addresses and domains that are none.
	Freemail       *AddressList
	FreemailExempt map[string]bool
	// Numbers and Words are single settings by name.
	Numbers map[string]float64
	Words   map[string]string
	// URILists say how links are looked up, by rule.
	URILists map[string]URIList
	// SetZones says at which list the rules that share a set's answers ask.
	SetZones map[string]setZone
	// SkipDomains are not looked up.
	SkipDomains map[string]bool

	mu       sync.RWMutex
	patterns map[string]*perlre.Regexp
}

// URIList is a list in the DNS that links are looked up in.
type URIList struct {
	Zone string
	// Host says that names are looked up, not addresses.
	Host bool
	Test Subtest
}

// NewConfig makes an empty one.
func NewConfig() *Config {
	return &Config{
		Domains: &views.Domains{}, Addresses: map[string]*AddressList{}, Received: map[string]*PairList{}, Hosts: map[string]map[string]bool{},
		Freemail: NewAddressList(), FreemailExempt: map[string]bool{}, Numbers: map[string]float64{}, Words: map[string]string{},
		URILists: map[string]URIList{}, SkipDomains: map[string]bool{}, patterns: map[string]*perlre.Regexp{},
	}
}

// pattern compiles an expression once; one that can't be compiled is nil.
func (c *Config) pattern(expr string) *perlre.Regexp {
	c.mu.RLock()
	re, ok := c.patterns[expr]
	c.mu.RUnlock()
	if ok {
		return re
	}
	re, err := perlre.Compile(expr, 0)
	if err != nil {
		re = nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.patterns[expr] = re
	return re
}

// number is a setting, or what holds where it is not set.
func (c *Config) number(name string, otherwise float64) float64 {
	if n, ok := c.Numbers[name]; ok {
		return n
	}
	return otherwise
}

// AddressList is a list of addresses in which * and ? stand for any text and any character.
type AddressList struct {
	exact map[string]bool
	globs []string
}

// NewAddressList makes an empty list.
func NewAddressList() *AddressList { return &AddressList{exact: map[string]bool{}} }

// Add takes entries.
func (l *AddressList) Add(entries ...string) {
	for _, e := range entries {
		e = strings.ToLower(e)
		if l.exact[e] {
			continue
		}
		l.exact[e] = true
		if strings.ContainsAny(e, "*?") {
			l.globs = append(l.globs, e)
		}
	}
}

// Remove takes entries out.
func (l *AddressList) Remove(entries ...string) {
	for _, e := range entries {
		e = strings.ToLower(e)
		delete(l.exact, e)
		kept := l.globs[:0]
		for _, g := range l.globs {
			if g != e {
				kept = append(kept, g)
			}
		}
		l.globs = kept
	}
}

// Len is the number of entries.
func (l *AddressList) Len() int {
	if l == nil {
		return 0
	}
	return len(l.exact)
}

// Holds says whether an address is in the list.
func (l *AddressList) Holds(address string) bool {
	if l == nil || len(l.exact) == 0 {
		return false
	}
	address = strings.ToLower(address)
	if l.exact[address] {
		return true
	}
	for _, g := range l.globs {
		if glob(g, address) {
			return true
		}
	}
	return false
}

// glob matches a pattern with * and ? against a whole text.
func glob(pattern, text string) bool {
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
	for i < len(pattern) && pattern[i] == '*' {
		i++
	}
	return i == len(pattern)
}

// PairList is a list of addresses and what each goes with.
type PairList struct {
	entries []pair
}

type pair struct {
	address string
	with    []string
}

// Add takes an entry.
func (l *PairList) Add(address, with string) {
	address, with = strings.ToLower(address), strings.ToLower(with)
	for i := range l.entries {
		if l.entries[i].address == address {
			l.entries[i].with = append(l.entries[i].with, with)
			return
		}
	}
	l.entries = append(l.entries, pair{address, []string{with}})
}

// Remove takes an address out.
func (l *PairList) Remove(addresses ...string) {
	for _, a := range addresses {
		kept := l.entries[:0]
		for _, e := range l.entries {
			if e.address != strings.ToLower(a) {
				kept = append(kept, e)
			}
		}
		l.entries = kept
	}
}

// of gives what goes with an address.
func (l *PairList) of(address string) []string {
	if l == nil {
		return nil
	}
	address = strings.ToLower(address)
	var all []string
	for _, e := range l.entries {
		if glob(e.address, address) {
			all = append(all, e.with...)
		}
	}
	return all
}
