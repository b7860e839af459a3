package access

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"
)

const (
	// delayStep is the granularity of a refusal's delay, delayMost the longest delay that a slow server causes for all.
	delayStep = 250 * time.Millisecond
	delayMost = 10 * time.Second
	// delayMemory is how long a slow refusal of a server's makes all others as slow.
	delayMemory = 10 * time.Minute
)

// delay is when refusals are given: at the same time after the attempt, whether a server was asked or not. A server
// that takes longer than the settings say, as one does that delays after a wrong password, makes all refusals that slow
// for a while: else refusals that no server was asked for would be recognised by being faster. It is safe for use by
// many goroutines.
type delay struct {
	mu         sync.Mutex
	since      time.Time
	now, older time.Duration // the slowest of this time and of the one before
}

// after gives how long after its attempt a refusal is given. took is how long it took to find out.
func (d *delay) after(least, took time.Duration, now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Sub(d.since) > delayMemory {
		d.since, d.older, d.now = now, d.now, 0
	}
	if took > least {
		steps := (took + delayStep - 1) / delayStep
		d.now = max(d.now, min(steps*delayStep, delayMost))
	}
	wait := max(least, d.now, d.older)
	if took > wait { // slower than the longest delay: a multiple discloses least
		wait *= (took + wait - 1) / wait
	}
	return wait
}

// refuse waits until a refusal may be sent, plus up to a tenth, at random.
func (g *Gate) refuse(ctx context.Context, begun time.Time) {
	now := g.o.Now()
	took := now.Sub(begun)
	total := g.delay.after(g.o.FailDelay, took, now)
	pause(ctx, total+chance(g.o.FailDelay/10)-took)
}

// chance is a random time below most.
func chance(limit time.Duration) time.Duration {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return time.Duration(binary.LittleEndian.Uint64(b[:]) % uint64(limit+1))
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
