package proxy

import (
	"context"

	"postern/internal/mail"
	"postern/policy"
	"postern/policy/moment"
)

// policyFor is the policy that holds for a recipient.
func (s *Setup) policyFor(to mail.Address) *policy.Policy {
	if s.Tried != nil && !to.IsNull() && s.TriedFor(to) {
		return s.Tried
	}
	return s.Policy
}

// gather brings together all that policy may ask for. Groups are looked up where the policy asks for them.
func (x *Exchange) gather(ctx context.Context) policy.Facts {
	f := x.setup.Policy.FactsOf(x.tx)
	if x.setup.Tried != nil { // whichever asks for more
		if more := x.setup.Tried.FactsOf(x.tx); len(more.Attachments) > len(f.Attachments) || f.Size == 0 {
			f = more
		}
	}
	f.Time = moment.Of(x.g.Now())
	x.setup.lookUp(ctx, &f, x.tx)
	return f
}

// lookUp adds the groups of all recipients, and of a sender of ours, if a policy asks for them.
func (s *Setup) lookUp(ctx context.Context, f *policy.Facts, tx *mail.Transaction) {
	if s.Groups == nil || !s.Policy.NeedsGroups() && (s.Tried == nil || !s.Tried.NeedsGroups()) {
		return
	}
	f.Groups = map[string][]string{}
	look := func(a mail.Address) {
		if _, known := f.Groups[a.Key()]; known {
			return
		}
		if names, ok := s.Groups(ctx, a); ok {
			f.Groups[a.Key()] = names
		}
	}
	for _, r := range tx.Recipients {
		look(r.Address)
	}
	if f.Outbound {
		look(tx.From)
	}
}

// refused says whether all recipients would refuse the message by what is found so far.
func (x *Exchange) refused(ctx context.Context) bool {
	f := x.gather(ctx)
	for i := range x.outcomes {
		o := &x.outcomes[i]
		if o.leg != nil && x.setup.policyFor(o.recipient.Address).Decide(&f, o.recipient.Address).Disposition != policy.Reject {
			return false
		}
	}
	return true
}

// decide gives the verdict for one recipient, by the policy that holds for him.
func (x *Exchange) decide(f *policy.Facts, to mail.Address) policy.Verdict {
	p := x.setup.policyFor(to)
	v := p.Decide(f, to)
	x.g.listed(v)
	if p == x.setup.Tried && x.setup.Compared != nil {
		x.setup.Compared(x.setup.Policy.Decide(f, to), v)
	}
	return v
}
