package policy

import (
	"net/netip"
	"slices"

	"postern/internal/mail"
)

// DecideStage gives the verdict before there is a message: refuse now, or carry on. Forced refusals and the block list
// count, and from RCPT on a score that reaches the early threshold, unless an entry of the allow list or a rule that
// accepts may still turn out to hold. What would only mark or hold a message is left until the message is here. The
// recipient is the null address before RCPT; what is meant for some recipients only has no say then.
func (p *Policy) DecideStage(f *Facts, rcpt mail.Address) Verdict {
	s := p.scopeOf(f, rcpt)
	t := p.tally(f, s)
	who := parties{f.Client, f.From, nil, rcpt, f.Time}
	if f.Stage < mail.StageMail {
		who.envelope = mail.Address{Domain: "."} // no sender yet, not the null sender
	}
	v := Verdict{Recipient: rcpt, Required: s.required, PolicyVersion: p.version, Disposition: Accept}
	why := cause{kind: causeEarly}
	if e, ok := p.block.match(who, func(*entry) bool { return true }); ok {
		t.list(Blocked, e)
		v.ListEntry = e.ID
		v.Disposition, why = Reject, cause{kind: causeBlock, name: e.name}
	} else {
		accepting := p.mayAccept(f, rcpt, &t)
		forced, by, name := p.forcedEarly(f, s, rcpt, accepting)
		final := p.scoped(f, rcpt) && len(accepting) == 0
		switch {
		case forced >= Defer:
			t.by, t.byName = by, name
			v.Disposition, why = forced, cause{kind: causeForced, name: name}
		case final && t.score >= s.early && !p.mayAllow(who):
			v.Disposition, why = Reject, cause{kind: causeEarlyScore}
		case final && !p.mayAllow(who):
			v.Disposition, why = t.putOff(v.Disposition, why)
		}
	}
	v.conclude(p, f, why, &t, s)
	return v
}

// mayAllow says whether an entry of the allow list fits what is known so far, proven or not.
func (p *Policy) mayAllow(who parties) bool {
	_, ok := p.allow.match(who, func(*entry) bool { return true })
	return ok
}

// forcedEarly is the strictest action. Before the recipient is known it must hold in every scope: a later recipient may
// be in a domain that accepts such mail. What a rule may override waits.
func (p *Policy) forcedEarly(f *Facts, s *scope, rcpt mail.Address, accepting []*rule) (Disposition, *symbol, string) {
	strictest, name := Accept, ""
	for i := range f.Findings {
		n := f.Findings[i].Symbol
		if slices.ContainsFunc(accepting, func(r *rule) bool { return slices.Contains(r.Override, n) }) {
			continue
		}
		sym, by := s.symbols[n], s.symbols[name]
		d := sym.forced
		if !f.Outbound && !p.scoped(f, rcpt) {
			d = p.early[n]
		}
		if stricter(d, &sym, strictest, &by) {
			strictest, name = d, n
		}
	}
	by := s.symbols[name]
	return strictest, &by, name
}

// mayAccept gives the rules that accept and that may still fit, as far as it can be told by now.
func (p *Policy) mayAccept(f *Facts, rcpt mail.Address, t *tally) []*rule {
	if !p.asks.acceptance {
		return nil
	}
	q := newQuestion(p, f, rcpt, t)
	var found []*rule
	for _, r := range p.rules {
		if r.acts && r.disposition == Accept && !r.Monitor && q.mayFit(r) {
			found = append(found, r)
		}
	}
	return found
}

// mayFit is fits before there is a message: unknown facts may turn out either way.
func (q *question) mayFit(r *rule) bool {
	if !r.concerns(q.f) {
		return false
	}
	if !q.rcpt.IsNull() && len(r.to) > 0 && !slices.ContainsFunc(r.to, q.mayBeTo) {
		return false
	}
	if q.f.Stage >= mail.StageMail && len(r.from) > 0 && !slices.ContainsFunc(r.from, q.mayBeFrom) {
		return false
	}
	if q.rcpt.IsNull() || !r.when.early {
		return true
	}
	holds, err := q.holds(&r.when)

	return holds || err != nil
}

func (q *question) mayBeTo(w *who) bool {
	ok, _ := q.is(w, q.to, netip.Addr{})
	_, looked := q.f.Groups[q.to[0].key]

	return ok || q.slow != "" || len(w.groups) > 0 && !looked
}

func (q *question) mayBeFrom(w *who) bool {
	ok, _ := q.is(w, q.senders, q.f.Client)

	return ok || q.slow != "" || len(w.groups) > 0
}

// scoped reports whether the scope is known: not before the recipient is, nor before the recipient's groups are, if
// they matter.
func (p *Policy) scoped(f *Facts, rcpt mail.Address) bool {
	if rcpt.IsNull() || f.Outbound || len(p.groups) == 0 {
		return !rcpt.IsNull()
	}
	key := rcpt.Key()
	_, own := p.recipients[key]
	_, looked := f.Groups[key]
	return own || looked
}
