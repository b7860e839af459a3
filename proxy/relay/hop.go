package relay

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"
)

// Bounds of the pool that no setting changes.
const (
	// maxUses is how many transactions one connection carries: some servers limit them.
	maxUses = 100
	// The first and the longest time in which a failed hop is passed over.
	backOffMin = time.Second
	backOffMax = time.Minute
)

// hopState is a hop with its connections and its health.
type hopState struct {
	Hop
	tlsConfig *tls.Config
	protocol  Protocol
	names     *net.Resolver
	helo      string
	times     Timeouts
	log       *slog.Logger
	maxIdle   int
	inbound   bool // our own offers depend on it
	places    *places

	mu        sync.Mutex
	idle      []*conn // the last one is the freshest
	closed    bool
	failures  int
	downUntil time.Time
	silent    bool // it failed by not answering
	probing   bool // a transaction is trying a hop that is down
	lastErr   string
	lastErrAt time.Time
	known     bool
	offered   offer
	secure    bool
}

// acquire gives a connection, from the pool unless fresh is set. release returns it.
func (h *hopState) acquire(ctx context.Context, who party, fresh bool) (*conn, error) {
	if h.resting(time.Now()) {
		return nil, errResting
	}
	if err := h.places.take(ctx, who, h.times.Wait); err != nil {
		return nil, err
	}
	for !fresh {
		c := h.takeIdle()
		if c == nil {
			break
		}
		if c.alive() {
			c.reused, c.party = true, who
			return c, nil
		}
		c.broken = true
		c.close()
	}
	c, err := h.tryDial(ctx)
	if err != nil {
		h.places.give(who)
		return nil, err
	}
	c.party = who
	return c, nil
}

// resting reports whether the hop timed out a moment ago. Another attempt would only time out again; a refused
// connection, by contrast, fails at once.
func (h *hopState) resting(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.silent && now.Before(h.downUntil)
}

func (h *hopState) takeIdle() *conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.idle)
	if n == 0 {
		return nil
	}
	c := h.idle[n-1]
	h.idle = h.idle[:n-1]
	c.idle.Stop()
	return c
}

// tryDial dials, one at a time while the hop is down: the others fail at once instead of queueing.
func (h *hopState) tryDial(ctx context.Context) (*conn, error) {
	h.mu.Lock()
	down := h.failures > 0
	if down && h.probing {
		h.mu.Unlock()
		return nil, errProbing
	}
	h.probing = down
	h.mu.Unlock()

	c, err := h.dial(ctx)
	if down {
		h.mu.Lock()
		h.probing = false
		h.mu.Unlock()
	}
	if err != nil {
		h.failed(ctx, err)
		return nil, err
	}
	h.healthy()
	return c, nil
}

// release takes a connection back, and keeps it if nothing is wrong with it.
func (h *hopState) release(c *conn) {
	defer h.places.give(c.party)
	c.uses++
	if c.broken || c.uses >= maxUses {
		c.close()
		return
	}
	h.mu.Lock()
	if h.closed || len(h.idle) >= h.maxIdle {
		h.mu.Unlock()
		c.close()
		return
	}
	c.idle = time.AfterFunc(h.times.Idle, func() { h.expire(c) })
	h.idle = append(h.idle, c)
	h.mu.Unlock()
}

// expire closes an unused connection.
func (h *hopState) expire(c *conn) {
	h.mu.Lock()
	i := slices.Index(h.idle, c)
	if i >= 0 {
		h.idle = slices.Delete(h.idle, i, i+1)
	}
	h.mu.Unlock()
	if i >= 0 {
		c.close()
	}
}

// flush closes all unused connections: after a restart of the hop they are all dead.
func (h *hopState) flush(shut bool) {
	h.mu.Lock()
	idle := h.idle
	h.idle = nil
	h.closed = h.closed || shut
	h.mu.Unlock()
	for _, c := range idle {
		c.idle.Stop()
		c.close()
	}
}

// failed notes a failure of the hop: it is passed over for a while.
func (h *hopState) failed(ctx context.Context, err error) {
	if ctx.Err() != nil && isTimeout(err) {
		return // the caller was cancelled or had no time left: that says nothing about the hop
	}
	h.log.Warn("next hop failed", "hop", h.Address, "error", err)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures++
	h.silent = isTimeout(err)
	h.lastErr, h.lastErrAt = err.Error(), time.Now()
	h.downUntil = h.lastErrAt.Add(min(backOffMax, backOffMin<<min(h.failures-1, 6)))
}

func (h *hopState) healthy() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failures > 0 {
		h.log.Info("next hop answers again", "hop", h.Address)
	}
	h.failures, h.downUntil, h.silent = 0, time.Time{}, false
}

// learn keeps what the hop offers.
func (h *hopState) learn(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known, h.offered, h.secure = true, c.offer, c.verified()
}

// verified reports whether the connection is secure and the hop's certificate was checked.
func (c *conn) verified() bool { return c.tls != nil && !c.hop.tlsConfig.InsecureSkipVerify }

func (h *hopState) isDown(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return now.Before(h.downUntil)
}

// HopHealth is what the metrics and the console show of a hop.
type HopHealth struct {
	Route, Hop  string
	Up          bool
	Failures    int
	LastError   string
	LastErrorAt time.Time
	InUse, Idle int
	// Waiting are the transactions that wait for a connection now, NoRoom those that timed out waiting since the start.
	Waiting, NoRoom int
	// Known is set once the hop has answered; then Secure says whether by TLS with a checked certificate.
	Known, Secure bool
}

func (h *hopState) health(route string) HopHealth {
	taken, waiting, turned := h.places.state()
	h.mu.Lock()
	defer h.mu.Unlock()
	return HopHealth{
		Route: route, Hop: h.Address, Up: h.failures == 0, Failures: h.failures, LastError: h.lastErr, LastErrorAt: h.lastErrAt,
		InUse: taken, Waiting: waiting, NoRoom: turned, Idle: len(h.idle), Known: h.known, Secure: h.secure,
	}
}
