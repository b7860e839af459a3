package policy

import (
	"errors"
	"net/netip"
	"slices"

	"cel.dev/cel-go/common/types"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy/calendar"
)

// ruleFailures is the name of rules in [on_failure].
const ruleFailures = "rules"

// rulings are the rules' results for a message.
type rulings struct {
	acting    *rule // whose action counts, nil for none
	matched   []*rule
	watched   []*rule
	unproven  []*rule
	failed    []failedRule
	unwatched []failedRule // rules in monitor mode that could not be evaluated
}

var errPartial = errors.New("not all attachments are known: there are too many, or the message can't be read to its end")

type failedRule struct {
	rule *rule
	why  string
	// moot is set where the rule would have had no effect if it had matched.
	moot bool
}

// ask asks the rules in their order, until one that fits says stop.
func (p *Policy) ask(f *Facts, rcpt mail.Address, t *tally, but *without) rulings {
	var found rulings
	q := newQuestion(p, f, rcpt, t)
	for _, r := range p.rules {
		if but.ruled(r) {
			continue
		}
		fits, proven, err := q.fits(r)
		switch {
		case err != nil:
			found.fail(r, filters.Printable(err.Error()))
		case !fits:
		case r.acts && r.disposition == Accept && !r.Unauthenticated && !proven:
			found.unproven = append(found.unproven, r)
		case r.Monitor:
			found.watched = append(found.watched, r)
		default:
			found.matched = append(found.matched, r)
			if r.acts && found.acting == nil {
				found.acting = r
			}
			if r.Stop {
				return found
			}
		}
	}

	return found
}

// fail notes a rule that could not be evaluated.
func (f *rulings) fail(r *rule, why string) {
	if r.Monitor {
		f.unwatched = append(f.unwatched, failedRule{rule: r, why: why})
		return
	}
	moot := f.acting != nil && !r.does()
	f.failed = append(f.failed, failedRule{r, why, moot})
}

// question is a message as rules see it. Costly facts are computed when first needed.
type question struct {
	p       *Policy
	f       *Facts
	rcpt    mail.Address
	t       *tally
	senders []party
	to      []party
	known   activation
	// slow is a map that took too long, "" for none.
	slow string
}

func newQuestion(p *Policy, f *Facts, rcpt mail.Address, t *tally) *question {
	q := &question{p: p, f: f, rcpt: rcpt, t: t, to: []party{partyOf(rcpt)}}
	q.senders = append(make([]party, 0, len(f.HeaderFrom)+2), partyOf(f.From))
	for _, a := range f.HeaderFrom {
		q.senders = append(q.senders, partyOf(a))
	}
	if a, err := mail.ParseAddress(f.User); err == nil && f.User != "" {
		q.senders = append(q.senders, partyOf(a))
	}
	q.known = activation{q: q}
	return q
}

// fits reports whether a rule matches, and whether the sender is then authenticated. Cheap tests come first.
func (q *question) fits(r *rule) (fits, proven bool, err error) {
	q.slow = ""
	fits, proven, err = q.asked(r)
	if slow := q.slowMap(); slow != nil && err == nil {
		return false, false, slow
	}
	return fits, proven, err
}

// asked is what a rule says, be it that a map took too long.
func (q *question) asked(r *rule) (fits, proven bool, err error) {
	f := q.f
	if !r.concerns(f) || !r.at(f.Time) || !between(r.to, r.notTo, q.isTo) {
		return false, false, nil
	}

	byNetwork := false
	sender := func(w *who) bool {
		ok, network := q.is(w, q.senders, f.Client)
		byNetwork = byNetwork || network
		return ok
	}
	if slices.ContainsFunc(r.notFrom, sender) {
		return false, false, nil
	}
	byNetwork = false // a network that is excepted proves nothing
	if len(r.from) > 0 && !slices.ContainsFunc(r.from, sender) {
		return false, false, nil
	}

	if r.attachments && f.AttachmentsPartial {
		return false, false, errPartial
	}
	if !between(r.what, r.notWhat, func(w *what) bool { return w.fits(f) }) {
		return false, false, nil
	}
	if fits, err = q.holds(&r.when); !fits || err != nil {
		return false, false, err
	}

	return true, byNetwork || q.proven(), nil
}

// concerns says whether a rule is about mail of this direction at all.
func (r *rule) concerns(f *Facts) bool {
	if r.when.constant < 0 {
		return false
	}

	switch r.Direction {
	case "in":
		return !f.Outbound
	case "out":
		return f.Outbound
	}

	return true
}

// at says whether a rule holds at a time; where it is not known, no rule that has times does.
func (r *rule) at(t calendar.Minute) bool {
	if t == 0 {
		return len(r.time)+len(r.notTime) == 0
	}

	return between(r.time, r.notTime, func(w *window) bool { return w.fits(t) })
}

