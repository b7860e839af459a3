package proxy

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/ledger"
)

// Transaction is one transaction on its way through the gateway. It is used by one goroutine.
type Transaction struct {
	g       *Gateway
	c       *Connection
	tx      *mail.Transaction
	run     *filters.Run
	setup   *Setup
	started time.Time
	env     Envelope
	legs    []*leg
	// outcomes are all recipients of RCPT commands, refused ones too, in their order.
	outcomes []outcome
	answered *mail.Reply
	// facts are what the verdicts were made from.
	facts *policy.Facts
	// gathered is what facts are made from, and grows with the transaction.
	gathered gathered
	// done lists the changes made to copies, for the record.
	done []string
	// report is set where the recipients are report addresses.
	report *report
	// refusedFor are findings about recipients that were refused.
	refusedFor []mail.Finding
}

// leg is the part of a transaction that goes to one route.
type leg struct {
	route    mail.Route
	delivery Delivery
	// queue is set when no hop answered and the settings say to queue then.
	queue bool
}

// outcome is the result for one recipient.
type outcome struct {
	recipient mail.Recipient
	leg       *leg // nil for a recipient that was refused at RCPT
	verdict   policy.Verdict
	reply     mail.Reply
	// fate is the word for the record.
	fate           ledger.Word
	heldID, queued string
}

// undecided is the fate of a recipient that was accepted until its message has an answer.
const undecided ledger.Word = ""

// Begin starts a transaction at MAIL. A refused Transaction must still be closed, for its record.
func (c *Connection) Begin(ctx context.Context, from mail.Address, params mail.Params, clientPort uint16) (*Transaction, mail.Reply) {
	c.began++
	g := c.g
	s := c.session
	x := &Transaction{g: g, c: c, setup: g.setup.Load(), started: g.Now()}
	x.gathered = x.setup.gather()
	x.tx = &mail.Transaction{ID: mail.TransactionID(s.ID, c.began), Session: s, From: from, Params: params}
	x.env = Envelope{ID: x.tx.ID, From: from, Params: params, Size: params.Size, Client: Client{
		Known: c.known(), Addr: s.Client, Port: clientPort, Name: s.ClientName, Helo: s.Helo, Proto: x.protocol(), User: s.User}}
	x.run = x.setup.Chain.Start(ctx, x.tx)
	x.run.Stage(ctx, mail.StageMail)
	if r, refused := x.refusal(); refused {
		x.answered = &r
		x.logRefusal("mail", "", r)
		return x, r
	}
	return x, replySenderOK()
}

// ID is the transaction's id, Params what MAIL said, Recipients how many were accepted.
func (x *Transaction) ID() string          { return x.tx.ID }
func (x *Transaction) Params() mail.Params { return x.tx.Params }
func (x *Transaction) Recipients() int     { return len(x.tx.Recipients) }

// Observe adds a finding of the door itself.
func (x *Transaction) Observe(f mail.Finding) { x.tx.Findings = append(x.tx.Findings, f) }

func (x *Transaction) refusal() (mail.Reply, bool) {
	facts := x.gather(context.Background())
	var to mail.Address
	if n := len(x.tx.Recipients); n > 0 {
		to = x.tx.Recipients[n-1].Address
	}
	return x.c.refusal(x.setup.policyFor(to).DecideStage(&facts, to))
}

// Rcpt decides on a recipient: by the settings, then policy, then the next hop, whose own reply is given.
func (x *Transaction) Rcpt(ctx context.Context, r mail.Recipient) mail.Reply {
	if r.Address.Domain == "" { // RFC 5321 section 4.5.1: <postmaster>
		r.Address.Domain = x.setup.Postmaster
	}
	x.c.counts.Recipients++
	if reply, ours := x.rcptReport(ctx, r); ours {
		return reply
	}
	l, reply := x.rcpt(ctx, r)
	o := outcome{recipient: r, leg: l, reply: reply, fate: undecided}
	if l == nil {
		o.fate = ledger.Refused
		if reply.Temporary() {
			o.fate = ledger.Deferred
		}
		x.c.counts.Refused++
	}
	x.outcomes = append(x.outcomes, o)
	x.setup.Chain.Answered(ctx, x.tx, r.Address, reply)
	x.logRefusal("rcpt", r.Address.String(), reply)
	return reply
}

func (x *Transaction) rcpt(ctx context.Context, r mail.Recipient) (*leg, mail.Reply) {
	if r.Address.RoutesBySender() {
		return nil, replyNoRouting()
	}
	route, reply := x.route(r.Address)
	if route.IsZero() {
		return nil, reply
	}
	x.tx.Recipients = append(x.tx.Recipients, r)
	before := len(x.tx.Findings)
	x.run.Stage(ctx, mail.StageRcpt)
	l := x.leg(route)
	reply, refused := x.refusal()
	if !refused {
		reply = x.ask(ctx, l, r)
	}
	if !reply.Positive() {
		// findings about this recipient must not count against the others
		x.refusedFor = append(x.refusedFor, x.tx.Findings[before:]...)
		x.tx.Findings = x.tx.Findings[:before:before]
		x.gathered.facts.Forget(before)
		x.tx.Recipients = x.tx.Recipients[:len(x.tx.Recipients)-1]
		return nil, reply
	}
	return l, reply
}

