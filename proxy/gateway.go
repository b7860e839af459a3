package proxy

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/ledger"
	"postern/policy/records/quarantine"
)

// Gateway processes mail between the doors and the next hops. Its fields are set once, before the first Connection;
// what can change while it runs is in Setup.
type Gateway struct {
	// Hostname is our name in trace fields, and our authserv-id (RFC 8601 section 2.5).
	Hostname string
	// HeaderName is the name of our own field, "X-Postern" if empty. SubjectTag is put before the subject of tagged
	// mail, nothing if empty. Strip names fields that only we or the server behind us may set; "*" ends a prefix.
	HeaderName, SubjectTag string
	Strip                  []string

	Relay      Relay
	Queue      Queue
	Quarantine Quarantine
	Ledger     Ledger
	// Signer signs outbound mail, nil for none. Sealer seals inbound mail for SealDomain (RFC 8617): what we change, or
	// all of it with SealAll.
	Signer     Signer
	Sealer     Sealer
	SealDomain string
	SealAll    bool
	// Judged makes the field by which mail that this door has judged is recognised when it is fetched, from the
	// transaction's id and the hash of the octets below the field; nil for none.
	SealHeader func(id string, sum [sha256.Size]byte) []byte
	// Known reports whether a client's earlier mail was good; nil: no client is known.
	Known func(client netip.Addr) bool
	// LetIn makes the same field for mail that a list entry or a rule let in, whatever the filters found; nil for none.
	LetIn func(id string, sum [sha256.Size]byte) []byte
	// Convicted is called with each judged message from outside and its strictest verdict, unless nil. It must be quick.
	OnVerdict func(tx *mail.Transaction, strictest policy.Verdict)
	// Listed is called with the list entry that a verdict matched, unless nil. It must be quick.
	OnListHit func(entry string)
	// Reports takes mail to the addresses to which users send what was judged wrongly; nil for none.
	Reports Reports
	// Witness gets every judged message; nil for none.
	Witness Witness
	Log     *slog.Logger
	Now     func() time.Time
	// JudgeTimeout bounds the judging of one message, DeliverTimeout its delivery.
	JudgeTimeout, DeliverTimeout time.Duration
	// KeepRejected is how long refused mail is held all the same, 0 for not at all.
	KeepRejected time.Duration
	// Heavy limits how many large messages are judged at a time, which leaves a processor to the others; nil is no limit.
	Heavy chan struct{}

	setup  atomic.Pointer[Setup]
	counts fates
}

// Setup is what a reload replaces as a whole. A transaction keeps the one it began with.
type Setup struct {
	Chain  *filters.Chain
	Policy *policy.Policy
	// Fetched are the filters for mail fetched from a mailbox: those that need no SMTP client. Nil for none.
	Fetched *filters.Chain
	// Epoch changes with everything that decides on the content of a message: policy, rules, settings.
	Epoch string
	// Route names the route of a recipient domain; local says that the domain is one of ours. Mail of our own users for
	// other domains takes the Outbound route, zero for none.
	Route    func(domain string) (route mail.Route, local bool)
	Outbound mail.Route
	// Transparent are the doors whose clients are connected to their original destination, FromClient those that do so
	// from the client's own address.
	Transparent, FromClient map[string]bool
	// Groups gives the directory's groups of an address, not ok if it can't be asked; it is called only if the policy wants to
	// know them. Nil for no directory.
	Groups func(ctx context.Context, a mail.Address) (names []string, ok bool)
	// Tried is a policy on trial, in force for the recipients that TriedFor selects; nil for none. Compared is called with
	// both verdicts.
	Tried    *policy.Policy
	TriedFor func(mail.Address) bool
	Compared func(other, tried policy.Verdict)
	// Recipients verifies recipients without the next hop; nil for none.
	Recipients Recipients
	// Postmaster is the domain of <postmaster> without one (RFC 5321 section 4.5.1).
	Postmaster string
	// QueueWhenDown names the routes whose mail is queued while none of their hops answers.
	QueueWhenDown map[mail.Route]bool

	reading *policy.Policy // Policy, for mail that is fetched
}

// Quarantine holds messages.
type Quarantine interface {
	// Hold returns nil once the message is synced to disk.
	Hold(ctx context.Context, item quarantine.Item, content mail.Copy) error
	// HoldRejected holds a refused message for a limited time.
	HoldRejected(ctx context.Context, item quarantine.Item, content mail.Copy, ttl time.Duration) error
	// Drop undoes a Hold.
	Drop(ctx context.Context, id string) error
}

// Ledger takes the record of everything. It never fails and never waits long.
type Ledger interface {
	Connection(ledger.Connection)
	Transaction(ledger.Transaction)
}

// Signer makes the DKIM-Signature field for a copy, nil if there is no key for the domain.
type Signer interface {
	Sign(ctx context.Context, c mail.Copy, domain string) ([]byte, error)
}

