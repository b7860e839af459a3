package filters

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"postern/internal/dns"
	"postern/internal/mail"
)

// Link is a filter that is switched on, with its Spec.
type Link struct {
	Spec   Spec
	Filter Filter
}

// Chain runs filters in waves: those that wait for none first, side by side, then those that wait for them. Findings
// come out in registration order whatever the timing was. A Chain is immutable and serves many transactions at once.
type Chain struct {
	waves [][]Link
	log   *slog.Logger
	watch Watcher // nil if unknown
}

// NewChain orders the links by their After. A filter that is switched off counts as done without findings.
func NewChain(links []Link, log *slog.Logger) (*Chain, error) {
	c := &Chain{log: log}
	depth := map[string]int{}
	names := map[string]bool{}
	for _, l := range links {
		names[l.Spec.Name] = true
	}
	for _, l := range links {
		d := 0
		for _, before := range l.Spec.After {
			at, seen := depth[before]
			if names[before] && !seen {
				return nil, fmt.Errorf("filter %s waits for %s, which must stand before it in filters/all", l.Spec.Name, before)
			}
			if seen {
				d = max(d, at+1)
			}
		}
		depth[l.Spec.Name] = d
		for len(c.waves) <= d {
			c.waves = append(c.waves, nil)
		}
		c.waves[d] = append(c.waves[d], l)
	}
	return c, nil
}

// Watch sets the source of which servers are down: before the first transaction.
func (c *Chain) Watch(w Watcher) { c.watch = w }

// Servers are the filters with servers of their own, by name.
func (c *Chain) Servers() map[string]Server {
	all := map[string]Server{}
	for _, wave := range c.waves {
		for _, l := range wave {
			if s, ok := l.Filter.(Server); ok {
				all[l.Spec.Name] = s
			}
		}
	}
	return all
}

// away reports whether a filter's server is known to be down, and the consequence: it is not waited for.
func (c *Chain) away(l Link) (found []Finding, away bool) {
	s, ok := l.Filter.(Server)
	if !ok || c.watch == nil || !c.watch.Away(l.Spec.Name) {
		return nil, false
	}
	found = failed(l, s.Address()+" is away")
	if !s.Required() {
		found[0].Value = Away(l.Spec.Name)
	}
	return found, true
}

// Run is the work of a Chain on one transaction.
type Run struct {
	chain   *Chain
	tx      *mail.Transaction
	cancel  context.CancelFunc
	ctx     context.Context
	pending []pending
	// Took is the time each filter needed, for the record.
	Took map[string]time.Duration
}

// pending is a filter at work.
type pending struct {
	link     Link
	result   <-chan outcome // nil if it is done
	done     outcome
	deadline time.Time
}

type outcome struct {
	findings []Finding
	took     time.Duration
}

// Start begins the work on a transaction. Filters in the background run until they are done, the context ends or the
// Run is closed.
func (c *Chain) Start(ctx context.Context, tx *mail.Transaction) *Run {
	ctx, cancel := context.WithCancel(ctx)
	return &Run{chain: c, tx: tx, ctx: ctx, cancel: cancel, Took: map[string]time.Duration{}}
}

// Close ends what still runs in the background.
func (r *Run) Close() { r.cancel() }

// Stage asks the filters of one stage and puts their findings behind those of the transaction. At StageMessage it
// waits for the background as well. It gives the findings that are new.
//
// Each filter has its own time and its own DNS queries: a slow one takes nothing from another.
func (r *Run) Stage(ctx context.Context, stage mail.Stage) []Finding {
	r.tx.Stage = stage
	first := len(r.tx.Findings)
	if stage == mail.StageMessage {
		r.bound()
	}
	ahead := r.prepare(ctx, stage)
	for depth, wave := range r.chain.waves {
		var now []pending
		if depth == 0 && stage == mail.StageMessage {
			// the first wave does not wait for the background, only what reads its findings does
			now, r.pending = r.pending, nil
		}
		r.await(append(now, r.wave(ctx, wave, stage, ahead)...))
	}
	return r.tx.Findings[first:]
}

