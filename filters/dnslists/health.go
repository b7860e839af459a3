package dnslists

import (
	"context"
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"postern/internal/dns"
)

const (
	// probeEvery is how often a list is probed while mail flows.
	probeEvery = 10 * time.Minute
	// muteWrong is for lists whose answers are wrong, muteSilent for those that give none.
	muteWrong  = time.Hour
	muteSilent = 5 * time.Minute
)

// phase is how far a list is trusted.
type phase int

const (
	fresh phase = iota // not probed yet: it is asked, and believed once the probe is over
	good
	muted
)

// health is what is known of a list's own state.
type health struct {
	mu     sync.Mutex
	phase  phase
	reason string
	// since and until are those of the muting; an admin's has no end.
	since, until time.Time
	// probing is closed when the probe under way is over; nil without one.
	probing  chan struct{}
	probeAt  time.Time
	failures int
	noIPv6   bool

	asked, hits, unanswered uint64
	window                  window
}

// window counts how many of those asked about are listed: within an hour, or of the last maxSeen.
type window struct {
	seed        maphash.Seed
	since       time.Time
	seen        map[uint64]struct{}
	hits, alone int
	before      float64
	known       bool // before is that of an earlier window
}

const (
	windowTime = time.Hour
	minSeen    = 50
	maxSeen    = 500
)

// state gives the phase, and why the list is muted, "" if it is not.
func (l *list) state() (phase, string) {
	l.health.mu.Lock()
	defer l.health.mu.Unlock()
	if l.health.phase == muted {
		return muted, l.health.reason
	}
	return l.health.phase, ""
}

// watch begins a probe when one is due. It gives what to wait for before the list may be believed, nil for nothing.
func (l *list) watch() <-chan struct{} {
	now := l.env.Now()
	h := &l.health
	h.mu.Lock()
	defer h.mu.Unlock()
	due := h.phase == fresh || h.phase == good && !now.Before(h.probeAt) ||
		h.phase == muted && !h.until.IsZero() && !now.Before(h.until)
	if due && h.probing == nil {
		h.probing = make(chan struct{})
		go l.probe(h.probing)
	}
	if h.phase == fresh {
		return h.probing
	}
	return nil
}

// finding of a probe.
type examined struct {
	wrong  string // why it is of no use
	silent bool   // it did not answer
	noIPv6 bool
}

// probe asks what every list must answer: RFC 5782 section 5.
func (l *list) probe(done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
	defer cancel()
	result := l.examine(ctx)
	h := &l.health
	h.mu.Lock()
	defer h.mu.Unlock()
	defer close(done)
	h.probing = nil
	now := l.env.Now()
	h.probeAt = now.Add(probeEvery)
	if h.phase == muted && (h.until.IsZero() || now.Before(h.until)) { // it was muted while the probe was under way
		return
	}
	switch {
	case result.wrong != "":
		l.muteLocked(result.wrong, muteWrong)
	case result.silent && h.phase == good:
		l.failedLocked()
	case result.silent:
		l.muteLocked("does not answer", muteSilent)
	default:
		if h.phase == muted {
			l.env.Log.Info("DNS list is asked again", "list", l.name, "was", h.reason)
		}
		h.phase, h.reason, h.failures, h.noIPv6 = good, "", 0, result.noIPv6
		h.since, h.until = time.Time{}, time.Time{}
	}
}

// testNames are what must be listed and what must not; "" for what no list of its kind promises.
func (l *list) testNames() (listed, unlisted string) {
	switch {
	case l.kinds&kindClient != 0:
		listed, unlisted = "2.0.0.127", "1.0.0.127"
	case l.kinds&kindHash != 0:
		listed, unlisted = "", "invalid"
	default:
		listed, unlisted = "test", "invalid"
	}
	if l.testPoint != "" {
		listed = l.testPoint
	}
	if l.noProbe {
		listed = ""
	}
	return listed, unlisted
}

