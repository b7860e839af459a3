package proxy

import (
	"context"
	"sync"

	"postern/internal/mail"
	"postern/policy"
	"postern/policy/calendar"
)

// policyFor is the policy that holds for a recipient.
func (s *Setup) policyFor(to mail.Address) *policy.Policy {
	if s.Tried != nil && !to.IsNull() && s.TriedFor(to) {
		return s.Tried
	}
	return s.Policy
}

// gathered is what is known of a transaction so far. It is locked, as filters may ask whether policy refuses a message
// while other filters still run.
type gathered struct {
	lock  *sync.Mutex
	facts *policy.Gathering
	// groups are the directory's groups of addresses.
	groups map[string][]string
}

// gather begins to gather what the policies ask for.
func (s *Setup) gather() gathered {
	asking := []*policy.Policy{s.Policy}
	if s.Tried != nil {
		asking = append(asking, s.Tried)
	}

	return gathered{lock: new(sync.Mutex), facts: policy.Gather(asking...), groups: map[string][]string{}}
}

// gather collects the facts that policy may ask for: only what is new since the last call, and at RCPT the groups of
// the last recipient alone. Groups are looked up where the policy asks for them.
func (x *Transaction) gather(ctx context.Context) policy.Facts {
	x.gathered.lock.Lock()
	defer x.gathered.lock.Unlock()
	f := x.gathered.facts.Facts(x.tx)
	f.Time = calendar.Of(x.g.Now())
	if !x.setup.needsGroups() {
		return f
	}
	recipients := x.tx.Recipients
	if n := len(recipients); x.tx.Stage == mail.StageRcpt && n > 0 { // the others were asked about before
		recipients = recipients[n-1:]
	}
	f.Groups = x.setup.lookUp(ctx, x.gathered.groups, recipients, x.tx)

	return f
}

// needsGroups says whether a policy asks for the directory's groups.
func (s *Setup) needsGroups() bool {
	return s.Groups != nil && (s.Policy.NeedsGroups() || s.Tried != nil && s.Tried.NeedsGroups())
}

// lookUp gives the groups of recipients, and of a sender of ours. The directory is asked only for those that are not known yet.
func (s *Setup) lookUp(ctx context.Context, known map[string][]string, recipients []mail.Recipient, tx *mail.Transaction) map[string][]string {
	found := map[string][]string{}
	look := func(a mail.Address) {
		key := a.Key()
		names, ok := known[key]
		if !ok {
			if names, ok = s.Groups(ctx, a); !ok {
				return
			}
			known[key] = names
		}
		found[key] = names
	}

	for _, r := range recipients {
		look(r.Address)
	}
	if tx.Session.Outbound() {
		look(tx.From)
	}

	return found
}

// refused reports whether the findings so far refuse the message for all recipients.
func (x *Transaction) refused(ctx context.Context) bool {
	f := x.gather(ctx)
	for i := range x.outcomes {
		o := &x.outcomes[i]
		if o.leg != nil && x.setup.policyFor(o.recipient.Address).Decide(&f, o.recipient.Address).Disposition != policy.Reject {
			return false
		}
	}
	return true
}

// decide gives the verdict for one recipient, by that recipient's policy.
func (x *Transaction) decide(f *policy.Facts, to mail.Address) policy.Verdict {
	p := x.setup.policyFor(to)
	v := p.Decide(f, to)
	x.g.onListHit(v)
	if p == x.setup.Tried && x.setup.Compared != nil {
		x.setup.Compared(x.setup.Policy.Decide(f, to), v)
	}
	return v
}
