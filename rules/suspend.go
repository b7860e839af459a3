package rules

import (
	"sync"
	"time"
)

// Offenders remembers which rules ran out of their steps, and on how many messages. A rule that does so again and again is
// left alone for a while: it costs more than it finds, and somebody may be sending what makes it so. It belongs to whoever
// runs rules on many messages, and may be used by many at once.
type Offenders struct {
	mu sync.Mutex
	by map[string]*offence
}

// offence is what one rule did. until is when it is tried again.
type offence struct {
	first, until time.Time
	messages     int
}

// When a rule is suspended, and for how long.
const (
	offencesAllowed = 10
	offencesWithin  = time.Hour
	suspendedFor    = time.Hour
)

// Exceeded notes that a rule ran out of steps on a message, and says whether it is suspended from now on, until when.
func (o *Offenders) Exceeded(rule string, now time.Time) (until time.Time, suspended bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.by == nil {
		o.by = map[string]*offence{}
	}
	f := o.by[rule]
	if f == nil || now.Sub(f.first) > offencesWithin {
		f = &offence{first: now}
		o.by[rule] = f
	}
	if now.Before(f.until) { // a message that was begun before
		return f.until, false
	}
	if f.messages++; f.messages < offencesAllowed {
		return time.Time{}, false
	}
	*f = offence{first: now, until: now.Add(suspendedFor)}
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
