package health

import (
	"context"
	"errors"
	"time"
)

// Alarm tells the admin when trouble begins and when it is over, by webhook and by mail. What comes and goes within a
// moment is not told, and one trouble is told once.
type Alarm struct {
	// hold is how long trouble must last, and be gone, before it is told.
	hold    time.Duration
	tell    func(ctx context.Context, t Trouble, over bool) error
	now     func() time.Time
	pending map[string]time.Time // first seen, not told yet
	told    map[string]Trouble
	gone    map[string]time.Time // told, and not seen since
}

// NewAlarm makes an alarm that tells what lasts for longer than hold.
func NewAlarm(hold time.Duration, now func() time.Time, tell func(context.Context, Trouble, bool) error) *Alarm {
	return &Alarm{hold: hold, now: now, tell: tell, pending: map[string]time.Time{}, told: map[string]Trouble{}, gone: map[string]time.Time{}}
}

// Look takes what is wrong now. What could not be told is told at the next look.
func (a *Alarm) Look(ctx context.Context, troubles []Trouble) error {
	now, seen := a.now(), map[string]bool{}
	var errs []error
	for _, t := range troubles {
		seen[t.key()] = true
		errs = append(errs, a.begin(ctx, now, t))
	}

	for key := range a.pending {
		if !seen[key] {
			delete(a.pending, key)
		}
	}
	for key, t := range a.told {
		if !seen[key] {
			errs = append(errs, a.end(ctx, now, key, t))
		}
	}

	return errors.Join(errs...)
}

// begin tells of a trouble that lasts for long enough and was not told yet in this state.
func (a *Alarm) begin(ctx context.Context, now time.Time, t Trouble) error {
	key := t.key()
	delete(a.gone, key)
	if told, ok := a.told[key]; ok && told.State == t.State {
		delete(a.pending, key)
		return nil
	}

	first, ok := a.pending[key]
	if !ok {
		first = now
		if t.Since.Before(now) && !t.Since.IsZero() { // it lasts since then
			first = t.Since
		}
		a.pending[key] = first
	}
	if now.Sub(first) < a.hold {
		return nil
	}
	if err := a.tell(ctx, t, false); err != nil {
		return err
	}
	a.told[key] = t
	delete(a.pending, key)

	return nil
}

// end tells that a trouble is over, once it is for long enough.
func (a *Alarm) end(ctx context.Context, now time.Time, key string, t Trouble) error {
	since, ok := a.gone[key]
	if !ok {
		a.gone[key], since = now, now
	}
	if now.Sub(since) < a.hold {
		return nil
	}
	if err := a.tell(ctx, t, true); err != nil {
		return err
	}
	delete(a.told, key)
	delete(a.gone, key)

	return nil
}
