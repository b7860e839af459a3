package app

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync/atomic"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/policy"
	"postern/policy/breaker"
	"postern/policy/records/quarantine"
	"postern/policy/replay"
	"postern/proxy"
)

// Bounds beyond which a policy on trial does harm: the number of verdicts that hold or refuse mail that the other
// policy would let in, and their share of all its verdicts.
const (
	harmAtLeast = 10
	harmShare   = 0.05
)

// trial is a policy in force for a share of the recipients.
type trial struct {
	replay.Trial
	verdicts, harm atomic.Int64
}

// try adds the current trial to a setup.
func (a *App) try(ctx context.Context, cfg *config.Config, s *proxy.Setup, j *Pipeline) error {
	t, ok, err := a.Versions.Trial(ctx)
	if err != nil || !ok || t.Share == 0 || t.Stopped != "" {
		return err
	}
	tried, err := compilePolicy(cfg, j.Maps, Symbols(j.Specs), "the policy that is tried", []byte(t.Text), a.mutedSymbols(), a.out.Entries...)
	if err != nil {
		return fmt.Errorf("the policy that is tried: %w", err)
	}
	running := &trial{Trial: t}
	s.Tried = tried
	s.TriedFor = func(to mail.Address) bool { return inShare(to, t.Share) }
	s.Compared = func(other, v policy.Verdict) { a.compared(running, other, v) }
	return nil
}

// inShare picks a given percentage of recipients, always the same ones.
func inShare(a mail.Address, share int) bool {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(a.Key())) // it never fails
	return int(sum.Sum32()%100) < share
}

// compared counts how the policy on trial changes verdicts, and stops it if it does harm.
func (a *App) compared(t *trial, other, tried policy.Verdict) {
	n := t.verdicts.Add(1)
	if tried.Disposition < policy.Quarantine || other.Disposition >= policy.Quarantine {
		return
	}
	harm := t.harm.Add(1)
	if harm != harmAtLeast && harm%harmAtLeast != 0 || float64(harm) < harmShare*float64(n) {
		return
	}
	t.Stopped = fmt.Sprintf("%d of its %d verdicts held or refused what the policy in force would have let in", harm, n)
	a.running.Go(func() { a.stopTrial(t.Trial) })
}

func (a *App) stopTrial(t replay.Trial) {
	a.out.Log.Warn("the policy that is tried was stopped", "why", t.Stopped)
	if err := a.Versions.Try(context.Background(), t); err != nil {
		a.out.Log.Error("stop the trial", "error", err)
	}
	if err := a.rejudge(); err != nil {
		a.out.Log.Error("stop the trial", "error", err)
	}
}

// mutedSymbols are those that weigh nothing for now.
func (a *App) mutedSymbols() []string {
	var names []string
	for _, m := range a.Breaker.Muted() {
		names = append(names, m.Symbol)
	}
	return names
}

// proofToMute gives the evidence needed to mute a symbol. For content rules it is volume: a faulty rule hits all
// senders alike. Symbols about the sender's identity, and symbols with an action, are never muted; all others only by
// their effect on known senders.
func (a *App) proofToMute(symbol string) breaker.Proof {
	j := a.pipeline.Load()
	if j.Policy.Acts(symbol) {
		return breaker.Never
	}

	for _, spec := range j.Specs {
		if !slices.ContainsFunc(spec.Symbols, func(s filters.Symbol) bool { return s.Name == symbol }) {
			continue
		}
		switch spec.Name {
		case "content":
			return breaker.Volume
		case "spf", "dkim", "dmarc", "arc", "impersonation", "senderlogin":
			return breaker.Never
		}
	}

	return breaker.Vouched
}

