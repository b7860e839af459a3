package state

import (
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Rate is so many events in a time, and how many of them may come at once.
type Rate struct {
	Count int
	Per   time.Duration
	Burst int
}

// ParseRate reads "100/1h", "5/10s" or "20/minute".
func ParseRate(text string) (Rate, error) {
	bad := fmt.Errorf("rate %q: want a number and a time, as in \"100/1h\"", text)
	count, per, ok := strings.Cut(text, "/")
	n, err := strconv.Atoi(strings.TrimSpace(count))
	if !ok || err != nil || n < 1 || n > 1e9 {
		return Rate{}, bad
	}
	per = strings.TrimSpace(per)
	switch per {
	case "second", "s":
		per = "1s"
	case "minute", "m":
		per = "1m"
	case "hour", "h":
		per = "1h"
	case "day", "d":
		per = "24h"
	}
	d, err := time.ParseDuration(per)
	if err != nil || d <= 0 {
		return Rate{}, bad
	}
	return Rate{Count: n, Per: d, Burst: n}, nil
}

// Limiter says whether one more event of a key is within a rate.
type Limiter interface {
	Allow(key string, r Rate, now time.Time) (ok bool, retry time.Duration)
}

const shards = 64

// Rates is a Limiter in memory by the generic cell rate algorithm: one time per key, at which it would be idle again.
type Rates struct {
	seed   maphash.Seed
	most   int // keys in one shard
	shards [shards]rateShard
}

type rateShard struct {
	mu   sync.Mutex
	idle map[string]time.Time
}

// NewRates makes a limiter for so many keys; 0 is 500,000.
func NewRates(keys int) *Rates {
	if keys <= 0 {
		keys = 500_000
	}
	r := &Rates{seed: maphash.MakeSeed(), most: max(1, keys/shards)}
	for i := range r.shards {
		r.shards[i].idle = map[string]time.Time{}
	}
	return r
}

// Allow takes one event of a key. Beyond the rate, retry says when the next one would be within; such events do not
// count, so that who waits is let in.
func (r *Rates) Allow(key string, rate Rate, now time.Time) (ok bool, retry time.Duration) {
	step := rate.Per / time.Duration(rate.Count)
	room := step * time.Duration(max(rate.Burst, 1))
	s := &r.shards[maphash.String(r.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	idle, known := s.idle[key]
	if idle.Before(now) {
		idle = now
	}
	next := idle.Add(step)
	if wait := next.Sub(now) - room; wait > 0 {
		return false, wait
	}
	if !known && len(s.idle) >= r.most {
		s.makeRoom(now)
	}
	s.idle[key] = next
	return true, 0
}

// makeRoom forgets keys that are idle, and some that are not if that is not enough: they begin anew.
func (s *rateShard) makeRoom(now time.Time) {
	looked, dropped := 0, 0
	for key, idle := range s.idle {
		looked++
		// a map's order is random: this looks at a sample, so that a flood of new keys costs little for each
		if !idle.After(now) || looked > 32 && dropped == 0 {
			delete(s.idle, key)
			dropped++
		}
		if looked > 64 && dropped > 0 {
			return
		}
	}
}

// Len is the number of keys remembered.
func (r *Rates) Len() int {
	n := 0
	for i := range r.shards {
		r.shards[i].mu.Lock()
		n += len(r.shards[i].idle)
		r.shards[i].mu.Unlock()
	}
	return n
}
