package app

import (
	"context"
	"errors"
	"time"

	"postern/policy/records/ledger"
)

// Bounds of what is counted again at a start: reading a record costs some 20 µs.
const (
	countBack = 24 * time.Hour
	countMost = 200_000
)

var errCounted = errors.New("counted enough")

// countEarlier counts what the ledger has of the day before the start. Where that is more than it takes in a few seconds, the
// overview says from when on it is complete.
func (a *App) countEarlier(ctx context.Context, start time.Time) {
	n, last := 0, start
	since := start.Add(-countBack)
	err := a.Ledger.Walk(ctx, since, start, func(tx *ledger.Transaction) error {
		if n++; n > countMost {
			return errCounted
		}
		last = tx.Time
		a.tally.Add(tx)

		return ctx.Err()
	})
	switch {
	case err == nil:
		a.tally.Knows(since)
	case errors.Is(err, errCounted):
		a.out.Log.Info("the statistics leave out a part of the day before the start", "counted", countMost, "missing_from", last, "missing_to", start)
	case ctx.Err() == nil:
		a.out.Log.Warn("the statistics begin with the start", "error", err)
	}
}
