package dns

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// Budget is what one check of one message may spend on DNS.
type Budget struct {
	// Queries is how many questions may be asked, those that the cache answers included; Time is how long after
	// WithBudget the last of them may still wait.
	Queries int
	Time    time.Duration
}

// DefaultQueries is enough for SPF (RFC 7208 section 4.6.4), for the signatures of a message, for DMARC of ten authors, or
// for a dozen lists: each of them has as many of its own.
const DefaultQueries = 150

type budget struct {
	left     atomic.Int64
	deadline time.Time
}

type budgetKey struct{}

// WithBudget gives all look-ups under ctx one common budget. Over it they fail as temporary errors.
func WithBudget(ctx context.Context, b Budget) context.Context {
	kept := &budget{deadline: time.Now().Add(b.Time)}
	kept.left.Store(int64(b.Queries))
	return context.WithValue(ctx, budgetKey{}, kept)
}

// spend takes one query from the budget, if there is one, and gives its deadline.
func spend(ctx context.Context, name string) (time.Time, error) {
	b, _ := ctx.Value(budgetKey{}).(*budget)
	if b == nil {
		return time.Time{}, nil
	}
	if b.left.Add(-1) < 0 {
		return time.Time{}, &net.DNSError{Err: "the number of DNS queries allowed is used up", Name: name, IsTemporary: true}
	}
	return b.deadline, nil
}
