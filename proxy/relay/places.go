package relay

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// purpose is what a connection is used for.
type purpose int

const (
	// question asks for a recipient. handover carries a message.
	question purpose = iota
	handover
)

// party is the client for which a connection is taken.
type party struct {
	purpose purpose
	// network is that of the client; the zero Prefix is our own, for the queue.
	network netip.Prefix
	// known clients have sent good mail before: they go first.
	known bool
}

// places bounds how many connections to one hop are in use at a time, and shares them out: recipient checks leave half
// of them to messages, no client network can take them all, and a transaction that only keeps a connection idle gives
// it up as soon as another needs it.
type places struct {
	limit, questions int

	mu      sync.Mutex
	taken   int
	asking  int
	held    map[netip.Prefix]int
	waiting []*waiter // in the order in which they came
	// resting are transactions that hold a connection and do nothing with it, the longest first.
	resting []*delivery
	turned  int // for how many there was no room, since the start
}

type waiter struct {
	party
	ready chan struct{} // closed once it has its place
}

func newPlaces(limit int) *places {
	return &places{limit: limit, questions: max(1, limit/2), held: map[netip.Prefix]int{}}
}

// take waits for a place, no longer than limit.
func (p *places) take(ctx context.Context, who party, limit time.Duration) error {
	for {
		p.mu.Lock()
		if p.roomFor(who) && !p.waitsBefore(who) {
			p.grant(who)
			p.mu.Unlock()
			return nil
		}
		if len(p.resting) == 0 {
			break
		}
		idler := p.resting[0]
		p.resting = p.resting[1:]
		p.mu.Unlock()
		idler.yield()
	}

	w := &waiter{who, make(chan struct{})}
	p.waiting = append(p.waiting, w)
	p.mu.Unlock()

	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-w.ready:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}

	return p.giveUp(w)
}

// giveUp ends a waiter's wait, unless it has just got a place.
func (p *places) giveUp(w *waiter) error {
	p.mu.Lock()
	defer p.mu.Unlock()

	i := slices.Index(p.waiting, w)
	if i < 0 {
		return nil
	}
	p.waiting = slices.Delete(p.waiting, i, i+1)
	p.turned++

	return errBusy
}

// roomFor says whether there is a place. The last quarter is for known clients, and for networks that hold none yet.
func (p *places) roomFor(who party) bool {
	limit, free := p.limit, p.limit-p.taken
	if who.purpose == question {
		limit, free = p.questions, min(p.questions-p.asking, free)
	}

	return free > limit/4 || free > 0 && (who.known || p.held[who.network] == 0)
}

// waitsBefore reports whether a waiter with at least the same priority could use a place.
func (p *places) waitsBefore(who party) bool {
	return slices.ContainsFunc(p.waiting, func(w *waiter) bool {
		return p.roomFor(w.party) && !p.before(who, w.party)
	})
}

// before reports whether a has priority over b: known clients first, then the network that holds fewer places.
func (p *places) before(a, b party) bool {
	if a.known != b.known {
		return a.known
	}

	return p.held[a.network] < p.held[b.network]
}

func (p *places) grant(who party) {
	p.taken++
	p.held[who.network]++
	if who.purpose == question {
		p.asking++
	}
}

// give returns a place and passes it to a waiter.
func (p *places) give(who party) {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.taken--
	if p.held[who.network]--; p.held[who.network] == 0 {
		delete(p.held, who.network)
	}
	if who.purpose == question {
		p.asking--
	}
	p.serve()
}

// becomes notes that a connection taken for a recipient check now carries the message.
func (p *places) becomes(who party) party {
	if who.purpose == handover {
		return who
	}
	p.mu.Lock()
	defer p.mu.Unlock()

	p.asking--
	who.purpose = handover
	p.serve()

	return who
}

// serve gives free places to the waiters, by priority.
func (p *places) serve() {
	for {
		var best *waiter
		for _, w := range p.waiting {
			if p.roomFor(w.party) && (best == nil || p.before(w.party, best.party)) {
				best = w
			}
		}
		if best == nil {
			return
		}
		p.waiting = slices.DeleteFunc(p.waiting, func(w *waiter) bool { return w == best })
		p.grant(best.party)
		close(best.ready)
	}
}

// rest lets a transaction keep its connection while its client is silent. It is false if another transaction waits for
// it.
func (p *places) rest(d *delivery) bool {
	p.mu.Lock()
	defer p.mu.Unlock()

	if len(p.waiting) > 0 {
		return false
	}
	p.resting = append(p.resting, d)

	return true
}

// rests reports whether a transaction still rests: no other has taken its connection.
func (p *places) rests(d *delivery) bool {
	p.mu.Lock()
	defer p.mu.Unlock()

	return slices.Contains(p.resting, d)
}

// wake ends the rest of a transaction.
func (p *places) wake(d *delivery) {
	p.mu.Lock()
	defer p.mu.Unlock()

	if i := slices.Index(p.resting, d); i >= 0 {
		p.resting = slices.Delete(p.resting, i, i+1)
	}
}

// state tells how many places are taken, how many wait, and how many were turned away since the start.
func (p *places) state() (taken, waiting, turned int) {
	p.mu.Lock()
	defer p.mu.Unlock()

	return p.taken, len(p.waiting), p.turned
}
