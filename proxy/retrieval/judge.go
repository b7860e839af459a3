package retrieval

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/quarantine"
	"postern/proxy/retrieval/seal"
)

// consultation is the way of one message over the verdicts.
type consultation struct {
	verdicts  *VerdictCache
	session   *mail.Session
	place     Place
	message   *mail.Message
	started   time.Time
	epoch     uint64
	messageID string
	sealID    string // of the seal's transaction, however old it is
	kept      bool   // the original is kept
}

// memory says where an answer is remembered.
type memory uint8

const (
	byPlace memory = 1 << iota
	byContent
)

// whyReleased stands in records of messages that an admin let their reader see.
const whyReleased = "released"

// foundOut gives what was found out about the same octets, for whatever reader.
func (c *consultation) foundOut(ctx context.Context, sum [sha256.Size]byte) (entry, bool) {
	e, ok := c.verdicts.recall(ctx, c.contentKey(sum))
	return e, ok && e.ruling.SHA256 == sum
}

// trusts says whether a seal still stands for a verdict: it is of this epoch, and fresh.
func (d *VerdictCache) trusts(s seal.Seal) bool { return s.Epoch(d.opt.Epoch()) && d.fresh(s.At) }

// rule gives the ruling: what an admin released is shown, what was called back is masked, what an admin or the user let in at
// the SMTP door is shown, what is known is taken, what that door sealed is clean, all else is judged.
func (c *consultation) rule(ctx context.Context) (r Ruling, remember memory) {
	d := c.verdicts
	sum, err := hashOf(c.message)
	if err != nil {
		return c.unreadable(err), 0
	}
	r.SHA256 = sum
	if err := d.recallsReady(ctx); err != nil {
		return c.unlisted(err, r), 0
	}
	before, known := c.foundOut(ctx, sum)
	s, sealed := seal.Open(d.opt.SealKey, c.message)
	c.sealID = s.ID
	if d.granted(ctx, c.place, sum, c.messageID, c.sealID) {
		r.ID, r.Why = c.keptID(sum), whyReleased
		return r, byPlace
	}
	if why, ok := d.recalled(ctx, sum, c.messageID, c.sealID); ok {
		return c.calledBack(ctx, r, before, known, why)
	}
	if sealed && s.LetIn {
		r.ID, r.Why = s.ID, "let in at the SMTP door"
		return r, byPlace
	}
	if known && d.stillHolds(before) {
		c.started, c.kept = before.at, before.kept // trust does not begin anew
		return before.ruling, byPlace
	}
	if sealed && d.trusts(s) {
		r.ID, c.started = s.ID, s.At
		return r, byPlace | byContent
	}

	return c.judge(ctx, r)
}

// calledBack masks what an admin called back.
func (c *consultation) calledBack(ctx context.Context, r Ruling, before entry, known bool, why string) (Ruling, memory) {
	r.ID, r.Masked, r.Why = before.ruling.ID, true, why
	v := policy.Verdict{Disposition: policy.Quarantine, Decisive: why}
	if r = c.keep(ctx, v, r); !known || c.kept {
		r.ID = c.record(nil, nil, v, r)
	}
	c.epoch = noEpoch // found by its hash as long as it is called back, and not a moment longer
	return r, byPlace
}

// unreadable is the ruling on a message that we can't read: our own fault, which is no word on the message.
func (c *consultation) unreadable(err error) Ruling {
	c.verdicts.opt.Log.Error("a fetched message can't be read", "id", c.session.ID, "error", err)
	return Ruling{Masked: true, Later: true, ID: c.session.ID, Why: "the gateway could not read the message"}
}

// unlisted is the ruling while nobody can say what was called back.
func (c *consultation) unlisted(err error, r Ruling) Ruling {
	c.verdicts.opt.Log.Error("a fetched message has to wait", "id", c.session.ID, "error", err)
	r.Masked, r.Later, r.ID, r.Why = true, true, c.session.ID, "it can't be judged now: "+err.Error()
	return r
}

// reader is by whose policy is judged.
func (c *consultation) reader() string { return strings.ToLower(c.session.User) }

func (c *consultation) contentKey(sum [sha256.Size]byte) string {
	return contentKey(sum, c.place, c.reader())
}

// keptID names the original of a content in a mailbox: the same each time, so that one is kept however often it is masked.
func (c *consultation) keptID(sum [sha256.Size]byte) string {
	h := sha256.New()
	h.Write(sum[:])
	writeText(h, c.place.Backend)
	writeText(h, c.owner())
	return "M" + base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil)[:10])
}