func (q *question) isTo(w *who) bool {
	ok, _ := q.is(w, q.to, netip.Addr{}) // a client is no recipient

	return ok
}

// between says whether something fits one of a list, or the list is empty, and none of the exceptions.
func between[T any](list, but []*T, fits func(*T) bool) bool {
	if len(list) > 0 && !slices.ContainsFunc(list, fits) {
		return false
	}

	return !slices.ContainsFunc(but, fits)
}

// holds asks the condition. One about the time never holds for a message whose time is unknown.
func (q *question) holds(c *condition) (bool, error) {
	if c.program == nil || c.constant > 0 {
		return true, nil
	}
	if c.timed && q.f.Time == 0 {
		return false, nil
	}
	value, _, err := c.program.Eval(&q.known)
	if err != nil {
		return false, err
	}
	return value == types.True, nil
}

// proven reports whether all sender addresses that a rule may have matched are authenticated: a login of our own proves
// it, else SPF or DKIM must have passed for the envelope's address, if there is one, and for that of the one author.
func (q *question) proven() bool {
	f := q.f
	if f.Outbound {
		return true
	}
	if len(f.HeaderFrom) > 1 || !f.From.IsNull() && !aligned(f.From.ASCIIDomain(), f.Authenticated) {
		return false
	}
	if len(f.HeaderFrom) == 1 {
		return aligned(f.HeaderFrom[0].ASCIIDomain(), f.Authenticated)
	}
	return !f.From.IsNull()
}

// ruled notes the rules' results, and changes the actions of symbols as they ask.
func (t *tally) ruled(p *Policy, f *Facts, s *scope, r *rulings) {
	for _, x := range r.failed {
		t.reason(RuleFailed, "the rule could not be asked", x.rule.Name, x.why)
		if !x.moot {
			t.failure(p, &Finding{Filter: ruleFailures})
		}
	}
	for _, x := range r.unproven {
		t.reason(RuleUnproven, "a rule would accept this, but neither SPF nor DKIM proves the sender", x.Name)
	}
	if r.acting != nil {
		t.reason(Ruled, "a rule of the policy: "+r.acting.disposition.String(), r.acting.Name)
	}
	t.actions(f, s, r, r.acting)
}

// actions weighs the actions of symbols again, as the rule that acts and those that take out parts have it.
func (t *tally) actions(f *Facts, s *scope, r *rulings, acting *rule) {
	if acting != nil && len(acting.Override) > 0 {
		t.override(f, s, acting.Override)
	}
	for _, x := range r.matched {
		t.stripAlso(f, x)
	}
}

func (t *tally) reason(symbol, help string, evidence ...string) {
	t.reasons = append(t.reasons, Reason{Symbol: symbol, Evidence: evidence, Help: help})
	t.weights = append(t.weights, 0)
}

// override disables the actions of the named symbols only.
func (t *tally) override(f *Facts, s *scope, symbols []string) {
	t.forced, t.by, t.byName, t.firm, t.strip, t.defang = Accept, nil, "", force{}, nil, nil
	for i := range f.Findings {
		if found := &f.Findings[i]; !slices.Contains(symbols, found.Symbol) {
			sym := s.symbols[found.Symbol]
			t.force(found, &sym)
		}
	}
}

// stripAlso removes what a rule names.
func (t *tally) stripAlso(f *Facts, r *rule) {
	if len(r.Strip) == 0 {
		return
	}
	for i := range f.Findings {
		if found := &f.Findings[i]; slices.Contains(r.Strip, found.Symbol) {
			t.force(found, &symbol{does: actionOf(filters.ActionStrip), help: "the rule \"" + r.Name + "\" takes it out, and it can't be found"})
		}
	}
}

// watched gives what the rules in monitor mode would have done.
func (v *Verdict) watched(f *Facts, s *scope, t *tally, r *rulings, allowed bool) {
	for _, one := range r.watched {
		acting := r.acting
		if one.acts && (acting == nil || one.place < acting.place) {
			acting = one
		}
		would := *t
		would.override(f, s, nil)
		would.actions(f, s, r, acting)
		would.stripAlso(f, one)
		d, why := would.weigh(s, allowed, acting)
		d, _ = would.putOff(d, why)
		v.Monitored = append(v.Monitored, Watched{Rule: one.Name, Would: d})
	}
	for _, x := range r.unwatched {
		v.Monitored = append(v.Monitored, Watched{Rule: x.rule.Name, Failed: x.why})
	}
}

// effects are the further effects of matching rules.
func (v *Verdict) effects(r *rulings) {
	for _, x := range r.matched {
		v.Rules = append(v.Rules, x.Name)
		for _, e := range ruleEffects {
			if e.ask != nil {
				e.ask(v, x)
			}
		}
	}
}
