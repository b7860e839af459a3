package proxy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/ledger"
	"postern/policy/records/quarantine"
)

// batch is one copy for the recipients that get the same octets by the same route.
type batch struct {
	leg     *leg
	copy    mail.Copy
	verdict policy.Verdict
	members []int // indices into Transaction.outcomes
	heldID  string
	// whole is the copy with all its parts, if some were taken out of copy.
	whole mail.Copy
}

// copies groups the recipients: those that get the same octets by the same route share a copy. The second result has
// those whose verdict is to hold, and those rejected while others are not, as one reply can't tell the sender both.
func (x *Transaction) copies(ctx context.Context) (deliver, hold []*batch, err error) {
	for i := range x.outcomes {
		o := &x.outcomes[i]
		if o.leg == nil {
			continue
		}
		held := o.verdict.Disposition == policy.Quarantine || o.verdict.Disposition == policy.Reject
		list := &deliver
		if held {
			list = &hold
		}
		b := x.find(*list, o.leg, o.verdict)
		if b == nil {
			b = &batch{leg: o.leg, verdict: o.verdict}
			*list = append(*list, b)
		}
		b.members = append(b.members, i)
	}
	whole, err := x.wrap(x.base(false))
	if err != nil {
		return nil, nil, err
	}
	plain, err := x.sign(ctx, whole)
	if err != nil {
		return nil, nil, err
	}
	for n, b := range append(append([]*batch(nil), deliver...), hold...) {
		b.heldID = x.tx.ID + "-" + strconv.Itoa(n+1)
		if err := x.compose(ctx, b, plain); err != nil {
			return nil, nil, err
		}
	}
	return deliver, hold, nil
}

// compose makes the copy of a batch: from the top, our trace fields, the fields of ours that change its meaning, and
// the message without the omitted fields. Copies that policy does not change carry the plain signature.
func (x *Transaction) compose(ctx context.Context, b *batch, plain []byte) error {
	tagged, marked := b.verdict.Disposition == policy.Tag, false
	b.copy = x.base(tagged)
	trace, signature := append(x.top(b.verdict, x.recipients(b)), headers(b.verdict)...), plain
	if subject, ok := x.subject(); ok && tagged && x.g.SubjectTag != "" {
		b.copy.Top = slices.Concat(b.copy.Top, []byte("Subject: "+x.g.SubjectTag), subject.Raw[subject.ValueAt:])
		marked = true
	}
	if x.tx.Message.Header().Has(mail.DefectFirstLineFolded) {
		// the message would continue the last of our own fields
		b.copy.Top = append(b.copy.Top, x.g.headerName()+"-Note: the message began with white space\r\n"...)
	}
	changed := len(b.verdict.Strip)+len(b.verdict.Defang) > 0
	if changed {
		b.whole = b.copy
		b.whole.Top = slices.Concat(trace, b.copy.Top, signature)
		own, err := x.strip(b)
		if err != nil {
			return err
		}
		b.copy.Top = append(b.copy.Top, own...)
	}
	own, done := x.annotate(b)
	x.changes(b, done)
	if done {
		b.copy.Top, changed = append(b.copy.Top, own...), true
	}
	var err error
	if b.copy, err = x.wrap(b.copy); err != nil {
		return err
	}
	if changed || marked { // a marked subject is another one
		if signature, err = x.sign(ctx, b.copy); err != nil {
			return err
		}
	}
	b.copy.Top = append(b.copy.Top, signature...)
	sealHeader, err := x.sealHeader(b)
	if err != nil {
		return err
	}
	b.copy.Top = slices.Concat(trace, sealHeader, b.copy.Top)
	x.seal(ctx, b, changed || tagged && x.g.SubjectTag != "")
	return nil
}

// judged is the field by which our own POP3 and IMAP doors know that these octets were judged, or let in by a list
// entry or a rule; nothing without such doors. A message that a filter could not look at was not judged to the end: it
// is looked at again when it is fetched.
func (x *Transaction) sealHeader(b *batch) ([]byte, error) {
	field := x.g.SealHeader
	if _, failed := mail.Find(x.tx.Findings, filters.Failed); failed {
		field = nil
	}
	if letIn(b.verdict) {
		field = x.g.LetIn
	}
	if field == nil || x.tx.Session.Outbound() || b.verdict.Disposition > policy.Tag {
		return nil, nil
	}
	sum := sha256.New()
	if _, err := b.copy.WriteTo(sum); err != nil {
		return nil, fmt.Errorf("judged: %w", err)
	}
	return field(x.tx.ID, [sha256.Size]byte(sum.Sum(nil))), nil
}

// letIn reports whether an entry of a list or a rule let the message in, whatever the filters found.
func letIn(v policy.Verdict) bool {
	return slices.ContainsFunc(v.Reasons, func(r policy.Reason) bool {
		return r.Symbol == policy.Allowed || r.Symbol == policy.Ruled && strings.HasSuffix(r.Help, ": "+policy.Accept.String())
	})
}

