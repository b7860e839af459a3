package proxy

import (
	"context"
	"errors"

	"postern/internal/mail"
	"postern/policy/records/ledger"
)

// report is what a transaction with report addresses as recipients is about.
type report struct{ spam bool }

// rcptReport answers RCPT for a report address, and for any other recipient of a report; ours is false for all other mail. A
// report is for the gateway alone: it has no next hop, and is not mixed with mail that has one.
func (x *Transaction) rcptReport(ctx context.Context, r mail.Recipient) (reply mail.Reply, ours bool) {
	if x.g.Reports == nil {
		return mail.Reply{}, false
	}
	spam, ok := x.g.Reports.For(r.Address)
	switch {
	case !ok && x.report == nil:
		return mail.Reply{}, false
	case ok && !x.tx.Session.Outbound(): // strangers teach nothing
		reply = replyNoSuchUser()
	case !ok, x.report == nil && len(x.tx.Recipients) > 0, x.report != nil && x.report.spam != spam:
		reply = replyReportApart()
	default:
		reply = x.takeRcpt(ctx, r, spam)
	}
	o := outcome{recipient: r, reply: reply, fate: undecided}
	switch {
	case reply.Permanent():
		o.fate = ledger.Refused
	case reply.Temporary():
		o.fate = ledger.Deferred
	}
	if !reply.Positive() {
		x.c.counts.Refused++
	}
	x.outcomes = append(x.outcomes, o)
	x.setup.Chain.Answered(ctx, x.tx, r.Address, reply) // to whoever guesses addresses it is one that does not exist
	x.logRefusal("rcpt", r.Address.String(), reply)

	return reply, true
}

// takeRcpt takes a report address as a recipient, unless what is known of the sender speaks against it: a rate, a frozen account.
func (x *Transaction) takeRcpt(ctx context.Context, r mail.Recipient, spam bool) mail.Reply {
	x.tx.Recipients = append(x.tx.Recipients, r)
	x.run.Stage(ctx, mail.StageRcpt)
	if reply, refused := x.refusal(); refused {
		x.tx.Recipients = x.tx.Recipients[:len(x.tx.Recipients)-1]
		return reply
	}
	x.report = &report{spam: spam}

	return replyTakenBefore()
}

// takeReport learns from a report. It is not judged, as what is attached to it would speak against it.
func (x *Transaction) takeReport(ctx context.Context) mail.Reply {
	n, err := x.g.Reports.Take(ctx, x.tx, x.report.spam)
	var unusable UnusableReport
	reply, fate := replyLearned(n, x.report.spam), ledger.Learned
	switch {
	case errors.As(err, &unusable):
		reply, fate = replyNothingReported(unusable), ledger.Refused
	case err != nil:
		x.g.Log.Error("a report of misjudged mail", "id", x.tx.ID, "error", err)
		reply, fate = mail.TryLater(), ledger.Deferred
	}
	for i := range x.outcomes {
		if o := &x.outcomes[i]; o.fate == undecided {
			o.fate, o.reply = fate, reply
		}
	}
	x.answered = &reply

	return reply
}
