// Package ratelimit counts connections, messages, recipients and refusals by client, network, sender, recipient, user
// and other marks of a source, and reports excess over a limit.
package ratelimit

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/state"
)

// Limit is one limit: a rate of something that is counted, or a ratio.
type Limit struct {
	// Key says by what is counted: "client", "network" (/24, /56), "asn", "helo", "sender", "sender_domain", "recipient",
	// "recipient_domain", "user" or several with a "+" between.
	Key string `toml:"key"`
	// Count is what is counted: "connections", "messages", "recipients" or "refused", recipients that were permanently
	// refused.
	Count string `toml:"count"`
	// Rate is as in "100/1h": what may go on for long. Burst is how many may come at once; 0 is all of the rate.
	Rate  string `toml:"rate"`
	Burst int    `toml:"burst"`
	// Ratio stands in place of Count and Rate: "rejected" is the share of recipients that were permanently refused, "junk"
	// the share of messages that policy refused or held. Over is the share from which on the limit holds, Min how many
	// there must have been; what is longer ago than Per counts half, then a quarter.
	Ratio string          `toml:"ratio"`
	Over  float64         `toml:"over"`
	Min   float64         `toml:"min"`
	Per   config.Duration `toml:"per"`
	// Then says what happens: "defer", "tarpit" (each reply waits) or "refuse".
	Then string `toml:"then"`
	// Outbound limits are for our own users and networks, the others for strangers.
	Outbound bool `toml:"outbound"`
}

// Settings are the filter's settings.
type Settings struct {
	Limits []Limit `toml:"limits"`
}

// defaults never meet honest mail of low volume: a large sender spreads over many addresses, and each of these limits
// is far above what one of them sends to one company.
func defaults() Settings {
	return Settings{Limits: []Limit{
		{Key: "client", Count: "connections", Rate: "6000/10m"},
		{Key: "network", Count: "connections", Rate: "30000/10m"},
		{Key: "client", Count: "messages", Rate: "20000/1h"},
		{Key: "client", Count: "recipients", Rate: "50000/1h"},
		{Key: "client+sender+recipient", Count: "recipients", Rate: "10000/1h"},
		{Key: "user", Count: "recipients", Rate: "2000/1h", Burst: 1000, Outbound: true},
		{Key: "client", Count: "recipients", Rate: "100000/1h", Outbound: true},
	}}
}

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:   "ratelimit",
	Help:   "Limits how much one client, network, sender or user may send, and how much of it may be refused.",
	Stages: mail.StageConnect | mail.StageHelo | mail.StageMail | mail.StageRcpt,
	Inline: true,
	Symbols: []filters.Symbol{
		{Name: "RATELIMIT", Score: 0, Action: filters.ActionDefer, Help: "More came than the limits allow",
			Reply: "You are sending more than we take at once, please try again later"},
		{Name: "RATELIMIT_TARPIT", Score: 0, Action: filters.ActionTarpit, Help: "More came than the limits allow, and replies wait"},
		{Name: "RATELIMIT_REFUSE", Score: 0, Action: filters.ActionReject, Help: "Far more came than the limits allow",
			Reply: "You are sending more than we take. If this is wrong, please ask the recipient's postmaster and quote the id in this reply"},
	},
	Settings: func() any { s := defaults(); return &s },
	New:      newFilter,
}

type filter struct {
	env     filters.Env
	limits  []limit
	learner bool // some limit is about replies or verdicts
}

func newFilter(section config.Section, env filters.Env) (filters.Filter, error) {
	s := defaults()
	if err := section.Decode(&s); err != nil {
		return nil, err
	}
	f := filter{env: env}
	for i, l := range s.Limits {
		read, err := l.read(env)
		if err != nil {
			return nil, fmt.Errorf("[filters.ratelimit]: limit %d: %w", i+1, err)
		}
		f.limits = append(f.limits, read)
		f.learner = f.learner || read.learns()
	}
	return f, nil
}

// Inspect implements filters.Filter.
func (f filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	// A login comes after the connection is counted: only trusted networks are outbound from the start.
	outbound := tx.Session.Outbound()
	var found []filters.Finding
	for i := range f.limits {
		l := &f.limits[i]
		if l.stage != tx.Stage || l.outbound != outbound {
			continue
		}
		parts, ok := f.parts(l, tx, filters.LastRecipient(tx))
		if !ok {
			continue
		}
		over := f.over(ctx, l, parts)
		if _, told := mail.Find(found, l.symbol); over == "" || told {
			continue
		}
		found = append(found, filters.Finding{Symbol: l.symbol, Evidence: filters.Printable(fmt.Sprint(l.name, ": ", words(parts), ", ", over))})
	}
	return found, nil
}

// over describes the excess over a limit, "" if there is none.
func (f filter) over(ctx context.Context, l *limit, parts []string) string {
	switch l.count {
	case countRejected, countJunk:
		t := f.env.State.Tally(ctx, l.key(parts), state.Tally{}, l.half)
		if t[1] < l.least || t[0] <= l.share*t[1] {
			return ""
		}
		return strconv.Itoa(int(100*t[0]/t[1])) + " % of " + strconv.Itoa(int(t[1]))
	case countRefused:
		if _, over := f.env.State.Get(ctx, l.key(parts)); over {
			return "for now"
		}
		return ""
	}
	ok, retry := f.env.State.Take(ctx, l.key(parts), l.rate, 1)
	if ok {
		return ""
	}
	return "in " + retry.Round(time.Second).String()
}

// Answered implements filters.RecipientLearner.
func (f filter) Answered(ctx context.Context, tx *mail.Transaction, to mail.Address, r mail.Reply) {
	if !f.learner || r.Temporary() { // what is put off is neither good nor bad
		return
	}
	for i := range f.limits {
		l := &f.limits[i]
		if l.count != countRejected && l.count != countRefused || l.outbound != tx.Session.Outbound() {
			continue
		}
		parts, ok := f.parts(l, tx, to)
		if !ok {
			continue
		}
		switch {
		case l.count == countRejected:
			f.env.State.Tally(ctx, l.key(parts), share(r.Permanent()), l.half)
		case r.Permanent():
			if ok, retry := f.env.State.Take(ctx, l.key(parts), l.rate, 1); !ok {
				f.env.State.Put(ctx, l.key(parts), []byte{1}, retry)
			}
		}
	}
}

// Decided implements filters.MessageLearner.
func (f filter) Decided(ctx context.Context, tx *mail.Transaction, judged []filters.Decision) {
	if !f.learner {
		return
	}
	for i := range f.limits {
		l := &f.limits[i]
		if l.count != countJunk || l.outbound != tx.Session.Outbound() {
			continue
		}
		for _, j := range judged {
			parts, ok := f.parts(l, tx, j.Recipient)
			if !ok || j.Disposition == mail.Defer {
				continue
			}
			f.env.State.Tally(ctx, l.key(parts), share(j.Disposition == mail.Reject || j.Disposition == mail.Quarantine), l.half)
			if !l.byRecipient {
				break // it is one message
			}
		}
	}
}

// share is one more of all, and of those that count if it does.
func share(counts bool) state.Tally {
	if counts {
		return state.Tally{1, 1}
	}
	return state.Tally{0, 1}
}