func (l *list) examine(ctx context.Context) (e examined) {
	listed, unlisted := l.testNames()
	six := l.kinds&kindClient != 0 && !l.ipv4Only
	for _, name := range []string{listed, unlisted} { // side by side
		if name != "" {
			_, _, _ = l.env.DNS.StartA(ctx, l.within(name))
		}
	}
	ips, err := l.env.DNS.LookupA(ctx, l.within(unlisted))
	switch {
	case dns.IsTemporary(err):
		return examined{silent: true}
	case l.refusal(ips) != "":
		return examined{wrong: l.refusal(ips)}
	case len(ips) > 0:
		return examined{wrong: "lists the world: it lists " + unlisted}
	}
	if listed != "" {
		ips, err = l.env.DNS.LookupA(ctx, l.within(listed))
		switch {
		case dns.IsTemporary(err):
			return examined{silent: true}
		case l.refusal(ips) != "":
			return examined{wrong: l.refusal(ips)}
		case len(ips) == 0:
			return examined{wrong: "is dead: it does not list " + listed}
		}
	}
	if six {
		return l.examineIPv6(ctx)
	}
	return examined{}
}

// examineIPv6 asks for the entries of RFC 5782 section 5 for IPv6. A list without them knows no IPv6.
func (l *list) examineIPv6(ctx context.Context) examined {
	ips, err := l.env.DNS.LookupA(ctx, l.within(reversed(mapped(1))))
	switch {
	case l.refusal(ips) != "":
		return examined{wrong: l.refusal(ips)}
	case len(ips) > 0:
		return examined{wrong: "lists the world: it lists ::FFFF:7F00:1"}
	case dns.IsTemporary(err):
		return examined{}
	}
	_, err = l.env.DNS.LookupA(ctx, l.within(reversed(mapped(2))))
	return examined{noIPv6: dns.IsNotFound(err)}
}

// mapped is ::FFFF:7F00:n.
func mapped(n byte) netip.Addr {
	return netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff, 12: 127, 15: n})
}

func (l *list) knowsIPv6() bool { return l.health.knowsIPv6() }

func (h *health) knowsIPv6() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.noIPv6
}

// mute leaves the list alone for a time and gives the reason back.
func (l *list) mute(why string, d time.Duration) string {
	l.health.mu.Lock()
	defer l.health.mu.Unlock()
	l.muteLocked(why, d)
	return l.health.reason
}

// muteLocked is logged once, however often the reason is seen again.
func (l *list) muteLocked(why string, d time.Duration) {
	h := &l.health
	now := l.env.Now()
	if h.phase == muted && h.until.IsZero() && d > 0 { // the admin's command takes precedence
		return
	}
	if h.phase != muted {
		h.since = now
		l.env.Log.Warn("DNS list is muted: it is not asked and does not score", "list", l.name, "reason", why)
	}
	h.phase, h.reason, h.failures = muted, why, 0
	h.until = time.Time{}
	if d > 0 {
		h.until = now.Add(d)
	}
	h.window.reset(now)
}

// failedLocked counts a question without an answer.
func (l *list) failedLocked() {
	h := &l.health
	h.unanswered++
	if h.failures++; h.failures >= l.muteAfter {
		l.muteLocked(fmt.Sprintf("does not answer: %d questions in a row", h.failures), muteSilent)
	}
}

// count notes the answers. It gives the reason if they made the list mute.
func (l *list) count(questions []question) string {
	h := &l.health
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, q := range questions {
		h.asked++
		if q.silent {
			l.failedLocked()
			continue
		}
		h.failures = 0
		if len(q.hits) > 0 {
			h.hits++
		}
	}
	if h.phase == muted {
		return h.reason
	}
	return ""
}

func (w *window) reset(now time.Time) {
	w.since, w.hits, w.alone = now, 0, 0
	clear(w.seen)
}

// observe mutes a list that suddenly lists nearly all it is asked about. A wave of spam looks alike, but then other lists
// agree.
func (l *list) observe(text string, hit, agreed bool) {
	h := &l.health
	now := l.env.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	w := &h.window
	if w.seen == nil {
		w.seen, w.seed = map[uint64]struct{}{}, maphash.MakeSeed()
		w.reset(now)
	}
	if now.Sub(w.since) >= windowTime || len(w.seen) >= maxSeen {
		if n := len(w.seen); n >= minSeen {
			w.before, w.known = float64(w.hits)/float64(n), true
		}
		w.reset(now)
	}
	id := maphash.String(w.seed, text)
	if _, again := w.seen[id]; again || h.phase != good {
		return
	}
	w.seen[id] = struct{}{}
	if hit {
		w.hits++
		if !agreed {
			w.alone++
		}
	}
	n := len(w.seen)
	if n >= minSeen && w.hits*100 > n*95 && w.known && w.before <= 0.95 && w.alone*10 > w.hits {
		l.muteLocked(fmt.Sprintf("lists the world: %d of the last %d, before it were %.0f %%", w.hits, n, 100*w.before), muteWrong)
	}
}
