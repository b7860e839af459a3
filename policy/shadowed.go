package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"postern/internal/config"
)

// Shadowed finds what can never decide: rules behind others that always come first, entries of lists that an earlier
// one covers, thresholds that nothing can reach. Such entries don't stop a policy from working. It names only certain
// cases, so it may miss some.
func Shadowed(p *Policy) []config.Problem {
	c := compiler{cfg: p.cfg}
	c.shadowedEntries(Block, p.block, len(p.cfg.Block), nil)
	c.shadowedEntries(Allow, p.allow, len(p.cfg.Allow), p.block)
	c.shadowedRules(p.rules)
	c.shadowedThresholds(p)
	return c.problems
}

// shadowedEntries looks at one list; above is the list that is asked before it.
func (c *compiler) shadowedEntries(name ListName, l *list, inFile int, above *list) {
	for i := range l.entries {
		e := &l.entries[i]
		at := fmt.Sprintf("%s[%d]", name, i)
		if i >= inFile { // kept elsewhere
			at = ListEntry{name, e.Entry}.path(i - inFile)
		}
		before := len(c.problems)
		c.shadowedEntry(at, e, i, name, l, above)
		if i >= inFile {
			inNoFile(c.problems[before:])
		}
	}
}

func (c *compiler) shadowedEntry(at string, e *entry, place int, name ListName, l, above *list) {
	if above != nil {
		if other := above.covering(e, len(above.entries), func(*entry) bool { return true }); other != nil {
			c.bad(at, "%s can never let anything in: the block list has %s, and it comes first; take one of the two away", e.name, other.name)
			return
		}
	}
	easier := func(o *entry) bool { return name == Block || o.needsNoProof() || !e.needsNoProof() }
	if other := l.covering(e, place, easier); other != nil {
		c.bad(at, "%s can never be what decides: %s stands before it and covers it; take it away, or put it first", e.name, other.name)
	}
}

func (e *entry) needsNoProof() bool {
	return e.sender == "" || e.network.IsValid() || e.Unauthenticated
}

// covering gives the first of the entries before the one at this place that fits all that an entry fits, nil if none does.
func (l *list) covering(e *entry, before int, also func(*entry) bool) *entry {
	var candidates []int
	if e.sender != "" {
		recipients := wider(e.recipient)
		for _, sender := range wider(e.sender) {
			candidates = append(candidates, first(l.bySender[sender])...)
			for _, r := range recipients {
				candidates = append(candidates, first(l.byPair[pair{sender, r}])...)
			}
		}
	}
	if e.network.IsValid() {
		for bits := e.network.Bits(); bits >= 0; bits-- {
			if net, err := e.network.Addr().Prefix(bits); err == nil {
				candidates = append(candidates, first(l.byNetwork[net])...)
			}
		}
	}
	slices.Sort(candidates)
	for _, i := range candidates {
		if o := &l.entries[i]; i < before && o != e && o.covers(e) && also(o) {
			return o
		}
	}
	return nil
}

// first bounds what one entry is compared with: lists can be long.
func first(entries []int) []int { return entries[:min(len(entries), 1000)] }

// covers reports whether an entry matches all that another one matches, for as long as the other one holds.
func (e *entry) covers(o *entry) bool {
	return (e.sender == "" || slices.Contains(wider(o.sender), e.sender)) && networkCovers(e.network, o.network) &&
		(e.recipient == "" || slices.Contains(wider(o.recipient), e.recipient)) &&
		(e.expires == 0 || o.expires != 0 && o.expires <= e.expires)
}

func networkCovers(wide, narrow netip.Prefix) bool {
	return !wide.IsValid() || narrow.IsValid() && wide.Bits() <= narrow.Bits() && wide.Contains(narrow.Addr())
}

func (c *compiler) shadowedRules(rules []*rule) {
	for i, r := range rules {
		at := c.ruleKey(r)
		if r.when.constant < 0 {
			c.bad(at+".when", "the rule %q never fits: its condition is false; take it away", r.Name)
			continue
		}
		for _, o := range rules[:i] {
			if o.Monitor || !o.always() || !o.covers(r) {
				continue
			}
			if o.Stop {
				c.bad(at, "the rule %q is never asked: %q fits all that it fits, comes first and says stop; take it away, or raise its priority", r.Name, o.Name)
				break
			}
			if o.acts && r.acts && !r.Monitor && !r.does() {
				c.bad(at, "the rule %q never acts: %q fits all that it fits, comes first and has an action; take it away, or raise its priority", r.Name, o.Name)
				break
			}
		}
	}
}

func (c *compiler) ruleKey(r *rule) string {
	i := slices.IndexFunc(c.cfg.Rules, func(one Rule) bool { return one.Name == r.Name })
	return fmt.Sprintf("rule[%d]", i)
}

// always says whether a rule that fits also counts: one that accepts may still want a proof.
func (r *rule) always() bool { return !r.acts || r.disposition != Accept || r.Unauthenticated }

// does reports whether a rule has further effects.
func (r *rule) does() bool {
	return r.Stop || r.changes()
}

// covers reports whether a rule matches all that another one matches.
func (r *rule) covers(o *rule) bool {
	any := func(wide, narrow []string) bool { // one of a list must fit
		return len(wide) == 0 || len(narrow) > 0 && !slices.ContainsFunc(narrow, func(n string) bool { return !slices.Contains(wide, n) })
	}
	none := func(wide, narrow []string) bool { // none of a list may fit
		return !slices.ContainsFunc(wide, func(w string) bool { return !slices.Contains(narrow, w) })
	}
	return (r.Direction == "" || r.Direction == o.Direction) &&
		(r.When == "" || r.when.constant > 0 || r.When == o.When) &&
		any(r.From, o.From) && any(r.To, o.To) && any(r.What, o.What) && any(r.Time, o.Time) &&
		none(r.NotFrom, o.NotFrom) && none(r.NotTo, o.NotTo) && none(r.NotWhat, o.NotWhat) && none(r.NotTime, o.NotTime)
}

// shadowedThresholds finds tags that no message can get, as it would be held or refused.
func (c *compiler) shadowedThresholds(p *Policy) {
	at := func(key string, s *scope) {
		switch {
		case s.limits[0] == s.limits[2]:
			c.bad(key, "no score leads to tag or quarantine: reject = %v is no more than they are; raise reject", s.required.Reject)
		case s.limits[0] == s.limits[1]:
			c.bad(key, "no score leads to tag: quarantine = %v is no more than it; raise quarantine, or lower tag", s.required.Quarantine)
		}
	}
	at("thresholds", p.inbound)
	differs := func(s *scope) bool { return s.limits != p.inbound.limits }
	if differs(p.outbound) {
		at("outbound", p.outbound)
	}
	for _, table := range []struct {
		name   string
		scopes map[string]*scope
	}{{"domain", p.domains}, {"recipient_group", p.groups}, {"recipient", p.recipients}} {
		for _, name := range slices.Sorted(maps.Keys(table.scopes)) {
			if s := table.scopes[name]; differs(s) {
				at(config.JoinKey(table.name, name), s)
			}
		}
	}
}
