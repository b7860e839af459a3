// Package health is the table of what the gateway depends on: each row is asked now and then, and is up, slow or away. It
// tells trouble that lasts to the admin.
package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"postern/filters"
	"postern/internal/state"
	"postern/policy/records/ledger"
)

// Standing is how a dependency is.
type Standing string

// The standings. What is slow answers, late: it is used as ever, and whoever waits for it waits longer.
const (
	Up   Standing = "up"
	Slow Standing = "slow"
	Away Standing = "away"
)

// Dependency is one row of the health table: something that this gateway needs and that is not part of it.
type Dependency struct {
	// Kind is filter, dns, ldap, hop, mail_backend, redis, database or disk; Name tells those of a kind apart, Address is where
	// it is.
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Address string `json:"address,omitempty"`
	// Up is set for what is slow, too.
	Up    bool     `json:"up"`
	State Standing `json:"state"`
	// Since is when it came to be so; Why is what is wrong.
	Since time.Time `json:"since,omitzero"`
	Why   string    `json:"why,omitempty"`
	// Late is set for what is slow if its answers come later than they are waited for: then it is done without.
	Late bool `json:"late,omitempty"`
	// Took is how long the last answer took, in milliseconds.
	Took int64 `json:"answer_ms,omitempty"`
	// Without says what happens to mail as long as it is away, or late.
	Without string `json:"without"`
	// Required is set where no mail passes without it.
	Required bool `json:"required,omitempty"`
}

func (d *Dependency) set(state Standing, since time.Time, why string) {
	d.Up, d.State, d.Since, d.Why, d.Late = state != Away, state, since, why, false
}

// How often is asked, and how long one waits for an answer. What is silent for that long is away at once; what refuses, or
// answers nonsense, is asked once more before it is called away, and twice before it is called back. What answers later than
// slowAnswer twice in a row is slow.
const (
	Tick       = time.Second
	pingEvery  = 2 * time.Second
	pingWait   = 5 * time.Second
	slowAnswer = time.Second
	// TalkEvery is for servers that write each visit into their log.
	TalkEvery = 3 * time.Second
)

// Pinger is what the table asks about one dependency.
type Pinger struct {
	// Row is what stands in the table, Ping how it is asked.
	Row  Dependency
	Ping func(context.Context) error
	// Every is how often it is asked, 0 for every two seconds; Wait how long one waits, 0 for five seconds.
	Every, Wait time.Duration

	last              time.Time
	begun             time.Time // when the first of the bad, or of the slow answers was asked for
	bad, good         int
	slow, quick       int
	hurry, busy, seen bool
}

// unsure says whether the next answer may make another standing: it is asked for soon.
func (p *Pinger) unsure() bool {
	return !p.seen || p.bad > 0 && p.Row.Up || p.good > 0 && !p.Row.Up || p.slow > 0 && p.Row.State == Up ||
		p.quick > 0 && p.Row.State == Slow
}

// Table is the health table.
type Table struct {
	mu   sync.Mutex
	rows map[string]*Pinger
	// Now is the clock. Changed hears that a row has changed, nil for nobody.
	Now     func() time.Time
	Changed func(Dependency)
}

func (t *Table) key(kind, name string) string { return kind + " " + name }

// Use puts these dependencies in place of those that were asked before; what is known of them is kept.
func (t *Table) Use(list []*Pinger) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fresh := map[string]*Pinger{}
	for _, p := range list {
		key := t.key(p.Row.Kind, p.Row.Name)
		p.Row.set(Up, t.Now(), "")
		if old := t.rows[key]; old != nil && old.Row.Address == p.Row.Address {
			p.Row.set(old.Row.State, old.Row.Since, old.Row.Why)
		}
		fresh[key] = p
	}
	t.rows = fresh
}

// List gives the rows, in a fixed order.
func (t *Table) List() []Dependency {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []Dependency
	for _, key := range slices.Sorted(maps.Keys(t.rows)) {
		all = append(all, t.rows[key].Row)
	}
	return all
}

// Away implements filters.Watcher.
func (t *Table) Away(filter string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.rows[t.key("filter", filter)]
	return p != nil && !p.Row.Up
}

// Failed implements filters.Watcher: the server is asked at the next tick. That it failed with one message says nothing: a
// message that a scanner can't read must not switch it off for the others.
func (t *Table) Failed(filter string) { t.Hurry("filter", filter) }

// Hurry has a dependency asked at the next tick.
func (t *Table) Hurry(kind, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.rows[t.key(kind, name)]; p != nil {
		p.hurry = true
	}
}

// Look asks those whose turn it is, side by side, and waits for nobody: who is slow is not asked again meanwhile.
func (t *Table) Look(ctx context.Context) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.rows {
		pause := cmp.Or(p.Every, pingEvery)
		if p.hurry || p.unsure() {
			pause = Tick
		}
		if p.busy || now.Sub(p.last) < pause-Tick/10 {
			continue
		}
		p.busy, p.last, p.hurry = true, now, false
		go t.ask(ctx, p)
	}
}

// answer is what a ping said, and how long it took.
type answer struct {
	err         error
	silent      bool
	late        string // what is slow of it, where it knows better than the table
	asked, came time.Time
	took        time.Duration
}

func (t *Table) ask(ctx context.Context, p *Pinger) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(p.Wait, pingWait))
	defer cancel()
	a := answer{asked: t.Now()}
	begun := time.Now()
	a.err = p.Ping(ctx)
	a.took, a.came = time.Since(begun), t.Now()
	if errors.Is(a.err, state.ErrSlow) {
		a.err, a.late = nil, a.err.Error()
	}
	a.silent = a.err != nil && (errors.Is(a.err, context.DeadlineExceeded) || errors.Is(a.err, os.ErrDeadlineExceeded) || ctx.Err() != nil)
	if errors.Is(ctx.Err(), context.Canceled) {
		return // the gateway ends
	}

	t.mu.Lock()
	p.busy = false
	before := p.Row
	p.note(a)
	after := p.Row
	t.mu.Unlock()

	if before.State != after.State && t.Changed != nil {
		t.Changed(after)
	}
}

// note draws the consequence of an answer.
func (p *Pinger) note(a answer) {
	p.seen = true
	if a.err != nil {
		p.failed(a)
		return
	}
	p.bad = 0
	p.good++
	p.Row.Took = a.took.Milliseconds()
	if a.late != "" || a.took > slowAnswer {
		if p.slow++; p.slow == 1 {
			p.begun = a.asked
		}
		p.quick = 0
	} else {
		p.quick++
		p.slow = 0
	}

	why := cmp.Or(a.late, fmt.Sprintf("it answers after %.1f s", a.took.Seconds()))
	switch {
	case p.Row.State == Away && p.good < 2:
	case p.slow >= 2 && p.Row.State == Slow:
		p.Row.Why = why
	case p.slow >= 2:
		p.Row.set(Slow, p.begun, why)
		p.Row.Late = a.late != ""
	case p.quick >= 2 && p.Row.State != Up:
		p.Row.set(Up, a.came, "")
	}
}

// failed notes an answer that is none.
func (p *Pinger) failed(a answer) {
	p.good, p.slow, p.quick = 0, 0, 0
	if p.bad++; p.bad == 1 {
		p.begun = a.asked
	}
	why := ledger.Printable(a.err.Error())
	if a.silent {
		p.bad++
		why = fmt.Sprintf("no answer within %.1f s", a.took.Seconds())
	}
	switch {
	case !p.Row.Up:
		p.Row.Why = why
	case p.bad >= 2:
		p.Row.set(Away, p.begun, why)
	}
}

var _ filters.Watcher = (*Table)(nil)