// seal puts an ARC set on top of a copy whose signatures the servers behind us may no longer be able to verify (RFC
// 8617 section 5.1). Without an ARC result of our own nothing is sealed; a failure to seal does not delay mail.
func (x *Transaction) seal(ctx context.Context, b *batch, changed bool) {
	if x.g.Sealer == nil || x.g.SealDomain == "" || x.tx.Session.Outbound() || !changed && !x.g.SealAll {
		return
	}
	for _, f := range x.tx.Findings {
		chain, ok := f.Value.(filters.ARC)
		if !ok || chain.Temporary { // a chain must not be sealed as failed because DNS did not answer
			continue
		}
		fields, err := x.g.Sealer.Seal(ctx, b.copy, x.g.SealDomain, x.g.Hostname, x.authResults(), chain.Result)
		if err != nil {
			x.g.Log.Error("seal", "id", x.tx.ID, "error", err)
			return
		}
		b.copy.Top = append(fields, b.copy.Top...)
		return
	}
}

// find gives the batch of a recipient: same route, and the same verdict in our own header field.
func (x *Transaction) find(list []*batch, l *leg, v policy.Verdict) *batch {
	for _, b := range list {
		if b.leg == l && x.alike(b.verdict, v) {
			return b
		}
	}
	return nil
}

func (x *Transaction) recipients(b *batch) []mail.Recipient {
	to := make([]mail.Recipient, len(b.members))
	for i, m := range b.members {
		to[i] = x.outcomes[m].recipient
	}
	return to
}

// sign makes the DKIM-Signature of outbound mail, for the domain of its one From address (RFC 6376 section 5).
func (x *Transaction) sign(ctx context.Context, unsigned mail.Copy) ([]byte, error) {
	if x.g.Signer == nil || !x.tx.Session.Outbound() {
		return nil, nil
	}
	boxes, _, err := mail.ParseFrom(x.tx.Message.Header().Get("From"))
	if err != nil || len(boxes) != 1 {
		return nil, nil // not ours to mend: the filters have reported it
	}
	field, err := x.g.Signer.Sign(ctx, unsigned, boxes[0].Address.ASCIIDomain())
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return field, nil
}

// keep holds the originals of copies that parts are taken out of. If one fails, none stays.
func (x *Transaction) keep(ctx context.Context, list []*batch) error {
	for i, b := range list {
		if b.whole.Message == nil {
			continue
		}
		if err := x.g.Quarantine.Hold(ctx, x.heldItem(b, "the original of a message that a part was taken out of"), b.whole); err != nil {
			x.unkeep(ctx, list[:i])
			return err
		}
		for _, m := range b.members {
			x.outcomes[m].heldID = b.heldID
		}
	}
	return nil
}

// unkeep removes what keep held, for a message that no hop accepted.
func (x *Transaction) unkeep(ctx context.Context, list []*batch) {
	for _, b := range list {
		if b.whole.Message == nil {
			continue
		}
		if err := x.g.Quarantine.Drop(context.WithoutCancel(ctx), b.heldID); err != nil {
			x.g.Log.Error("quarantine drop", "id", b.heldID, "error", err) // it stays held: a duplicate is better than a loss
		}
	}
}

// hold puts the batches into the quarantine. If one fails, none stays.
func (x *Transaction) hold(ctx context.Context, list []*batch) error {
	for i, b := range list {
		if err := x.holdOne(ctx, b, b.verdict.Decisive); err != nil {
			x.unhold(ctx, list[:i])
			return err
		}
	}
	return nil
}

func (x *Transaction) holdOne(ctx context.Context, b *batch, why string) error {
	if err := x.g.Quarantine.Hold(ctx, x.heldItem(b, why), b.copy); err != nil {
		return err
	}
	for _, m := range b.members {
		x.outcomes[m].fate, x.outcomes[m].heldID = ledger.Held, b.heldID
		x.outcomes[m].reply = replyTaken(x.tx.ID)
	}
	return nil
}

func (x *Transaction) heldItem(b *batch, why string) quarantine.Item {
	h := x.tx.Message.Header()
	s := x.tx.Session
	return quarantine.Item{
		ID: b.heldID, Time: x.g.Now(), From: x.tx.From, Params: x.tx.Params, Recipients: x.recipients(b), Route: b.leg.route,
		Outbound: s.Outbound(), Client: s.Client, User: s.User, Reason: why, Reasons: b.verdict.Reasons, Score: b.verdict.Score,
		Policy: b.verdict.PolicyVersion, Subject: h.Get("Subject"), HeaderFrom: h.Get("From"), MessageID: h.Get("Message-ID"),
		Campaign: filters.CampaignOf(x.tx.Message),
	}
}

// keepsAny says whether one of the batches is held because policy wants it, not only because others take the message.
func keepsAny(list []*batch) bool {
	return slices.ContainsFunc(list, func(b *batch) bool { return b.verdict.Disposition == policy.Quarantine })
}

