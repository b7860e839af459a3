package retrieval

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime/debug"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy"
	"postern/proxy/retrieval/seal"
)

// consultation is the way of one message over the desk.
type consultation struct {
	desk      *Desk
	session   *mail.Session
	message   *mail.Message
	started   time.Time
	epoch     uint64
	messageID string
	sealID    string // of the seal's transaction, however old it is
}

// memory says where an answer is remembered.
type memory uint8

const (
	byPlace memory = 1 << iota
	byContent
)

// rule gives the ruling: what an admin called back is masked, what is known is taken, what our SMTP door sealed is clean,
// all else is judged.
func (c *consultation) rule(ctx context.Context) (r Ruling, keep memory) {
	d := c.desk
	sum, err := hashOf(c.message)
	if err != nil {
		d.opt.Log.Error("a fetched message can't be read", "id", c.session.ID, "error", err)
		return Ruling{Masked: true, ID: c.session.ID, Why: "the gateway could not read the message"}, 0
	}
	r.SHA256 = sum
	before, known := d.recall(ctx, contentKey(sum))
	s, sealed := seal.Open(d.opt.SealKey, c.message)
	c.sealID = s.ID
	if why, ok := d.recalled(ctx, sum, c.messageID, c.sealID); ok {
		r.ID, r.Masked, r.Why = before.ruling.ID, true, why
		if !known {
			r.ID = c.record(nil, policy.Verdict{Disposition: policy.Quarantine, Decisive: why}, r)
		}
		c.epoch = noEpoch // found by its hash as long as it is called back, and not a moment longer
		return r, byPlace
	}
	if known && d.holds(before) && before.ruling.SHA256 == sum {
		c.started = before.at // trust does not begin anew
		return before.ruling, byPlace
	}
	if sealed && s.Epoch(d.opt.Epoch()) && d.fresh(s.At) {
		r.ID, c.started = s.ID, s.At
		return r, byPlace | byContent
	}
	return c.judge(ctx, r)
}

func hashOf(m *mail.Message) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	n, err := io.Copy(h, m.Open())
	if err == nil && n != m.Size() {
		err = io.ErrUnexpectedEOF
	}
	h.Sum(sum[:0])
	return sum, err
}

// errJudge says that the judge failed: its panic is in the log.
var errJudge = errors.New("the judge failed")

// judge asks the filters and policy.
func (c *consultation) judge(ctx context.Context, r Ruling) (Ruling, memory) {
	d := c.desk
	tx := c.transaction()
	verdict, err := c.ask(ctx, tx)
	_, failed := mail.Find(tx.Findings, filters.Failed)
	keep := byPlace | byContent
	switch {
	case err == nil && verdict.Disposition >= d.opt.Mask && verdict.Disposition != policy.Defer:
		r.Masked, r.Why = true, verdict.Decisive
	case errors.Is(err, context.DeadlineExceeded) && d.opt.OnTimeout == "pass":
		r.Why = "not judged in time, passed as the settings say"
	case errors.Is(err, context.DeadlineExceeded):
		r.Masked, r.Why = true, "not judged in time"
	case err != nil:
		r.Masked, r.Why = true, "it could not be judged: "+err.Error()
	case verdict.Disposition == policy.Defer:
		r.Masked, r.Why = true, "it can't be judged now: "+verdict.Decisive
	}
	if err != nil || failed || verdict.Disposition == policy.Defer {
		keep = 0
	}
	if err != nil {
		tx = c.transaction() // the judge may still write to the first
		verdict = policy.Verdict{Disposition: policy.Defer, Decisive: r.Why}
	}
	r.Why = cut(filters.Printable(r.Why), maxWhy)
	r.ID = c.record(tx, verdict, r)
	return r, keep
}

// transaction is the message as the filters see it. Who fetches it did not send it: neither his address nor his login
// speaks for it.
func (c *consultation) transaction() *mail.Transaction {
	s := *c.session
	s.User, s.Trusted, s.Client, s.ClientName, s.Helo, s.Findings = "", false, netip.Addr{}, "", "", nil
	tx := &mail.Transaction{ID: mail.NewID(c.started), Session: &s, Stage: mail.StageMessage, Message: c.message}
	if to, err := mail.ParseAddress(c.session.User); err == nil {
		tx.Recipients = []mail.Recipient{{Address: to}}
	}
	return tx
}

type answer struct {
	verdict policy.Verdict
	err     error
}

// ask calls the judge, who has as long as the settings say and a little grace. A panic of his is an error.
func (c *consultation) ask(ctx context.Context, tx *mail.Transaction) (policy.Verdict, error) {
	d := c.desk
	ctx, cancel := context.WithTimeout(ctx, d.opt.Timeout)
	defer cancel()
	answered := make(chan answer, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				d.opt.Log.Error("panic while a fetched message was judged", "id", c.session.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				answered <- answer{err: errJudge}
			}
		}()
		v := d.opt.Judge(ctx, tx)
		answered <- answer{verdict: v, err: ctx.Err()}
	}()
	late := time.NewTimer(d.opt.Timeout + grace)
	defer late.Stop()
	select {
	case a := <-answered:
		if a.err != nil && a.verdict.Disposition >= d.opt.Mask && a.verdict.Disposition != policy.Defer {
			a.err = nil // bad by what was found in time
		}
		return a.verdict, a.err
	case <-late.C:
		d.opt.Log.Error("the judge does not come back", "id", c.session.ID, "size", c.message.Size())
		return policy.Verdict{}, context.DeadlineExceeded
	}
}
