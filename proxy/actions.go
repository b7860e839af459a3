package proxy

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/ledger"
)

// copyMark is appended to a message's id to form the id of a copy for another recipient, noticeMark to form the id of a
// notice. Each has its own record.
const (
	copyMark   = "-c"
	noticeMark = "-n"
)

// headers are the fields that rules put on a copy.
func headers(v policy.Verdict) []byte {
	var b []byte
	for _, h := range v.Headers {
		b = fmt.Appendf(b, "%s: %s\r\n", h.Name, h.Value)
	}
	return b
}

// alike says whether two verdicts make the same copy.
func (x *Transaction) alike(a, b policy.Verdict) bool {
	return slices.Equal(a.Strip, b.Strip) && slices.Equal(a.Defang, b.Defang) && a.Banner == b.Banner && a.Disclaimer == b.Disclaimer &&
		a.RedirectTo == b.RedirectTo && slices.Equal(a.Headers, b.Headers) && bytes.Equal(x.why(a), x.why(b))
}

// keepRejected holds a message that is refused, so that a wrong refusal can be undone. An error changes nothing: the
// sender knows that the message was not accepted.
func (x *Transaction) keepRejected(ctx context.Context) {
	if x.g.KeepRejected == 0 || x.tx.Session.Outbound() {
		return
	}
	_, refused, err := x.copies(ctx)
	for _, b := range refused {
		if err = x.g.Quarantine.HoldRejected(ctx, x.heldItem(b, b.verdict.Decisive), b.copy, x.g.KeepRejected); err != nil {
			break
		}
		for _, m := range b.members {
			x.outcomes[m].heldID = b.heldID
		}
	}
	if err != nil {
		x.g.Log.Error("refused mail is not kept", "id", x.tx.ID, "error", err)
	}
}

// split separates the batches that go to another address than their recipients'.
func split(list []*batch) (stay, elsewhere []*batch) {
	for _, b := range list {
		if b.verdict.RedirectTo.IsNull() {
			stay = append(stay, b)
		} else {
			elsewhere = append(elsewhere, b)
		}
	}
	return stay, elsewhere
}

// handOver delivers to the recipients, then sends redirected mail. Nothing is redirected before the reply is certain to
// be positive: the sender would retry it. What can't be redirected then is held.
func (x *Transaction) handOver(ctx context.Context, list []*batch, held bool) mail.Reply {
	deliver, elsewhere := split(list)
	reply := replyTaken(x.tx.ID)
	if len(deliver) > 0 {
		reply = x.deliver(ctx, deliver, held || len(elsewhere) > 0)
	}
	if !reply.Positive() || len(elsewhere) == 0 {
		return reply
	}
	err := x.redirect(ctx, elsewhere)
	if err == nil {
		return reply
	}
	x.g.Log.Error("redirect", "id", x.tx.ID, "error", err)
	if err := x.hold(ctx, elsewhere); err != nil {
		x.g.Log.Error("quarantine", "id", x.tx.ID, "error", err)
		return mail.TryLater() // a duplicate is better than a loss
	}
	return reply
}

// redirect queues mail for another address than its recipients'; the recipients get no copy.
func (x *Transaction) redirect(ctx context.Context, list []*batch) error {
	for _, b := range list {
		to := b.verdict.RedirectTo
		route, reply := x.route(to)
		if route.IsZero() {
			if route = x.setup.Outbound; route.IsZero() {
				return fmt.Errorf("redirect to %s: %s", to, reply.Text)
			}
		}
		item := QueueItem{ID: b.heldID, Route: route, From: x.tx.From, Params: x.tx.Params, Recipients: []mail.Recipient{{Address: to}}, Why: "redirected by a rule"}
		if err := x.g.Queue.Put(ctx, item, b.copy); err != nil {
			return err
		}
		for _, m := range b.members {
			o := &x.outcomes[m]
			o.fate, o.queued, o.reply = ledger.Redirected, b.heldID, replyTaken(x.tx.ID)
		}
		x.did(b, "sent on to <"+to.String()+"> as "+b.heldID)
	}
	return nil
}

// aside carries out the additional actions of rules once the message is accepted: copies for others, and notices.
// Errors are only logged, as the message already has its reply.
func (x *Transaction) aside(ctx context.Context, batches []*batch) {
	ctx = context.WithoutCancel(ctx)
	n := 0
	sent := map[string]bool{}
	for _, b := range batches {
		for _, to := range b.verdict.CopyTo {
			if sent[to.Key()] {
				continue
			}
			sent[to.Key()] = true
			n++
			x.put(ctx, copyMark+strconv.Itoa(n), x.tx.From, to, b.copy, "a copy that a rule asks for")
		}
	}
	told := map[string]bool{}
	for i := range x.outcomes {
		for _, to := range x.outcomes[i].verdict.Notify {
			if told[to.Key()] {
				continue
			}
			told[to.Key()] = true
			n++
			x.put(ctx, noticeMark+strconv.Itoa(n), mail.Address{}, to, mail.Copy{Message: mail.NewMessage(x.notification(to, x.outcomes[i].verdict))}, "a notice that a rule asks for")
		}
	}
}

