package state

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
)

const (
	lookEvery = time.Second
	patience  = 5                    // a question in the background may take so many time-outs
	steady    = 10                   // looks in a row that make an outage a new one, not the old one again
	wary      = 16                   // the most good looks in a row that are asked of a server that comes and goes
	shortLoss = time.Hour            // for how long the shadow counts after an outage
	longLoss  = 366 * 24 * time.Hour // and if Redis came back empty
)

// outage knows whether Redis is away. Any call may begin one, only the watch ends it.
type outage struct {
	away  atomic.Bool
	mu    sync.Mutex
	since time.Time
	why   string
	key   string // whose question was not answered: in a cluster, others may be
	news  chan struct{}

	// of the watch alone
	told       bool
	good, want int // good looks in a row; how many an end takes
}

func (o *outage) begin(key string, why error, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.away.Load() {
		return // it is known
	}
	o.since, o.why, o.key = now, printable(why.Error()), key
	o.away.Store(true)
	select {
	case o.news <- struct{}{}:
	default:
	}
}

func (o *outage) end(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.since, o.why, o.key = now, "", ""
	o.away.Store(false)
}

func (o *outage) now() (away bool, since time.Time, why string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.away.Load(), o.since, o.why
}

// printable is a server's text for the log.
func printable(s string) string {
	s = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, s)
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "")
	}
	return s
}

// watch looks after Redis once a second, whether or not anybody asks.
func (r *shared) watch() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.stopped.Done():
			return
		case <-r.outage.news:
		case <-tick.C:
			r.tell() // first, so that no outage ends untold
			r.look()
		}
		r.tell()
	}
}

// look puts a small write to Redis, for a server that reads but does not write is away for us. When it is back, what is
// owed is settled first, and then it is asked again.
func (r *shared) look() {
	o := &r.outage
	away := o.away.Load()
	ctx, cancel := context.WithTimeout(r.stopped, patience*r.timeout)
	err := r.probe(ctx)
	cancel()
	switch {
	case r.stopped.Err() != nil:
	case err != nil:
		o.good = 0
		o.begin("", err, r.local.clock())
	case !away:
		o.good++
		r.settleSoon()
		r.mark()
	default:
		if o.good++; o.good >= o.want && r.settleSoon() && r.returned() {
			o.end(r.local.clock())
		}
	}
}

func (r *shared) probe(ctx context.Context) error {
	r.outage.mu.Lock()
	key := r.outage.key
	r.outage.mu.Unlock()
	names := []string{r.name('p', "probe")}
	if key != "" {
		names = append(names, r.name('p', key)) // the same slot, if the key has a tag
	}
	for _, name := range names { // as calls do, with a script that writes
		err := r.scripts.take.Run(ctx, r.client, []string{name}, micros(r.local.now()), "1000", fine(longest), "0", "").Err()
		if err != nil && !foreign(err) {
			return err
		}
	}
	return nil
}

// tell says once what has changed.
func (r *shared) tell() {
	away, _, why := r.outage.now()
	if away == r.outage.told {
		return
	}
	o := &r.outage
	o.told = away
	if away {
		if o.want *= 2; o.good >= steady {
			o.want = 1
		}
		o.want, o.good = min(max(o.want, 1), wary), 0
		r.log.Error("state: redis is away, counting in this node's own memory", "error", why)
	} else {
		r.log.Info("state: redis is back, what was counted here is merged")
	}
	if r.alarm != nil {
		r.alarm(away, why)
	}
}

// returned is called before Redis is asked again. A server that comes back, or another in its place, may lack what Redis
// was told last: so for a while the shadow's knowledge counts where it is more.
func (r *shared) returned() bool {
	if !r.mark() {
		return false
	}
	r.trustUntil(shortLoss)
	return true
}

func (r *shared) trustUntil(d time.Duration) {
	r.trust.Store(max(r.trust.Load(), later(r.local.now(), d)))
}

// mark looks at the marker that the first node left in Redis. Another one, or none, says that Redis lost all: a restart
// may be too quick to be noticed otherwise. Then the shadow counts for good, and Redis is told what it knows.
func (r *shared) mark() bool {
	ctx, cancel := context.WithTimeout(r.stopped, patience*r.timeout)
	defer cancel()
	name := r.name('p', "born")
	if err := r.client.SetNX(ctx, name, rand.Text(), 0).Err(); err != nil {
		return false
	}
	born, err := r.client.Get(ctx, name).Result()
	if err != nil {
		return false
	}
	lost := r.born != "" && r.born != born
	r.born = born
	if !lost {
		return true
	}
	r.log.Warn("state: redis lost what it knew, this node tells it what it knows")
	r.trustUntil(longLoss)
	if !r.refilling.Swap(true) {
		r.watching.Go(r.refill)
	}
	return true
}