// route finds where mail for an address goes: RFC 5321 section 3.6, never an open relay. Only our own users' mail goes to
// other domains.
func (x *Transaction) route(a mail.Address) (mail.Route, mail.Reply) {
	var through mail.Route
	if s := x.tx.Session; x.setup.Transparent[s.Door] {
		through.To = s.Local
		if x.setup.FromClient[s.Door] {
			through.Client = s.Client
		}
	}
	if domain := a.ASCIIDomain(); domain != "" {
		if route, local := x.setup.Route(domain); local {
			return cmp.Or(through, route), mail.Reply{}
		}
	}
	switch {
	case !x.tx.Session.Outbound():
		return mail.Route{}, replyNoRelay()
	case !through.IsZero():
		return through, mail.Reply{}
	case x.setup.Outbound.IsZero():
		return mail.Route{}, replyNoSmartHost()
	}
	return x.setup.Outbound, mail.Reply{}
}

func (x *Transaction) leg(route mail.Route) *leg {
	for _, l := range x.legs {
		if l.route == route {
			return l
		}
	}
	l := &leg{route: route, delivery: x.g.Relay.Open(route, x.env)}
	x.legs = append(x.legs, l)
	return l
}

// ask verifies the recipient at the next hop.
func (x *Transaction) ask(ctx context.Context, l *leg, r mail.Recipient) mail.Reply {
	if l.queue {
		return replyQueuedRcpt()
	}
	known := x.setup.Recipients
	if l.route == x.setup.Outbound {
		known = nil
	}
	if known != nil {
		if reply, ok := known.Ask(ctx, l.route, r.Address); ok {
			return reply
		}
	}
	reply := x.askHop(ctx, l, r, known)
	if known != nil && !reply.OfSender {
		known.Told(ctx, l.route, r.Address, reply)
	}
	if reply.Away && x.setup.QueueWhenDown[l.route] {
		l.queue = true
		return replyQueuedRcpt()
	}
	return reply
}

// patience is how long the next hop may take to answer if it accepted the recipient recently.
const patience = 1500 * time.Millisecond

// askHop asks the next hop live. If the hop has no free connection or is slow, and accepted the same recipient
// recently, that reply counts; the hop is asked again once the message is here, and decides.
func (x *Transaction) askHop(ctx context.Context, l *leg, r mail.Recipient, known Recipients) mail.Reply {
	if known == nil || !known.Accepted(ctx, l.route, r.Address) {
		return l.delivery.Rcpt(ctx, r)
	}

	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	reply := l.delivery.Rcpt(soon, r)
	if reply.Temporary() && soon.Err() != nil && ctx.Err() == nil {
		return replyTakenBefore()
	}

	return reply
}

// heavyFrom is the size of a large message in octets; heavyWait is how long one waits for earlier large ones.
const (
	heavyFrom = 1 << 20
	heavyWait = 10 * time.Second
)

// makeRoom makes large messages wait for each other for a while, so that small ones are not slowed. The function it
// gives ends the message's turn.
func (x *Transaction) makeRoom(ctx context.Context) (done func()) {
	if x.g.Heavy == nil || x.tx.Message.Size() < heavyFrom {
		return func() {}
	}
	late := time.NewTimer(heavyWait)
	defer late.Stop()
	select {
	case x.g.Heavy <- struct{}{}:
		return func() { <-x.g.Heavy }
	case <-late.C: // those before it wait for something else, such as a scanner
	case <-ctx.Done():
	}
	return func() {}
}

// judge runs the last filters and policy, and gives a verdict for each accepted recipient in order.
func (x *Transaction) judge(ctx context.Context) []policy.Verdict {
	ctx, cancel := context.WithTimeout(ctx, x.g.JudgeTimeout)
	defer cancel()
	defer x.makeRoom(ctx)()
	x.tx.Refused = func() bool { return x.refused(ctx) }
	x.run.Stage(ctx, mail.StageMessage)
	facts := x.gather(ctx)
	x.facts = &facts
	var verdicts []policy.Verdict
	for i := range x.outcomes {
		o := &x.outcomes[i]
		if o.leg == nil {
			continue
		}
		o.verdict = x.decide(&facts, o.recipient.Address)
		verdicts = append(verdicts, o.verdict)
	}
	return verdicts
}

// witness reports policy's mildest verdict to the witness, as that is what happened to the sender's mail.
func (x *Transaction) witness(verdicts []policy.Verdict) {
	if x.g.Witness != nil && !x.tx.Session.Outbound() {
		x.g.Witness.Witness(x.tx, mildest(verdicts))
	}
}

// Refuse replies to a message that could not be received far enough to be judged.
func (x *Transaction) Refuse(f mail.Finding, r mail.Reply) mail.Reply {
	x.Observe(f)
	return x.answer(r)
}