// unhold removes what was held for a transaction that is deferred, or that all recipients refuse. The shared reply says
// which.
func (x *Transaction) unhold(ctx context.Context, list []*batch) {
	for _, b := range list {
		if err := x.g.Quarantine.Drop(context.WithoutCancel(ctx), b.heldID); err != nil {
			x.g.Log.Error("quarantine drop", "id", b.heldID, "error", err)
			continue // it stays held: a duplicate is better than a loss
		}
		for _, m := range b.members {
			x.outcomes[m].fate, x.outcomes[m].heldID = undecided, "" // until the answer
		}
	}
}

// deliver sends the batches, one next-hop transaction each, and gives the one reply for them.
//
// As long as no hop has accepted a copy, the hops' replies go to the sender. Once one copy is accepted, a 4xx would
// make the sender duplicate it: what another hop defers then is queued, and what it refuses is held for the admin,
// never bounced to a sender that may be forged. The same holds where another copy is already held: 5xx is only for a
// message that all refuse.
func (x *Transaction) deliver(ctx context.Context, list []*batch, held bool) mail.Reply {
	var taken, refused mail.Reply
	for i, b := range list {
		late := x.send(ctx, b, taken.Positive())
		for _, m := range b.members {
			o := &x.outcomes[m]
			switch {
			case o.reply.Positive() && !taken.Positive():
				taken = o.reply
			case o.reply.Permanent() && refused.Code == 0:
				refused = o.reply
			}
		}
		if !taken.Positive() && late != nil {
			return *late
		}
		if err := x.settle(ctx, list[:i+1], taken.Positive()); err != nil {
			x.g.Log.Error("settle", "id", x.tx.ID, "error", err)
			return mail.TryLater() // a duplicate is better than a loss
		}
	}
	switch {
	case taken.Positive():
		return taken
	case !held:
		return refused
	}
	if err := x.settle(ctx, list, true); err != nil {
		x.g.Log.Error("settle", "id", x.tx.ID, "error", err)
		return mail.TryLater()
	}
	return replyTaken(x.tx.ID)
}

// send delivers one batch and notes each recipient's reply. It gives the first temporary one.
func (x *Transaction) send(ctx context.Context, b *batch, mayQueue bool) *mail.Reply {
	to := x.recipients(b)
	var replies []mail.Reply
	if b.leg.queue {
		replies = []mail.Reply{{Code: 451, Enhanced: "4.4.1", Text: "no hop answers", Away: true}}
	} else {
		replies = b.leg.delivery.Send(ctx, to, b.copy)
	}
	var late *mail.Reply
	for i, m := range b.members {
		o := &x.outcomes[m]
		o.reply = replies[min(i, len(replies)-1)]
		switch {
		case o.reply.Positive():
			o.fate = ledger.Delivered
		case o.reply.Permanent():
			o.fate = ledger.Refused
		default:
			o.fate = ledger.Deferred
			r := o.reply
			late = &r
		}
	}
	if late != nil && !mayQueue && x.setup.QueueWhenDown[b.leg.route] && (b.leg.queue || late.Away) {
		if err := x.enqueue(ctx, b, "the mail server did not answer"); err != nil {
			x.g.Log.Error("queue", "id", x.tx.ID, "error", err)
			return late
		}
		return nil
	}
	return late
}

// settle disposes of the remaining recipients once a copy is accepted: deferred ones are queued, refused ones held.
func (x *Transaction) settle(ctx context.Context, list []*batch, taken bool) error {
	if !taken {
		return nil
	}
	var failed error
	for _, b := range list {
		failed = errors.Join(failed, x.enqueue(ctx, b, "another copy of the message was taken"))
		failed = errors.Join(failed, x.holdRefused(ctx, b))
	}
	return failed
}

// enqueue puts the deferred recipients of a batch into the queue.
func (x *Transaction) enqueue(ctx context.Context, b *batch, why string) error {
	var members []int
	for _, m := range b.members {
		if x.outcomes[m].fate == ledger.Deferred {
			members = append(members, m)
		}
	}
	if len(members) == 0 {
		return nil
	}
	part := &batch{members: members}
	item := QueueItem{ID: b.heldID, Route: b.leg.route, From: x.tx.From, Params: x.tx.Params, Recipients: x.recipients(part), Ours: x.tx.Session.Outbound(), Why: why}
	if err := x.g.Queue.Put(ctx, item, b.copy); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	for _, m := range members {
		x.outcomes[m].fate, x.outcomes[m].queued = ledger.Queued, item.ID
		x.outcomes[m].reply = replyTaken(x.tx.ID)
	}
	return nil
}

// holdRefused quarantines the message for recipients that a hop refused while others were accepted.
func (x *Transaction) holdRefused(ctx context.Context, b *batch) error {
	part := *b
	part.members, part.heldID = nil, b.heldID+"-refused"
	for _, m := range b.members {
		if x.outcomes[m].fate == ledger.Refused {
			part.members = append(part.members, m)
		}
	}
	if len(part.members) == 0 {
		return nil
	}
	return x.holdOne(ctx, &part, "the mail server refused it while another copy was taken: "+x.outcomes[part.members[0]].reply.String())
}
