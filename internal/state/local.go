package state

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// What State asks of a node's own memory, and below that what only the shadow of Redis needs.

func (m *memory) take(key string, c cost) (ok bool, idle rateCell, retry time.Duration) {
	now := m.now()
	s, k := m.at(key)
	defer s.mu.Unlock()
	idle, ok, retry = k.rates[key].take(now, c)
	if ok && c.events > 0 {
		keep(s, k, k.rates, key, idle, now)
	}
	return ok, idle, retry
}

func (m *memory) tally(key string, add Tally, half time.Duration) Tally {
	now := m.now()
	s, k := m.at(key)
	defer s.mu.Unlock()
	c := k.tallies[key]
	if add == (Tally{}) {
		return c.decayed(now, half)
	}
	c = c.plus(add, now, half)
	keep(s, k, k.tallies, key, c, now)
	return c.sums
}

func (m *memory) addTo(key string, member uint64, d time.Duration) (size int, fresh bool) {
	now := m.now()
	s, k := m.at(key)
	defer s.mu.Unlock()
	c := k.sets[key]
	if c.expires <= now {
		c = setCell{}
	}
	fresh = c.add(member)
	c.expires = later(now, d)
	keep(s, k, k.sets, key, c, now)
	return c.size(), fresh
}

func (m *memory) size(key string) int {
	now := m.now()
	s, k := m.at(key)
	defer s.mu.Unlock()
	c := k.sets[key]
	if c.expires <= now {
		return 0
	}
	return c.size()
}

func (m *memory) newValue(value []byte, d time.Duration) valueCell {
	now := m.now()
	return valueCell{octets: string(value), put: now, expires: later(now, d)}
}

func (m *memory) get(key string) (valueCell, bool) {
	now := m.now()
	s, k := m.at(key)
	defer s.mu.Unlock()
	c := k.values[key]
	if c.expires <= now {
		return valueCell{}, false
	}
	return c, true
}

func (m *memory) put(key string, v valueCell) {
	s, k := m.at(key)
	defer s.mu.Unlock()
	keep(s, k, k.values, key, v, v.put)
}

func (m *memory) putNew(key string, v valueCell) (old valueCell, stored bool) {
	s, k := m.at(key)
	defer s.mu.Unlock()
	if c := k.values[key]; c.expires > v.put {
		return c, false
	}
	keep(s, k, k.values, key, v, v.put)
	return valueCell{}, true
}

func (m *memory) delete(key string) {
	s, k := m.at(key)
	defer s.mu.Unlock()
	forget(s, k, k.rates, key)
	forget(s, k, k.tallies, key)
	forget(s, k, k.sets, key)
	forget(s, k, k.values, key)
}

func (m *memory) list(prefix string, limit int) []Entry {
	now := m.now()
	var all []Entry
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		for name, k := range s.kinds {
			if kind, _, whole := strings.Cut(prefix, ":"); whole && name != kind && name != "" {
				continue
			}
			for key, c := range k.values {
				if c.expires > now && strings.HasPrefix(key, prefix) {
					all = append(all, c.entry(key))
				}
			}
		}
		s.mu.Unlock()
		if len(all) > 4*limit {
			all = first(all, limit)
		}
	}
	return first(all, limit)
}

func (c valueCell) entry(key string) Entry {
	return Entry{Key: key, Value: []byte(c.octets), Expires: time.Unix(0, c.expires)}
}

// first is the first few entries in the order of their keys.
func first(all []Entry, limit int) []Entry {
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) })
	return all[:min(len(all), max(limit, 0))]
}

// rate is the cell of a rate as it is.
func (m *memory) rate(key string) rateCell {
	s, k := m.at(key)
	defer s.mu.Unlock()
	return k.rates[key]
}

// learnRate keeps what Redis answered, or what is known here if that is more: answers may come out of order.
func (m *memory) learnRate(key string, idle rateCell) {
	now := m.now()
	s, k := m.at(key)
	defer s.mu.Unlock()
	if idle > max(k.rates[key], rateCell(now)) {
		keep(s, k, k.rates, key, idle, now)
	}
}

func (m *memory) tallyCell(key string) tallyCell {
	s, k := m.at(key)
	defer s.mu.Unlock()
	return k.tallies[key]
}

func (m *memory) learnTally(key string, c tallyCell) {
	s, k := m.at(key)
	defer s.mu.Unlock()
	if c.at >= k.tallies[key].at && c.sums != (Tally{}) {
		keep(s, k, k.tallies, key, c, c.at)
	}
}

// learnSet keeps how many members Redis knows, and those of them that came by.
func (m *memory) learnSet(key string, members []uint64, size int, expires int64) {
	now := m.now()
	s, k := m.at(key)
	defer s.mu.Unlock()
	c := k.sets[key]
	if c.expires <= now {
		c = setCell{}
	}
	c.extra = 0 // counted anew below
	for _, member := range members {
		c.add(member)
	}
	c.extra = max(size-len(c.members), 0)
	c.expires = max(c.expires, expires)
	keep(s, k, k.sets, key, c, now)
}

// member is a set, whose members must not be looked at, and says whether one is among them.
func (m *memory) member(key string, member uint64) (c setCell, has bool) {
	now := m.now()
	s, k := m.at(key)
	defer s.mu.Unlock()
	c = k.sets[key]
	if c.expires <= now {
		return setCell{}, false
	}
	_, has = slices.BinarySearch(c.members, member)
	return c, has
}

// members is a copy of a set.
func (m *memory) members(key string) setCell {
	now := m.now()
	s, k := m.at(key)
	defer s.mu.Unlock()
	c := k.sets[key]
	if c.expires <= now {
		return setCell{}
	}
	c.members = slices.Clone(c.members)
	return c
}

// learnValue keeps what Redis has unless what is here is newer.
func (m *memory) learnValue(key string, v valueCell) {
	s, k := m.at(key)
	defer s.mu.Unlock()
	if v.put >= k.values[key].put {
		keep(s, k, k.values, key, v, v.put)
	}
}

// unlearnValue forgets a value that Redis does not have, if it was put before the question.
func (m *memory) unlearnValue(key string, before int64) {
	s, k := m.at(key)
	defer s.mu.Unlock()
	if c, ok := k.values[key]; ok && c.put < before {
		forget(s, k, k.values, key)
	}
}