// owner is whose mailbox it is; where nobody knows, as with Kerberos, who logged in.
func (c *consultation) owner() string {
	return strings.ToLower(cmp.Or(c.place.User, c.session.User))
}

// keep puts the original away before a masked copy goes out. If it can't be kept that copy does not go out.
func (c *consultation) keep(ctx context.Context, v policy.Verdict, r Ruling) Ruling {
	d := c.verdicts
	if d.opt.Originals == nil {
		return r
	}
	o := Original{ID: c.keptID(r.SHA256), Backend: c.place.Backend, User: c.owner(), SHA256: r.SHA256, Session: c.session, Message: c.message, Verdict: v}
	if err := d.opt.Originals.Keep(ctx, o); err != nil {
		d.opt.Log.Error("the original of a message that would be masked can't be kept", "id", c.session.ID, "original", o.ID, "error", err)
		r.Masked, r.Later, r.Why = true, true, "its original can't be kept"
		return r
	}
	r.ID, c.kept = o.ID, true
	return r
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

// judge asks the filters and policy; what was found for another reader, policy only.
func (c *consultation) judge(ctx context.Context, r Ruling) (Ruling, memory) {
	tx := c.transaction()
	facts, at, known := c.facts(ctx, r.SHA256)
	var verdict policy.Verdict
	var err error
	if known {
		c.started = at
		verdict = c.verdicts.opt.Decide(ctx, tx, facts)
	} else {
		if verdict, err = c.ask(ctx, tx); err != nil {
			tx = c.transaction() // the judge may still write to the first
		}
		facts = policy.FactsOf(tx)
	}
	r = c.weigh(ctx, tx, facts, verdict, err, r)
	failed := r.Later || err != nil
	if failed {
		verdict = policy.Verdict{Disposition: policy.Defer, Decisive: r.Why}
	}
	if r.Masked && !r.Later {
		r = c.keep(ctx, verdict, r)
	}
	r.Why = cut(filters.Printable(r.Why), maxWhy)
	r.ID = c.record(tx, &facts, verdict, r)
	if failed || hasFailed(facts) {
		return r, 0
	}
	if !known {
		c.rememberFacts(ctx, r.SHA256, facts)
	}
	return r, byPlace | byContent
}

// onlyFailed says whether the message would be shown if no filter had failed.
func (c *consultation) onlyFailed(ctx context.Context, tx *mail.Transaction, facts policy.Facts) bool {
	opt := &c.verdicts.opt
	return hasFailed(facts) && opt.Decide != nil && opt.Decide(ctx, tx, withoutFailures(facts)).Disposition < opt.Mask
}

// weigh makes the ruling of a verdict. That something is away, late or broken is no verdict.
func (c *consultation) weigh(ctx context.Context, tx *mail.Transaction, facts policy.Facts, v policy.Verdict, err error, r Ruling) Ruling {
	d := c.verdicts
	later := func(why string) Ruling {
		r.Masked, r.Later, r.Why = true, true, why
		return r
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded) && d.opt.OnTimeout == "pass":
		r.Why = "not judged in time, passed as the settings say"
	case errors.Is(err, context.DeadlineExceeded):
		return later("not judged in time")
	case err != nil:
		return later("it could not be judged: " + err.Error())
	case v.Disposition == policy.Defer:
		return later("it can't be judged now: " + v.Decisive)
	case v.Disposition < d.opt.Mask || c.ownWork(v):
	case c.onlyFailed(ctx, tx, facts):
		// policy holds what a filter could not look at; here it lies safely in its mailbox meanwhile
		return later("it can't be judged now: " + v.Decisive)
	default:
		r.Masked, r.Why = true, v.Decisive
	}
	return r
}

// ownWork says whether a message is its reader's own: it lies where he writes and was never on the way, so no stranger's
// mail is in question, whose form or author would tell against it. A virus is one all the same.
func (c *consultation) ownWork(v policy.Verdict) bool {
	h := c.message.Header()
	return c.place.Own && h.Count("Received") == 0 && h.Count("Return-Path") == 0 && quarantine.Categorize(v.Reasons) != quarantine.Virus
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

// ask calls the judge, who has as long as the settings say and a little grace. A panic in it is an error.
func (c *consultation) ask(ctx context.Context, tx *mail.Transaction) (policy.Verdict, error) {
	d := c.verdicts
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
