package classifier

import (
	"context"
	"errors"
	"fmt"

	"postern/filters/classify/lessonlog"
)

// ErrNoEvent says that the log has no such event.
var ErrNoEvent = errors.New("no such event in the classifier's log")

// Forget makes what was said of messages void, by one person or, with by "", by anybody: as if it had never been said.
func (c *Classifier) Forget(ctx context.Context, ids []string, by string) error {
	var events []lessonlog.Event
	for _, text := range ids {
		id, err := lessonlog.ParseID(text)
		if err != nil {
			return err
		}
		events = append(events, lessonlog.Event{Kind: lessonlog.Forgotten, ID: id, By: by, Way: "forget", Trusted: true, Time: c.o.Now()})
	}
	if err := c.o.Log.Append(ctx, events...); err != nil {
		return err
	}

	return c.Now(ctx)
}

// RollBack makes everything behind an event void.
func (c *Classifier) RollBack(ctx context.Context, to int64, by string) error {
	last, err := c.o.Book.Last(ctx)
	if err != nil {
		return err
	}
	if to < 0 || to > last {
		return fmt.Errorf("%d: %w, whose last is %d", to, ErrNoEvent, last)
	}
	e := lessonlog.Event{Kind: lessonlog.RolledBack, From: to + 1, To: last, All: true, By: by, Way: "rollback", Trusted: true, Time: c.o.Now()}
	if err := c.o.Log.Append(ctx, e); err != nil {
		return err
	}

	return c.Now(ctx)
}

// Now lets what is in the log hold at once, also what has everything learned anew.
func (c *Classifier) Now(ctx context.Context) error {
	if err := c.CatchUp(ctx); err != nil {
		return err
	}
	c.work.Lock()
	defer c.work.Unlock()
	if !c.redo {
		return nil
	}

	return c.relearn(ctx)
}

// Status is what a classifier knows.
type Status struct {
	// Ham and Spam are the messages that it has learned from, Waiting those of which too few users say the same.
	Ham     int `json:"ham"`
	Spam    int `json:"spam"`
	Waiting int `json:"waiting"`
	// Event is the last event of the log that it knows of.
	Event int64 `json:"event"`
	// Stale says that it will learn all anew soon, since an earlier lesson no longer holds.
	Stale bool `json:"stale,omitempty"`
}

// Status tells what it knows. It waits for nobody who learns.
func (c *Classifier) Status(context.Context) (Status, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()

	return c.status, nil
}

// note keeps what Status tells. The caller holds work.
func (c *Classifier) note() {
	s := Status{Waiting: c.plan.Waiting(), Event: c.plan.Seq(), Stale: c.redo}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Ham, s.Spam = c.model.Counts()
	c.status = s
}
