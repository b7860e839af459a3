package filters

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"postern/internal/mail"
)

// Preparer is a Filter with questions that need no other filter's findings. They are asked when the stage begins, beside
// the first wave, in time of their own: so nothing that the filters before it wait for can keep it from asking.
type Preparer interface {
	Filter
	// Prepare asks, and gives the Filter that does the rest when the filters before it are done. It is for this one
	// transaction, and keeps nothing of tx.
	Prepare(ctx context.Context, tx *mail.Transaction) Filter
}

// preparing is a filter that asks ahead.
type preparing struct {
	result   <-chan Filter
	deadline time.Time
}

// prepare starts the filters that can ask ahead and have results to wait for, by name.
func (r *Run) prepare(ctx context.Context, stage mail.Stage) map[string]preparing {
	var ahead map[string]preparing
	for _, wave := range r.chain.waves[min(1, len(r.chain.waves)):] {
		for _, l := range wave {
			p, ok := l.Filter.(Preparer)
			if !ok || l.Spec.Stages&stage == 0 || l.Spec.Background {
				continue
			}
			if ahead == nil {
				ahead = map[string]preparing{}
			}
			ahead[l.Spec.Name] = r.ask(ctx, l, p)
		}
	}
	return ahead
}

// ask reads a copy: the findings of others join the transaction meanwhile.
func (r *Run) ask(ctx context.Context, l Link, p Preparer) preparing {
	snapshot := *r.tx
	result := make(chan Filter, 1)
	deadline := time.Now().Add(l.timeout())
	ctx, cancel := l.bounded(ctx)
	go func() {
		defer cancel()
		defer func() {
			if x := recover(); x != nil {
				r.chain.log.Error("filter panicked", "filter", l.Spec.Name, "id", snapshot.ID, "panic", fmt.Sprint(x), "stack", string(debug.Stack()))
				result <- broken{}
			}
		}()
		result <- p.Prepare(ctx, &snapshot)
	}()
	return preparing{result, deadline}
}

// prepared waits for what a filter asked ahead.
func (r *Run) prepared(l Link, p preparing) Filter {
	select {
	case f := <-p.result:
		return f
	default:
	}
	timer := time.NewTimer(time.Until(p.deadline) + grace)
	defer timer.Stop()
	select {
	case f := <-p.result:
		return f
	case <-timer.C:
		r.chain.log.Error("filter hangs", "filter", l.Spec.Name, "id", r.tx.ID)
		return broken{}
	}
}

// broken replaces a filter that could not ask ahead.
type broken struct{}

// Inspect implements Filter.
func (broken) Inspect(context.Context, *mail.Transaction) ([]Finding, error) {
	return nil, context.DeadlineExceeded
}