// answer is the final reply to a message; recipients that have no fate yet share it.
func (x *Transaction) answer(r mail.Reply) mail.Reply {
	x.answered = &r
	for i := range x.outcomes {
		o := &x.outcomes[i]
		if o.fate != undecided { // refused at RCPT, or settled
			continue
		}
		o.reply = r
		switch {
		case r.Permanent():
			o.fate = ledger.Refused
		case r.Temporary():
			o.fate = ledger.Deferred
		}
	}
	return r
}

// Close ends the transaction, returns the connections and writes the record.
func (x *Transaction) Close(why string) {
	x.run.Close()
	for _, l := range x.legs {
		l.delivery.Close()
	}
	if x.tx.Message != nil {
		x.c.counts.Octets += x.tx.Message.Size()
	}
	rec := x.record(why)
	x.g.Ledger.Transaction(rec)
	x.logMessage(&rec)
	x.learn()
}

// learn tells the filters the verdict on a message.
func (x *Transaction) learn() {
	var decided []filters.Decision
	taken, junk := false, true
	for _, o := range x.outcomes {
		if o.verdict.PolicyVersion == "" {
			continue
		}
		decided = append(decided, filters.Decision{Recipient: o.recipient.Address, Disposition: o.verdict.Disposition, Score: o.verdict.Score})
		taken = taken || o.fate == ledger.Delivered || o.fate == ledger.Queued
		junk = junk && (o.verdict.Disposition == policy.Reject || o.verdict.Disposition == policy.Quarantine)
	}
	switch {
	case len(decided) == 0:
		return
	case junk:
		x.c.conduct.Junk++
	case taken:
		x.c.conduct.Delivered++
	}
	x.setup.Chain.Decided(context.Background(), x.tx, decided)
}

func (x *Transaction) record(why string) ledger.Transaction {
	tx, s := x.tx, x.tx.Session
	if x.facts == nil {
		facts := x.gather(context.Background())
		x.facts = &facts
	}
	facts := *x.facts
	rec := ledger.Transaction{
		ID: tx.ID, ConnID: s.ID, Time: x.started, Door: s.Door, Client: s.Client, ClientName: s.ClientName, Helo: s.Helo, User: s.User,
		Outbound: s.Outbound(), From: tx.From.String(),
		Facts: &facts, Reply: "none: " + why, Took: map[string]float64{},
	}
	for name, took := range x.run.Took {
		rec.Took[name] = float64(took.Microseconds()) / 1000
	}
	if x.answered != nil {
		rec.Reply = x.answered.String()
	}
	if m := tx.Message; m != nil {
		h := m.Header()
		rec.Size, rec.Subject, rec.MessageID, rec.HeaderFrom = m.Size(), h.Get("Subject"), h.Get("Message-ID"), h.Get("From")
		sum := sha256.New()
		if _, err := io.Copy(sum, m.Open()); err == nil {
			rec.SHA256 = hex.EncodeToString(sum.Sum(nil))
		}
	}
	rec.Done = x.done
	strictest := x.reasons(&facts)
	rec.Findings, rec.Decisive, rec.PolicyVersion = strictest.Reasons, strictest.Decisive, strictest.PolicyVersion
	for i := range x.outcomes {
		o := &x.outcomes[i]
		rec.Recipients = append(rec.Recipients, o.record())
		x.g.counts.count(o.word())
		if o.heldID != "" {
			rec.HeldID = o.heldID
		}
		if o.queued != "" && !slices.Contains(rec.QueueIDs, o.queued) {
			rec.QueueIDs = append(rec.QueueIDs, o.queued)
		}
	}
	return rec
}

// reasons is the strictest verdict, whose reasons are recorded. A transaction without one is scored by its findings so
// far, those about refused recipients included.
func (x *Transaction) reasons(facts *policy.Facts) policy.Verdict {
	var strictest policy.Verdict
	for _, o := range x.outcomes {
		if o.verdict.PolicyVersion != "" && (strictest.PolicyVersion == "" || o.verdict.Disposition > strictest.Disposition) {
			strictest = o.verdict
		}
	}
	if strictest.PolicyVersion != "" {
		return strictest
	}
	all := *x.tx
	all.Findings = append(slices.Clip(all.Findings), x.refusedFor...)
	weighed := policy.FactsOf(&all)
	verdict := x.setup.Policy.Decide(&weighed, mail.Address{})
	verdict.Decisive = ""
	return verdict
}

func (o *outcome) record() ledger.Recipient {
	r := ledger.Recipient{
		Address: o.recipient.Address.String(), Reply: o.reply.String(), Score: o.verdict.Score, Required: o.verdict.Required,
		Disposition: o.verdict.Disposition, Decisive: o.verdict.Decisive, Fate: o.word(),
	}
	if o.verdict.PolicyVersion == "" { // policy gave no verdict
		switch {
		case o.reply.Permanent():
			r.Disposition = policy.Reject
		case o.reply.Temporary():
			r.Disposition = policy.Defer
		}
	}
	if o.leg != nil {
		r.Route = o.leg.route
	}
	return r
}

// word names the recipient's fate.
func (o *outcome) word() ledger.Word {
	return cmp.Or(o.fate, ledger.Abandoned)
}