// convicted passes a verdict to the breaker. A symbol it mutes is muted from the next message on.
func (a *App) onVerdict(tx *mail.Transaction, strictest policy.Verdict) {
	m, tripped := a.Breaker.Observe(tx.ID, tx.From.ASCIIDomain(), strictest)
	if !tripped {
		return
	}
	a.out.Log.Warn("symbol muted", "symbol", m.Symbol, "why", m.Why, "until", m.Until)
	if err := a.rejudge(); err != nil {
		a.out.Log.Error("mute", "symbol", m.Symbol, "error", err)
		return
	}
	a.running.Go(func() { a.makeGood(m) })
}

// rejudge reloads the policy, with the current muted symbols and trial.
func (a *App) rejudge() error {
	a.changing.Lock()
	defer a.changing.Unlock()
	out := a.out
	out.Muted = a.mutedSymbols()
	j := *a.pipeline.Load()
	cfg := j.config // what a reload has put in force stays
	text, err := PolicyText(cfg)
	if err != nil {
		return err
	}
	if j.Policy, err = compilePolicy(cfg, j.Maps, Symbols(j.Specs), cfg.PolicyFile(), text, out.Muted, out.Entries...); err != nil {
		return err
	}
	if j.Epoch, err = epoch(cfg, j.Policy, j.rules); err != nil {
		return err
	}
	a.pipeline.Store(&j)
	a.wasMuted = out.Muted
	a.Gateway.Use(a.setup(cfg, &j))
	return nil
}

// unmute puts symbols back in force whose muting has expired.
func (a *App) unmute(context.Context) {
	a.changing.Lock()
	was := a.wasMuted
	a.changing.Unlock()
	if slices.Equal(was, a.mutedSymbols()) {
		return
	}
	if err := a.rejudge(); err != nil {
		a.out.Log.Error("unmute", "error", err)
	}
}

// makeGood judges again the mail held for a muted symbol, and releases what would have been let in without it.
func (a *App) makeGood(m breaker.Muting) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for _, id := range m.Messages {
		record, err := a.Ledger.Explain(ctx, id)
		if err != nil {
			a.out.Log.Error("judge again", "id", id, "error", err)
			continue
		}
		for _, t := range record.Transactions {
			if t.Facts == nil || t.HeldID == "" {
				continue
			}
			if err := a.letGo(ctx, t.HeldID, t.Facts); err != nil {
				a.out.Log.Error("judge again", "id", t.ID, "error", err)
			}
		}
	}
}

// letGo releases a held message for the recipients whose verdict would now let it in.
func (a *App) letGo(ctx context.Context, id string, facts *policy.Facts) error {
	item, message, err := a.Quarantine.Get(ctx, id)
	if err != nil {
		return err
	}
	if err := message.Close(); err != nil {
		return err
	}
	now := a.pipeline.Load().Policy
	var to []mail.Address
	for _, r := range item.Recipients {
		if now.Decide(facts, r.Address).Disposition < policy.Quarantine {
			to = append(to, r.Address)
		}
	}
	if len(to) == 0 {
		return nil
	}
	release, err := a.Quarantine.Claim(ctx, id, "the breaker", to...)
	if errors.Is(err, quarantine.ErrTaken) {
		return nil
	}
	if err != nil {
		return err
	}
	return a.Releaser().Deliver(ctx, release)
}

// mutedTable shows the muted symbols to the admin.
type mutedTable struct{ app *App }

// Verbs implements filters.AdminTable.
func (mutedTable) Verbs() []string { return []string{"lift"} }

// Rows implements filters.AdminTable.
func (s mutedTable) Rows(context.Context, int) ([]filters.Row, error) {
	var rows []filters.Row
	for _, m := range s.app.Breaker.Muted() {
		rows = append(rows, filters.Row{Key: m.Symbol, Text: m.Why, Since: m.Since, Until: m.Until})
	}
	return rows, nil
}

// Apply implements filters.AdminTable.
func (s mutedTable) Apply(_ context.Context, verb, key string) error {
	switch {
	case verb != "lift":
		return filters.ErrUnknownVerb
	case !s.app.Breaker.Lift(key):
		return filters.ErrNoRow
	}
	return s.app.rejudge()
}