func (x *Transaction) put(ctx context.Context, suffix string, from, to mail.Address, c mail.Copy, why string) {
	route, local := x.setup.Route(to.ASCIIDomain())
	if !local {
		route = x.setup.Outbound
	}
	if route.IsZero() {
		x.g.Log.Error("nowhere to send it", "id", x.tx.ID, "to", to.String(), "what", why)
		return
	}
	item := QueueItem{ID: x.tx.ID + suffix, Route: route, From: from, Recipients: []mail.Recipient{{Address: to}}, Why: why}
	if err := x.g.Queue.Put(ctx, item, c); err != nil {
		x.g.Log.Error("queue", "id", item.ID, "what", why, "error", err)
		return
	}
	x.done = append(x.done, why+": "+item.ID+" to <"+to.String()+">")
	x.recordCopy(item)
}

// recordCopy gives a copy for another recipient its own record, by which it is found.
func (x *Transaction) recordCopy(item QueueItem) {
	s := x.tx.Session
	rec := ledger.Transaction{
		ID: item.ID, ConnID: s.ID, Time: x.g.Now(), Door: s.Door, Client: s.Client, ClientName: s.ClientName, Helo: s.Helo, User: s.User,
		Outbound: s.Outbound(), From: item.From.String(), Reply: item.Why, QueueIDs: []string{item.ID}, Done: []string{item.Why + ", of " + x.tx.ID},
	}
	if strings.HasPrefix(item.ID, x.tx.ID+copyMark) {
		h := x.tx.Message.Header()
		rec.Size, rec.Subject, rec.MessageID, rec.HeaderFrom = x.tx.Message.Size(), h.Get("Subject"), h.Get("Message-ID"), h.Get("From")
	}
	for _, to := range item.Recipients {
		rec.Recipients = append(rec.Recipients, ledger.Recipient{Address: to.Address.String(), Fate: ledger.Queued, Route: item.Route})
	}
	x.g.Ledger.Transaction(rec)
}

// did notes what was done to a copy, and for which recipients.
func (x *Transaction) did(b *batch, what string) {
	if len(b.members) < len(x.outcomes) {
		what += ", for"
		for _, to := range x.recipients(b) {
			what += " <" + to.Address.String() + ">"
		}
	}
	if !slices.Contains(x.done, what) {
		x.done = append(x.done, what)
	}
}

// changes notes what compose did to a copy.
func (x *Transaction) changes(b *batch, annotated bool) {
	for _, h := range b.verdict.Headers {
		x.did(b, "header field added: "+h.Name+": "+h.Value)
	}
	if n := len(b.verdict.Strip); n > 0 {
		x.did(b, strconv.Itoa(n)+" parts taken out, the original is held as "+b.heldID)
	}
	if n := len(b.verdict.Defang); n > 0 {
		x.did(b, strconv.Itoa(n)+" parts made harmless, the original is held as "+b.heldID)
	}
	if annotated && b.verdict.Banner != "" {
		x.did(b, "banner added")
	}
	if annotated && b.verdict.Disclaimer != "" {
		x.did(b, "disclaimer added")
	}
	if !annotated && b.verdict.Banner+b.verdict.Disclaimer != "" {
		x.did(b, "no banner: the message is signed, encrypted, or can't be read without doubt")
	}
	if b.verdict.Disposition == policy.Tag && x.g.SubjectTag != "" {
		x.did(b, "subject marked: "+x.g.SubjectTag)
	}
}

// notification announces a message, without any of its content but the subject. Its reverse-path is null (RFC 3834
// section 3.3), so nothing answers it.
func (x *Transaction) notification(to mail.Address, v policy.Verdict) []byte {
	now := x.g.Now()
	var names string
	for _, o := range x.outcomes {
		names += " " + o.recipient.Address.String()
	}
	h := x.tx.Message.Header()
	return fmt.Appendf(nil, "From: Postern <postmaster@%s>\r\nTo: <%s>\r\nSubject: Message %s: %s\r\nDate: %s\r\nMessage-ID: <%s.notice@%s>\r\nAuto-Submitted: auto-generated\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nA rule asks to tell you of this message:\r\n\r\n"+
		"  id       %s\r\n  from     %s\r\n  author   %s\r\n  to      %s\r\n  subject  %s\r\n  verdict  %s\r\n\r\npostern explain %s tells the rest.\r\n",
		x.g.Hostname, to, x.tx.ID, v.Disposition, now.Format(time.RFC1123Z), x.tx.ID, x.g.Hostname, x.tx.ID, filters.Printable(x.tx.From.String()), filters.Printable(h.Get("From")),
		filters.Printable(names), filters.Printable(h.Get("Subject")), v.Decisive, x.tx.ID)
}
