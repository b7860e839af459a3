package state

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	maxOwed   = 100_000 // keys; what is beyond is known to the shadow alone
	batch     = 200     // commands in one go
	maxRounds = 10      // of settling what came in while the last round was settled
)

// owed is what was counted while Redis was away.
type owed struct {
	mu    sync.Mutex
	items items
}

// items are by key. A rate's cell holds only what was taken meanwhile, a tally's only what was added.
type items struct {
	rates   map[string]owedRate
	tallies map[string]owedTally
	sets    map[string]time.Duration // to keep; the members are the shadow's
	values  map[string]valueCell     // one that has ended is a mark: the key was deleted
}

type owedRate struct {
	idle rateCell
	room int64
}

type owedTally struct {
	cell tallyCell
	half time.Duration
}

func (i *items) len() int { return len(i.rates) + len(i.tallies) + len(i.sets) + len(i.values) }

// owe stores under a bound.
func owe[V any](o *owed, of func(*items) *map[string]V, key string, change func(V) V) {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := of(&o.items)
	was, known := (*all)[key]
	if !known && o.items.len() >= maxOwed {
		return
	}
	if *all == nil {
		*all = map[string]V{}
	}
	(*all)[key] = change(was)
}

func (o *owed) take(key string, c cost, now int64) {
	owe(o, func(i *items) *map[string]owedRate { return &i.rates }, key, func(was owedRate) owedRate {
		return owedRate{idle: rateCell(min(max(int64(was.idle), now)+c.events, now+c.room)), room: c.room}
	})
}

func (o *owed) tally(key string, add Tally, now int64, half time.Duration) {
	owe(o, func(i *items) *map[string]owedTally { return &i.tallies }, key, func(was owedTally) owedTally {
		return owedTally{was.cell.plus(add, now, half), half}
	})
}

func (o *owed) set(key string, keep time.Duration) {
	owe(o, func(i *items) *map[string]time.Duration { return &i.sets }, key, func(time.Duration) time.Duration { return keep })
}

func (o *owed) value(key string, v valueCell) {
	owe(o, func(i *items) *map[string]valueCell { return &i.values }, key, func(was valueCell) valueCell {
		if was.put > v.put {
			return was
		}
		return v
	})
}

// forget drops what is owed for a key that is deleted, and owes the deletion.
func (o *owed) forget(key string, mark valueCell) {
	o.mu.Lock()
	delete(o.items.rates, key)
	delete(o.items.tallies, key)
	delete(o.items.sets, key)
	o.mu.Unlock()
	o.value(key, mark)
}

func (o *owed) takeAll() items {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.items
	o.items = items{}
	return all
}

// settleSoon settles what is owed within a few seconds, and says whether nothing is left.
func (r *shared) settleSoon() bool {
	for range maxRounds {
		r.owed.mu.Lock()
		n := r.owed.items.len()
		r.owed.mu.Unlock()
		if n == 0 {
			return true
		}
		ctx, cancel := context.WithTimeout(r.stopped, 10*time.Second)
		err := r.settle(ctx)
		cancel()
		if err != nil {
			return false
		}
	}
	return true // what still comes in is settled with the next look
}

// settle merges what is owed: rates by taking what was let through, tallies by adding, sets by union, values by the
// newer one. What fails is owed again.
func (r *shared) settle(ctx context.Context) error {
	all := r.owed.takeAll()
	s := settling{r: r, ctx: ctx, pipe: r.client.Pipeline()}
	for key, v := range all.values { // first, for it may be a deletion
		s.value(key, v)
	}
	s.flush()
	for key, o := range all.rates {
		s.rate(key, o)
	}
	for key, o := range all.tallies {
		s.tally(key, o)
	}
	for key, keep := range all.sets {
		s.set(key, keep)
	}
	s.flush()
	return s.err
}

// settling is one round. After the first failure nothing more is sent.
type settling struct {
	r     *shared
	ctx   context.Context
	pipe  redis.Pipeliner
	again []func() // owes it again, for each command in the pipe
	err   error
}

// add is called for each command that was put in the pipe.
func (s *settling) add(again func()) {
	s.again = append(s.again, again)
	if len(s.again) >= batch {
		s.flush()
	}
}

func (s *settling) flush() {
	if len(s.again) == 0 {
		return
	}
	if s.err != nil {
		s.pipe.Discard()
	} else {
		answers, err := s.pipe.Exec(s.ctx)
		if len(answers) == 0 {
			s.err = err
		}
		for i, a := range answers {
			switch err := a.Err(); {
			case err == nil, errors.Is(err, redis.Nil), foreign(err):
				s.again[i] = nil
			default:
				s.err = err
			}
		}
	}
	for _, again := range s.again {
		if again != nil {
			again()
		}
	}
	s.again = s.again[:0]
}

// eval sends a script as it is: a server that came back does not know it by its hash, and a pipe can't ask twice.
func (s *settling) eval(script string, name string, args ...any) {
	s.pipe.Eval(s.ctx, script, []string{name}, args...)
}

func (s *settling) rate(key string, o owedRate) {
	now, r := s.r.local.now(), s.r
	if int64(o.idle) <= now {
		return
	}
	s.eval(takeText, r.name(rateSort, key), micros(now), fine(int64(o.idle)-now), fine(o.room), fine(int64(r.local.rate(key))), "owed")
	s.add(func() { r.owed.take(key, cost{events: int64(o.idle) - now, room: o.room}, now) })
}

func (s *settling) tally(key string, o owedTally) {
	now, r := s.r.local.now(), s.r
	add, least := o.cell.decayed(now, o.half), r.local.tallyCell(key).decayed(now, o.half)
	s.eval(tallyText, r.name(tallySort, key), micros(now), micros(int64(o.half)),
		number(add[0]), number(add[1]), number(least[0]), number(least[1]))
	s.add(func() { r.owed.tally(key, add, now, o.half) })
}

func (s *settling) set(key string, keep time.Duration) {
	r, c := s.r, s.r.local.members(key)
	const some = 1000 // members for one script
	for start := 0; start < len(c.members); start += some {
		args := []any{micros(r.local.now()), micros(int64(keep)), maxMembers}
		for _, m := range c.members[start:min(start+some, len(c.members))] {
			args = append(args, memberForm(m))
		}
		s.eval(addToText, r.name(setSort, key), args...)
		s.add(func() { r.owed.set(key, keep) })
	}
}

func (s *settling) value(key string, v valueCell) {
	r := s.r
	if v.expires > 0 {
		s.eval(putNewerText, r.name(valueSort, key), v.form(), v.ttl())
		s.add(func() { r.owed.value(key, v) })
		return
	}
	s.eval(putNewerText, r.name(valueSort, key), v.form(), markTTL.Milliseconds())
	s.add(func() { r.owed.value(key, v) })
	for _, sort := range []byte{rateSort, tallySort, setSort} {
		s.pipe.Unlink(s.ctx, r.name(sort, key))
		s.add(func() { r.owed.value(key, v) })
	}
}
