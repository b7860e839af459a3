package retrieval

import (
	"context"
	"log/slog"
	"time"

	"postern/internal/mail"
	"postern/internal/state"
	"postern/policy"
	"postern/policy/ledger"
)

// Options of a desk.
type Options struct {
	// Judge runs the filters that need no SMTP client over a transaction and asks policy. It must come back when ctx ends.
	// The transaction's session names no user and no client: who fetches a message did not send it.
	Judge func(ctx context.Context, tx *mail.Transaction) policy.Verdict
	// State remembers what was judged.
	State *state.State
	// Recalls are messages that an admin called back, nil for none.
	Recalls Recalls
	// Ledger takes the records, nil for none.
	Ledger Ledger
	// SealKey is that of the SMTP door's seals, empty for no trust in any.
	SealKey []byte
	// Epoch is a short text that changes with policy and rules: what was judged in another epoch is judged again.
	Epoch func() string
	// Mask is the disposition from which on a message is masked, Quarantine if it is Accept.
	Mask policy.Disposition
	// Timeout bounds one judgement, 60 s if it is 0.
	Timeout time.Duration
	// OnTimeout says what becomes of a message that was not judged in time: "mask" (or "") or "pass".
	OnTimeout string
	// Trust is how long a judgement or a seal holds, 24 hours if it is 0.
	Trust time.Duration
	Now   func() time.Time
	Log   *slog.Logger
}

// Recalls knows the messages that an admin called back after they were delivered.
type Recalls interface {
	// Recalled says whether the message with this hash of its octets, in hexadecimal, or this Message-ID was called back,
	// and why. In the place of a Message-ID may stand the id under which the SMTP door took the message, which its seal
	// tells. It is asked for each fetch: it must be quick.
	Recalled(ctx context.Context, sha256, messageID string) (why string, ok bool)
}

// Ledger takes records. It never fails and never waits long.
type Ledger interface {
	Transaction(ledger.Transaction)
}

// Desk is where the doors ask about messages. It is safe for use by many goroutines.
type Desk struct {
	opt     Options
	fetched fetches
}

// grace is how long a judge that was broken off may take to come back.
const grace = 2 * time.Second

// New makes a desk.
func New(o Options) *Desk {
	if o.Mask == policy.Accept {
		o.Mask = policy.Quarantine
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	if o.Trust == 0 {
		o.Trust = 24 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Epoch == nil {
		o.Epoch = func() string { return "" }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Desk{opt: o}
}

// Known gives what is remembered of a place, if it still holds: the judgement is of this epoch and not too old, or the
// message was called back.
func (d *Desk) Known(ctx context.Context, p Place) (Ruling, bool) {
	key, ok := p.key()
	if !ok {
		return Ruling{}, false
	}
	e, ok := d.recall(ctx, key)
	if !ok {
		return Ruling{}, false
	}
	if why, back := d.recalled(ctx, e.ruling.SHA256, e.messageID, e.sealID); back {
		e.ruling.Masked, e.ruling.Why = true, why
		return e.ruling, true
	}
	return e.ruling, d.holds(e)
}

// Carry tells that a message lies in another place as well: COPYUID and APPENDUID, RFC 4315.
func (d *Desk) Carry(ctx context.Context, from, to Place) {
	source, ok := from.key()
	target, ok2 := to.key()
	if !ok || !ok2 {
		return
	}
	if e, ok := d.recall(ctx, source); ok {
		d.remember(ctx, target, e)
	}
}

// Judge judges a whole message, or takes what is known of its octets. It answers within the time limit, whatever
// happens, and remembers the answer by content and by place; not one that comes of a failure or of lack of time.
func (d *Desk) Judge(ctx context.Context, s *mail.Session, p Place, m *mail.Message) Ruling {
	c := consultation{desk: d, session: s, message: m, started: d.opt.Now(), epoch: epochMark(d.opt.Epoch())}
	c.messageID = bounded(m.Header().Get("Message-ID"))
	r, keep := c.rule(ctx)
	r.MessageID = c.messageID
	if keep == 0 {
		return r
	}
	e := entry{ruling: r, epoch: c.epoch, at: c.started, messageID: c.messageID, sealID: c.sealID}
	if keep&byContent != 0 {
		d.remember(ctx, contentKey(r.SHA256), e)
	}
	if key, ok := p.key(); ok {
		d.remember(ctx, key, e)
	}
	return r
}