// Sealer makes the ARC fields for a copy as it goes out, nil if there is no key for the domain.
type Sealer interface {
	Seal(ctx context.Context, c mail.Copy, domain, authservID string, results []mail.AuthResult, cv mail.AuthVerdict) ([]byte, error)
}

// Reports teaches from what users send to report addresses.
type Reports interface {
	// For says whether an address is one for spam or one for honest mail; not ok if it is neither.
	For(a mail.Address) (spam, ok bool)
	// Take learns from the messages attached to a report, and says of how many. An UnusableReport is the sender's fault.
	Take(ctx context.Context, tx *mail.Transaction, spam bool) (n int, err error)
}

// UnusableReport is a report that nothing can be learned from. Its text is for the sender.
type UnusableReport struct{ Err error }

// Error implements error.
func (e UnusableReport) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e UnusableReport) Unwrap() error { return e.Err }

// Witness gets each message once it has its reply: for reports to others. It must be quick.
type Witness interface {
	Witness(tx *mail.Transaction, done policy.Disposition)
}

// Use puts a setup in force for all connections and transactions that begin from now on.
func (g *Gateway) Use(s *Setup) {
	s.reading = s.Policy.ForReading()
	g.setup.Store(s)
}

// Offers gives the extensions that a client can be offered because the servers behind us have them.
func (g *Gateway) Offers() Extensions { return g.Relay.Offers() }

// Handle processes one message: it is judged, then refused, held or delivered, and recorded. Its reply is the answer to
// the end of data.
//
// RFC 5321 section 6.1: a positive reply means that the message is on disk, here or at the next hop.
func (g *Gateway) Handle(ctx context.Context, x *Transaction, m *mail.Message) mail.Reply {
	x.tx.Message = m
	if x.report != nil {
		return x.takeReport(ctx)
	}
	verdicts := x.judge(ctx)
	if ctx.Err() != nil { // the door closes: filters were cancelled, so there is no verdict
		return x.answer(mail.TryLater())
	}
	x.witness(verdicts)
	if g.OnVerdict != nil && !x.tx.Session.Outbound() {
		g.OnVerdict(x.tx, strictestOf(verdicts))
	}

	switch common := mildest(verdicts); {
	case common == policy.Reject: // only if all refuse
		x.keepRejected(ctx)
		return x.answer(verdicts[0].Reply)
	case anyOf(verdicts, policy.Defer): // the sender keeps the whole message: RFC 5321 section 4.2.1
		return x.answer(deferring(verdicts))
	}

	ctx, cancel := context.WithTimeout(ctx, g.DeliverTimeout)
	defer cancel()
	if r, refused, err := x.unfit(ctx); err != nil || refused {
		if err != nil {
			g.Log.Error("lines of a message", "id", x.tx.ID, "error", err)
			r = mail.TryLater()
		}
		return x.answer(r)
	}
	deliver, hold, err := x.copies(ctx)
	if err != nil {
		g.Log.Error("copies", "id", x.tx.ID, "error", err)
		return x.answer(mail.TryLater())
	}
	if err := x.hold(ctx, hold); err != nil {
		g.Log.Error("quarantine", "id", x.tx.ID, "error", err)
		return x.answer(mail.TryLater())
	}
	if err := x.keep(ctx, deliver); err != nil {
		g.Log.Error("quarantine", "id", x.tx.ID, "error", err)
		x.unhold(ctx, hold)
		return x.answer(mail.TryLater())
	}
	reply := x.handOver(ctx, deliver, keepsAny(hold))
	if !reply.Positive() {
		x.unhold(ctx, hold) // the sender retries all of it, or knows that all refuse
		x.unkeep(ctx, deliver)
		return x.answer(reply)
	}
	x.aside(ctx, append(deliver, hold...))
	return x.answer(reply)
}

// mildest is the disposition that decides the one reply: 5xx only if every recipient's verdict is reject.
func mildest(verdicts []policy.Verdict) policy.Disposition {
	least := verdicts[0].Disposition
	for _, v := range verdicts {
		least = min(least, v.Disposition)
	}
	return least
}

func strictestOf(verdicts []policy.Verdict) policy.Verdict {
	strictest := verdicts[0]
	for _, v := range verdicts {
		if v.Disposition > strictest.Disposition {
			strictest = v
		}
	}
	return strictest
}

func anyOf(verdicts []policy.Verdict, d policy.Disposition) bool {
	for _, v := range verdicts {
		if v.Disposition == d {
			return true
		}
	}
	return false
}

func deferring(verdicts []policy.Verdict) mail.Reply {
	for _, v := range verdicts {
		if v.Disposition == policy.Defer {
			return v.Reply
		}
	}
	return mail.TryLater()
}
