package state

import (
	"math"
	"time"
)

// refill tells a Redis that came back empty all that the shadow knows, a shard at a time. Each node does so, and what
// they know is merged; the shadow goes on being asked too.
func (r *shared) refill() {
	defer r.refilling.Store(false)
	n := 0
	for i := range r.local.shards {
		s := settling{r: r, ctx: r.stopped, pipe: r.client.Pipeline()}
		for _, k := range r.local.shards[i].known(r.local.now()) {
			s.raise(k)
			n += k.len()
		}
		s.flush()
		if s.err != nil {
			r.log.Warn("state: telling redis what this node knows has failed, it is told as it is asked for", "keys", n, "error", s.err)
			return
		}
	}
	r.log.Info("state: redis was told what this node knows", "keys", n)
}

// known is a copy of what has not expired in a shard. Members of sets are not copied.
func (s *shard) known(now int64) []*kind {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*kind
	for _, k := range s.kinds {
		all = append(all, &kind{
			rates: current(k.rates, now), tallies: current(k.tallies, now), sets: current(k.sets, now), values: current(k.values, now),
		})
	}
	return all
}

func current[C cell](cells map[string]C, now int64) map[string]C {
	all := make(map[string]C, len(cells))
	for key, c := range cells {
		if c.due() > now {
			all[key] = c
		}
	}
	return all
}

// raise adds nothing, but makes Redis know at least as much.
func (s *settling) raise(k *kind) {
	now, r := s.r.local.now(), s.r
	nothing := func() {}
	for key, c := range k.rates {
		s.eval(takeText, r.name(rateSort, key), micros(now), "0", fine(longest), fine(int64(c)), "owed")
		s.add(nothing)
	}
	for key, c := range k.tallies {
		half := c.half()
		least := c.decayed(now, half)
		s.eval(tallyText, r.name(tallySort, key), micros(now), micros(int64(half)), "0", "0", number(least[0]), number(least[1]))
		s.add(nothing)
	}
	for key, c := range k.sets {
		s.set(key, time.Duration(c.expires-now))
	}
	for key, c := range k.values {
		s.value(key, c)
	}
}

// half is the half-life that a tally's end was reckoned with.
func (c tallyCell) half() time.Duration {
	return max(time.Duration(float64(c.expires-c.at)/(10+math.Log2(max(c.sums[0], c.sums[1], 1)))), time.Millisecond)
}
