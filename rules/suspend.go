package rules

import (
	"sync"
	"time"
)

// Offenders remembers which rules ran out of their steps, and on mail from how many networks. A rule that does so again and
// again is suspended for a while, as it costs more than it finds. The mail of one network suspends nothing, however much it
// sends: no client can switch a rule off for all others. It is safe for use by many goroutines.
type Offenders struct {
	mu sync.Mutex
	by map[string]*offence
}

// offence is what one rule did, on mail from which networks. until is when it is tried again.
type offence struct {
	first, until time.Time
	networks     map[string]bool // no more than offencesAllowed
}

// When a rule is suspended, and for how long.
const (
	offencesAllowed = 10
	offencesWithin  = time.Hour
	suspendedFor    = time.Hour
)

// Exceeded notes that a rule ran out of steps on a message from a network, and says whether it is suspended from now on,
// until when.
func (o *Offenders) Exceeded(rule, network string, now time.Time) (until time.Time, suspended bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.by == nil {
		o.by = map[string]*offence{}
	}
	f := o.by[rule]
	if f == nil || now.Sub(f.first) > offencesWithin {
		f = &offence{first: now, networks: map[string]bool{}}
		o.by[rule] = f
	}
	if now.Before(f.until) { // a message that was begun before
		return f.until, false
	}
	if f.networks[network] = true; len(f.networks) < offencesAllowed {
		return time.Time{}, false
	}
	*f = offence{first: now, until: now.Add(suspendedFor), networks: map[string]bool{}}
	return f.until, true
}

// Suspended says whether a rule is left alone now.
func (o *Offenders) Suspended(rule string, now time.Time) bool {
	if o == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.by[rule]
	return f != nil && now.Before(f.until)
}
