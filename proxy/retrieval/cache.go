package retrieval

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"time"

	"postern/internal/mail"
	"postern/internal/state"
	"postern/policy"
	"postern/policy/records/ledger"
)

// Options of a verdicts.
type Options struct {
	// Judge runs the filters that need no SMTP client over a transaction and asks policy. It must come back when ctx ends.
	// The transaction's session names no user and no client: who fetches a message did not send it.
	Judge func(ctx context.Context, tx *mail.Transaction) policy.Verdict
	// Decide asks policy anew about what was found in a message before: for another reader, whose policy may be another one.
	// The transaction is as for Judge. Nil has each reader's message judged from the beginning.
	Decide func(ctx context.Context, tx *mail.Transaction, found policy.Facts) policy.Verdict
	// Originals keeps messages that are masked, nil for nobody. What can't be kept is not masked either: Ruling.Later.
	Originals Originals
	// Grants are messages that an admin let a user read, nil for none.
	Grants Grants
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
	// OnTimeout says what becomes of a message that was not judged in time: "pass", or anything else for Ruling.Later.
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
	// Ready is nil once there is something to say, however old it is. Before that no message is shown.
	Ready(ctx context.Context) error
}

// Originals keeps what readers get masked only: a client may delete what it has fetched.
type Originals interface {
	// Keep returns nil once the message is on disk for good. What is there already under the id stays.
	Keep(ctx context.Context, o Original) error
}

// Original is a message that is about to be masked.
type Original struct {
	// ID is the same for the same octets in the same user's mailbox.
	ID string
	// User is the mailbox's owner.
	Backend, User string
	SHA256        [sha256.Size]byte
	Session       *mail.Session
	Message       *mail.Message
	Verdict       policy.Verdict
}

// Grants knows what an admin let readers see, whatever the filters say.
type Grants interface {
	// Granted says whether the message with this hash, in hexadecimal, was released to the owner of a mailbox, and not called
	// back since, by the hash, the Message-ID or the seal's id. It is asked for each fetch: it must be quick.
	Granted(ctx context.Context, g Grant) bool
}

// Grant is what a release is found by.
type Grant struct{ SHA256, User, MessageID, SealID string }

// Ledger takes records. It never fails and never waits long.
type Ledger interface {
	Transaction(ledger.Transaction)
}

// VerdictCache is where the doors ask about messages. It is safe for use by many goroutines.
type VerdictCache struct {
	opt     Options
	fetched fetches
}

// grace is how long a judge that was broken off may take to come back.
const grace = 2 * time.Second

// New makes a verdicts.
func New(o Options) *VerdictCache {
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
	return &VerdictCache{opt: o}
}

// remembered gives what was found out about the message of a place.
func (d *VerdictCache) remembered(ctx context.Context, p Place) (entry, bool) {
	key, ok := p.key()
	if !ok {
		return entry{}, false
	}
	e, ok := d.recall(ctx, key)

	return e, ok && e.fits(p)
}

// Known gives what is remembered of a place, if it still holds: the judgement is of this epoch and not too old, or the
// message was called back or released. A message that would be masked and whose original is not kept is not known.
func (d *VerdictCache) Known(ctx context.Context, p Place) (Ruling, bool) {
	e, ok := d.remembered(ctx, p)
	if !ok || d.recallsReady(ctx) != nil {
		return Ruling{}, false
	}
	r := e.ruling
	if d.granted(ctx, p, r.SHA256, e.messageID, e.sealID) {
		r.Masked, r.Why = false, whyReleased
		return r, true
	}
	why, back := d.recalled(ctx, r.SHA256, e.messageID, e.sealID)
	if back {
		r.Masked, r.Why = true, why
	}
	if r.Masked && d.opt.Originals != nil && !e.kept {
		return Ruling{}, false
	}
	return r, back || d.holds(e)
}

// Carry tells that a message lies in another place as well: COPYUID and APPENDUID, RFC 4315.
func (d *VerdictCache) Carry(ctx context.Context, from, to Place) {
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
func (d *VerdictCache) Judge(ctx context.Context, s *mail.Session, p Place, m *mail.Message) Ruling {
	c := consultation{verdicts: d, session: s, place: p, message: m, started: d.opt.Now(), epoch: epochMark(d.opt.Epoch())}
	c.messageID = bounded(m.Header().Get("Message-ID"))
	r, remember := c.rule(ctx)
	r.MessageID = c.messageID
	if remember == 0 || r.Later {
		return r
	}
	e := entry{ruling: r, epoch: c.epoch, at: c.started, messageID: c.messageID, sealID: c.sealID, kept: c.kept, size: p.Size, front: p.Front}
	if remember&byContent != 0 {
		d.remember(ctx, c.contentKey(r.SHA256), e)
	}
	if key, ok := p.key(); ok {
		d.remember(ctx, key, e)
	}
	return r
}

// Keep keeps the original of a message that a door masks without having it judged, as it is too large for that. The ruling
// that it gives is the one to follow.
func (d *VerdictCache) Keep(ctx context.Context, s *mail.Session, p Place, m *mail.Message, r Ruling) Ruling {
	c := consultation{verdicts: d, session: s, place: p, message: m, started: d.opt.Now()}
	sum, err := hashOf(m)
	if err != nil {
		return c.unreadable(err)
	}
	r.SHA256, r.MessageID = sum, bounded(m.Header().Get("Message-ID"))
	if err := d.recallsReady(ctx); err != nil {
		return c.unlisted(err, r)
	}
	if d.granted(ctx, p, sum, r.MessageID, "") {
		r.Masked, r.Why = false, whyReleased
		return r
	}
	v := policy.Verdict{Disposition: policy.Quarantine, Decisive: r.Why}
	if r = c.keep(ctx, v, r); !r.Later {
		r.ID = c.record(nil, nil, v, r)
	}
	return r
}
