package queue

import (
	"cmp"
	"container/heap"
	"strings"
	"time"

	"postern/internal/mail"
)

// due orders the messages of each route by their next attempt. The cost of finding the next one does not depend on how
// many wait.
type due struct {
	routes map[mail.Route]*line
}

// line is the messages that wait for one route.
type line struct {
	waiting places
	running int
	// rest is until when no attempt is made, as the hop could not be reached; failures is how often in a row.
	rest     time.Time
	failures int
	// probe says that the next attempt does not wait for the end of the rest: an admin asked for it.
	probe bool
	// answered is when the hop was last reached.
	answered time.Time
	// away says that messages wait only because the hop could not be reached.
	away bool
}

// place is a message's position in the heap. It is void once the entry has a new one.
type place struct {
	entry *entry
	at    time.Time
}

// places is a heap, the longest due first.
type places []place

func (p places) Len() int      { return len(p) }
func (p places) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p places) Less(i, j int) bool {
	return cmp.Or(p[i].at.Compare(p[j].at), strings.Compare(p[i].entry.id, p[j].entry.id)) < 0
}
func (p *places) Push(x any) { *p = append(*p, x.(place)) }
func (p *places) Pop() any {
	last := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return last
}

func (d *due) line(route mail.Route) *line {
	l := d.routes[route]
	if l == nil {
		l = &line{}
		d.routes[route] = l
	}

	return l
}

// set gives an entry its position.
func (d *due) set(e *entry, at time.Time) {
	e.next = at
	heap.Push(&d.line(e.route).waiting, place{e, at})
}

// next takes the entry out that is due the longest, of those routes that may have one more attempt. valid says whether an
// entry still counts.
func (d *due) next(now time.Time, perRoute int, valid func(*entry) bool) (*entry, *line) {
	var best *line

	for name, l := range d.routes {
		l.drop(valid)
		if len(l.waiting) == 0 {
			if l.running == 0 && l.failures == 0 {
				delete(d.routes, name)
			}
			continue
		}
		// what no route means is only known once a message's file was read
		full := !name.IsZero() && l.running >= perRoute
		if full || !l.ready(now) {
			continue
		}
		if best == nil || places([]place{l.waiting[0], best.waiting[0]}).Less(0, 1) {
			best = l
		}
	}

	if best == nil {
		return nil, nil
	}

	return heap.Pop(&best.waiting).(place).entry, best
}

// ready says whether the first one is due. A hop that was away is tried by one at a time, once its rest is over; what
// expires is given up meanwhile.
func (l *line) ready(now time.Time) bool {
	if l.failures > 0 && l.running > 0 || l.waiting[0].at.After(now) {
		return false
	}
	resting := now.Before(l.rest) && !l.probe

	return !resting || !now.Before(l.waiting[0].entry.expires)
}

// drop removes void positions from the front.
func (l *line) drop(valid func(*entry) bool) {
	for len(l.waiting) > 0 {
		if first := l.waiting[0]; valid(first.entry) && first.entry.next.Equal(first.at) && !first.entry.busy {
			return
		}
		heap.Pop(&l.waiting)
	}
}

// unreachable starts a rest for the hop: the next attempt then decides for all whether it is back.
func (l *line) unreachable(now time.Time, pause time.Duration) {
	l.failures++
	l.rest, l.away = now.Add(pause), true
}

// reached ends the rest. Messages that waited only for the hop become due.
func (l *line) reached(now time.Time) {
	l.failures, l.rest, l.answered = 0, time.Time{}, now
	if !l.away {
		return
	}

	l.away = false
	for i := range l.waiting {
		if e := l.waiting[i].entry; e.down && !e.busy && e.next.Equal(l.waiting[i].at) {
			e.down, e.next = false, now
			l.waiting[i].at = now
		}
	}
	heap.Init(&l.waiting)
}
