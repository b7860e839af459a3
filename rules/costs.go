package rules

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Shared is the name under which the costs stand that rules have in common: texts, and the pass over them.
const Shared = "(all rules together)"

// sampleEvery is how many messages there are for one whose rules are timed: on all others a rule costs one comparison more.
const sampleEvery = 64

// Cost is what a rule took on the messages that were timed.
type Cost struct {
	// Tried is on how many it was run, Candidates on how many it was looked for in earnest: the common pass over the text, if
	// there is one for it, did not rule it out. Confirmed is on how many of those it held.
	Tried      int64 `json:"tried"`
	Candidates int64 `json:"candidates"`
	Confirmed  int64 `json:"confirmed"`
	// Nanos are nanoseconds.
	Nanos int64 `json:"nanos"`
}

func (c Cost) plus(o Cost) Cost {
	return Cost{c.Tried + o.Tried, c.Candidates + o.Candidates, c.Confirmed + o.Confirmed, c.Nanos + o.Nanos}
}

// Costs remembers what rules took. It is safe for use by many goroutines; a nil one remembers nothing.
type Costs struct {
	seen atomic.Int64

	mu    sync.Mutex
	timed int64
	by    map[string]Cost
}

// CostReport is what is known of the costs of rules.
type CostReport struct {
	// Since is when counting began; Messages were timed.
	Since    time.Time       `json:"since,omitzero"`
	Messages int64           `json:"messages"`
	Rules    map[string]Cost `json:"rules"`
}

// Report gives what is known by now.
func (c *Costs) Report() CostReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	return CostReport{Messages: c.timed, Rules: maps.Clone(c.by)}
}

// sample says whether the next message is timed. The first one is not: it builds what the others use.
func (c *Costs) sample() bool { return c != nil && c.seen.Add(1)%sampleEvery == 0 }

// stopwatch times the rules on one message.
type stopwatch struct {
	by map[*rule]*Cost
	// shared is what texts took so far; it belongs to no rule.
	shared time.Duration
}

func (s *stopwatch) cost(r *rule) *Cost {
	c := s.by[r]
	if c == nil {
		c = &Cost{}
		s.by[r] = c
	}
	return c
}

// timed runs a rule and notes what it took.
func (m *matcher) timed(r *rule, o *outcome) {
	before, start := m.watch.shared, time.Now()
	m.measured(r, o)
	c := m.watch.cost(r)
	c.Tried++
	c.Nanos += int64(time.Since(start) - (m.watch.shared - before))
	if o.value != 0 {
		c.Confirmed++
	}
	if m.candidate(r) {
		c.Candidates++
	}
}

// candidate says whether a rule that has run was looked for in earnest.
func (m *matcher) candidate(r *rule) bool {
	if r.kind > kindFull || r.group == nil {
		return true
	}
	t := m.texts[r.group.place]

	return t == nil || t.may(r)
}

// timedTexts makes texts and notes what that took.
func (m *matcher) timedTexts(make func()) {
	if m.watch == nil {
		make()
		return
	}
	start := time.Now()
	make()
	m.watch.shared += time.Since(start)
}

// add takes what one message took.
func (c *Costs) add(s *stopwatch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = map[string]Cost{}
	}
	c.timed++
	for r, one := range s.by {
		c.by[r.name] = c.by[r.name].plus(*one)
	}
	c.by[Shared] = c.by[Shared].plus(Cost{Tried: 1, Nanos: int64(s.shared)})
}