// wave begins the filters of one wave. Those that asked ahead begin last, so that no other waits for their answers.
func (r *Run) wave(ctx context.Context, wave []Link, stage mail.Stage, ahead map[string]preparing) []pending {
	now := make([]pending, 0, len(wave))
	var waiting []int
	for _, l := range wave {
		switch _, asked := ahead[l.Spec.Name]; {
		case l.Spec.Stages&stage == 0:
		case l.Spec.Background && stage != mail.StageMessage:
			// it reads a copy: transaction and session go on while it works
			snapshot, session := *r.tx, *r.tx.Session
			snapshot.Session = &session
			r.pending = append(r.pending, r.begin(r.ctx, l, &snapshot))
		case asked:
			waiting = append(waiting, len(now))
			now = append(now, pending{link: l})
		default:
			now = append(now, r.begin(ctx, l, r.tx))
		}
	}
	for _, i := range waiting {
		l := now[i].link
		l.Filter = r.prepared(l, ahead[l.Spec.Name])
		now[i] = r.begin(ctx, l, r.tx)
	}
	return now
}

// bound lets the filters set limits on the message, before any of them reads it.
func (r *Run) bound() {
	for _, wave := range r.chain.waves {
		for _, l := range wave {
			if p, ok := l.Filter.(Bounder); ok && l.Spec.Stages&mail.StageMessage != 0 {
				p.Bound(r.tx)
			}
		}
	}
}

// grace is what a filter gets on top of its deadline to heed it.
const grace = time.Second

func (r *Run) await(list []pending) {
	var found []Finding
	for _, p := range list {
		o := p.done
		if p.result != nil {
			select {
			case o = <-p.result:
			default:
				o = r.awaitOne(p)
			}
		}
		found = append(found, o.findings...)
		r.Took[p.link.Spec.Name] += o.took
	}
	if len(found) > 0 {
		// appended in one go, behind all of the wave: filters of one wave never see each other's findings
		r.tx.Findings = append(slices.Clip(r.tx.Findings), found...)
	}
}

func (r *Run) awaitOne(p pending) outcome {
	timer := time.NewTimer(time.Until(p.deadline) + grace)
	defer timer.Stop()
	select {
	case o := <-p.result:
		return o
	case <-timer.C: // a filter that does not even heed its context
		r.chain.log.Error("filter hangs", "filter", p.link.Spec.Name, "id", r.tx.ID)
		return outcome{findings: failed(p.link, "deadline")}
	}
}

// begin runs one filter with its deadline.
func (r *Run) begin(ctx context.Context, l Link, tx *mail.Transaction) pending {
	start := time.Now()
	if l.Spec.Inline {
		found := r.inspect(ctx, l, tx)
		return pending{link: l, done: outcome{found, time.Since(start)}}
	}
	ctx, cancel := l.bounded(ctx)
	result := make(chan outcome, 1)
	go func() {
		defer cancel()
		found := r.inspect(ctx, l, tx)
		result <- outcome{found, time.Since(start)}
	}()
	return pending{link: l, result: result, deadline: start.Add(l.timeout())}
}

func (l Link) timeout() time.Duration {
	if l.Spec.Timeout == 0 {
		return DefaultTimeout
	}
	return l.Spec.Timeout
}

// bounded gives a filter time and DNS queries of its own.
func (l Link) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	t := l.timeout()
	return context.WithTimeout(dns.WithBudget(ctx, dns.Budget{Queries: dns.DefaultQueries, Time: t}), t)
}

// inspect turns error, time-out and panic into the finding FILTER_FAILED.
func (r *Run) inspect(ctx context.Context, l Link, tx *mail.Transaction) (found []Finding) {
	defer func() {
		if p := recover(); p != nil {
			r.chain.log.Error("filter panicked", "filter", l.Spec.Name, "id", tx.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			found = failed(l, "panic")
		}
	}()
	if found, away := r.chain.away(l); away {
		return found
	}
	found, err := l.Filter.Inspect(ctx, tx)
	if err != nil && r.chain.watch != nil && !errors.Is(err, context.Canceled) {
		r.chain.watch.Failed(l.Spec.Name)
	}
	switch {
	case err == nil:
		return found
	case errors.Is(err, context.Canceled): // it did not look, which must not pass for nothing found
		return append(found, failed(l, "broken off")...)
	case errors.Is(err, context.DeadlineExceeded):
		return append(found, failed(l, "deadline")...)
	}
	r.chain.log.Error("filter failed", "filter", l.Spec.Name, "id", tx.ID, "error", err)
	return append(found, failed(l, "error")...)
}

func failed(l Link, why string) []Finding {
	return []Finding{{Symbol: Failed, Evidence: l.Spec.Name + ": " + why, Value: l.Spec.Name}}
}
