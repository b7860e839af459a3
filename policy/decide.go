package policy

import (
	"slices"
	"strconv"
	"strings"

	"postern/filters"
	"postern/internal/mail"
)

// tally is what the findings come to in one scope.
type tally struct {
	reasons []Reason
	weights []int64 // of reasons, in thousandths
	score   int64
	// forced is the strictest forced disposition and by its symbol; failed the same for filters that failed.
	forced Disposition
	by     *symbol
	byName string
	// firm is the part that an allow entry can't override: all but symbols of form.
	firm force
	// later is the symbol that defers mail which would be delivered, and its name, "" for none.
	later     symbol
	laterName string
	tarpit    bool
	strip     []string
	defang    []string
	failed    Disposition
	failedBy  string
}

// force is a forced disposition and the symbol that asks for it.
type force struct {
	disposition Disposition
	by          *symbol
	name        string
}

// Decide gives the verdict on a message for one recipient. Of the rules that fit, the one with the greatest priority that
// has an action acts, and no other. What comes first here wins:
//
//  1. an entry of the block list: reject
//  2. a rule whose action is reject or defer
//  3. a symbol whose action is reject or defer, the strictest of them, but for those that an accepting rule overrides, and
//     for those that speak of form alone where the sender is allowed
//  4. a rule whose action is quarantine; the score can still refuse
//  5. a symbol whose action is quarantine, unless a rule accepts or the sender is allowed; the score can still refuse
//  6. a filter or a rule that failed, as [on_failure] says
//  7. a rule whose action is tag; the score can be stricter, unless the sender is allowed
//  8. a rule whose action is accept
//  9. an entry of the allow list: accept
//  10. a symbol whose action is tag; the score can be stricter
//  11. the score
//
// What would be delivered after that, and is neither accepted by a rule nor on the allow list, waits if there is a symbol
// whose action is defer_if_permit.
func (p *Policy) Decide(f *Facts, rcpt mail.Address) Verdict { return p.decide(f, rcpt, nil) }

// without leaves out what a verdict may hang on, to see what it would be then. A nil one leaves out nothing.
type without struct {
	rule    string
	entries map[string]bool // by name
}

func (o *without) ruled(r *rule) bool { return o != nil && o.rule == r.Name }

func (o *without) counts(e *entry) bool { return o == nil || !o.entries[e.name] }

func (p *Policy) decide(f *Facts, rcpt mail.Address, but *without) (v Verdict) {
	s := p.scopeOf(f, rcpt)
	t := p.tally(f, s)
	who := parties{f.Client, f.From, f.HeaderFrom, rcpt, f.Time}
	v.Recipient, v.Required, v.PolicyVersion = rcpt, s.required, p.version
	var why cause
	if e, ok := p.block.match(who, but.counts); ok {
		t.list(Blocked, e)
		v.ListEntry = e.ID
		v.Disposition, why = Reject, cause{kind: causeBlock, name: e.name}
	} else {
		var r rulings
		if len(p.rules) > 0 && f.Stage == mail.StageMessage {
			r = p.ask(f, rcpt, &t, but)
			t.ruled(p, f, s, &r)
		}
		e := p.allowing(f, who, &t, but)
		if len(r.watched)+len(r.unwatched) > 0 {
			v.watched(f, s, &t, &r, e != nil)
		}
		v.Disposition, why = t.weigh(s, e != nil, r.acting)
		v.Disposition, why = t.putOff(v.Disposition, why)
		if e != nil {
			v.ListEntry = e.ID
		}
		if why.kind == causeAllow {
			why.name = e.name
		}
		v.effects(&r)
	}
	v.conclude(p, f, why, &t, s)
	return v
}

// conclude fills in what follows from the disposition and its cause.
func (v *Verdict) conclude(p *Policy, f *Facts, why cause, t *tally, s *scope) {
	v.Score = float64(t.score) / 1000
	v.Reasons = t.reasons
	v.Decisive = why.sentence(v.Disposition, t, s)
	v.Tarpit = t.tarpit
	if v.Disposition <= Tag {
		v.Strip, v.Defang = t.strip, t.defang
	} else {
		for _, e := range ruleEffects {
			if e.drop != nil {
				e.drop(v)
			}
		}
	}
	if v.Disposition == Defer { // it comes again
		v.Notify = nil
	}
	if len(v.Defang) > 0 {
		v.Decisive += " Made harmless: what " + strings.Join(v.Defang, ", ") + " found; the original is held."
	}
	if len(v.Strip) > 0 {
		v.Decisive += " Taken out: what " + strings.Join(v.Strip, ", ") + " found; the original is held."
	}
	v.Drop = v.Disposition == Defer && why.kind == causeForced && t.by != nil && t.by.drops()
	v.Reply = p.reply(f, v.Disposition, why, t)
	if v.Drop { // RFC 5321 section 4.2.1: 421 says that the channel closes
		v.Reply.Code, v.Reply.Enhanced = 421, "4.7.0"
	}
}

func (p *Policy) scopeOf(f *Facts, rcpt mail.Address) *scope {
	if f.Outbound {
		return p.outbound
	}
	if len(p.recipients)+len(p.groups) > 0 && !rcpt.IsNull() {
		key := rcpt.Key()
		if s, ok := p.recipients[key]; ok {
			return s
		}
		for _, name := range p.groupNames {
			if isMember(f.Groups[key], name) {
				return p.groups[name]
			}
		}
	}
	if len(p.domains) == 0 {
		return p.inbound
	}
	domain := rcpt.ASCIIDomain()
	if s, ok := p.domains[domain]; ok {
		return s
	}
	for {
		i := strings.IndexByte(domain, '.')
		if i < 0 {
			return p.inbound
		}
		if s, ok := p.domains[domain[i:]]; ok {
			return s
		}
		domain = domain[i+1:]
	}
}

// tally sums up the findings. A symbol counts once however often it was seen, with the greatest of its weights.
func (p *Policy) tally(f *Facts, s *scope) tally {
	t := tally{
		// room for the entry of a list behind them
		reasons: make([]Reason, 0, len(f.Findings)+1),
		weights: make([]int64, 0, len(f.Findings)+1),
	}
	evidence := make([]string, len(f.Findings))
	for i := range f.Findings {
		found := &f.Findings[i]
		sym := s.symbols[found.Symbol]
		if found.Symbol == filters.Failed {
			t.failure(p, found)
		}
		if sym.does != nil && sym.does.note != nil {
			sym.does.note(&t, found, &sym)
		}
		t.force(found, &sym)
		evidence[i] = found.Evidence
		t.add(found, &sym, evidence[i:i+1:i+1])
	}
	for _, w := range t.weights {
		t.score += w
	}
	if len(p.caps) > 0 {
		t.bound(p.caps)
	}
	return t
}

// force keeps the strictest of the actions.
func (t *tally) force(found *Finding, sym *symbol) {
	d := sym.forced
	if sym.rewrites() {
		d = t.rewrite(found, sym)
	}
	if stricter(d, sym, t.forced, t.by) {
		forced := *sym
		forced.forced = d
		t.forced, t.by, t.byName = d, &forced, found.Symbol
	}
	if firm := &t.firm; !sym.form && stricter(d, sym, firm.disposition, firm.by) {
		forced := *sym
		forced.forced = d
		*firm = force{d, &forced, found.Symbol}
	}
}

// stricter says whether what a symbol forces goes before what another does: of two that defer, the one that ends the
// connection.
func stricter(d Disposition, sym *symbol, than Disposition, by *symbol) bool {
	return d > than || d == Defer && than == Defer && sym.drops() && !by.drops()
}

// bound subtracts what the symbols of a group count above their maximum.
func (t *tally) bound(caps map[string]*groupCap) {
	var order []*groupCap
	sums := map[*groupCap]int64{}
	for i := range t.reasons {
		if c := caps[t.reasons[i].Symbol]; c != nil {
			if _, seen := sums[c]; !seen {
				order = append(order, c)
			}
			sums[c] += t.weights[i]
		}
	}
	slices.SortFunc(order, func(a, b *groupCap) int { return strings.Compare(a.name, b.name) })
	for _, c := range order {
		if over := sums[c] - c.max; over > 0 {
			t.reasons = append(t.reasons, Reason{
				Symbol: GroupMax, Score: -float64(over) / 1000, Evidence: []string{c.name},
				Help: "the symbols of this group count no more than " + decimal(c.max) + " together",
			})
			t.weights = append(t.weights, -over)
			t.score -= over
		}
	}
}

// rewrite notes what is to be done to a part. What can't be taken out keeps the whole message here.
func (t *tally) rewrite(found *Finding, sym *symbol) Disposition {
	if !found.Located {
		return Quarantine
	}
	list := sym.does.part(t)
	if !slices.Contains(*list, found.Symbol) {
		*list = append(*list, found.Symbol)
	}
	return sym.forced
}

func (t *tally) add(found *Finding, sym *symbol, evidence []string) {
	weight := weighed(sym.score, found.Weight)
	if found.Evidence == "" {
		evidence = nil
	}
	for i := range t.reasons {
		if r := &t.reasons[i]; r.Symbol == found.Symbol {
			r.Evidence = append(r.Evidence, evidence...)
			if abs(weight) > abs(t.weights[i]) {
				t.weights[i], r.Score = weight, float64(weight)/1000
			}
			return
		}
	}
	t.reasons = append(t.reasons, Reason{found.Symbol, float64(weight) / 1000, evidence, sym.help})
	t.weights = append(t.weights, weight)
}

// failure counts a filter that could not do its work. Mail is judged without a filter whose server is down and that is
// not required, unless [on_failure] names it.
func (t *tally) failure(p *Policy, found *Finding) {
	d, ok := p.onFailure[found.Filter]
	switch {
	case ok:
	case found.Away:
		d = Accept
	default:
		d = p.otherwise
	}
	if d > t.failed {
		t.failed, t.failedBy = d, found.Filter
	}
}

// list puts an entry of a list behind the reasons.
func (t *tally) list(symbol string, e *entry) {
	r := Reason{Symbol: symbol, Evidence: []string{e.name}, Help: e.Reason}
	switch {
	case symbol == NotAllowed:
		r.Help = "an allow entry fits, but neither SPF nor DKIM proves the sender"
	case symbol == Allowed && e.Unauthenticated && e.sender != "" && !e.network.IsValid():
		r.Evidence = append(r.Evidence, "the sender is not proven, and this entry does not ask for it")
	}
	t.reasons = append(t.reasons, r)
	t.weights = append(t.weights, 0)
}

// allowing gives the first entry of the allow list that fits and whose sender is proven.
func (p *Policy) allowing(f *Facts, who parties, t *tally, but *without) *entry {
	var unproven *entry
	e, ok := p.allow.match(who, func(e *entry) bool {
		if !but.counts(e) {
			return false
		}
		if e.proven(who, f.Authenticated) {
			return true
		}
		if unproven == nil {
			unproven = e
		}
		return false
	})
	switch {
	case ok:
		t.list(Allowed, e)
		return e
	case unproven != nil:
		t.list(NotAllowed, unproven)
	}
	return nil
}

// weigh turns the tally into a disposition, in the order that Decide states. The rule that acts is nil if none does.
func (t *tally) weigh(s *scope, allowed bool, acting *rule) (Disposition, cause) {
	if allowed {
		t.forced, t.by, t.byName = t.firm.disposition, t.firm.by, t.firm.name
	}
	byScore := s.byScore(t.score)
	ruled, accepted := Accept, false
	why := cause{kind: causeRule}
	if acting != nil {
		ruled, accepted = acting.disposition, acting.disposition == Accept
		why.name, why.rule = acting.Name, acting
	}

	held := t.forced == Quarantine && !allowed && !accepted
	switch {
	case ruled >= Defer:
		return ruled, why
	case t.forced >= Defer:
		return t.forced, cause{kind: causeForced, name: t.byName}
	case (ruled == Quarantine && !allowed || held) && byScore > Quarantine && t.failed == Accept:
		return byScore, cause{kind: causeScore}
	case ruled == Quarantine:
		return Quarantine, why
	case held:
		return Quarantine, cause{kind: causeForced, name: t.byName}
	case t.failed > Accept:
		return t.failed, cause{kind: causeFailure, name: t.failedBy}
	}

	return t.deliver(byScore, allowed, accepted, ruled == Tag, why)
}

// deliver is weigh where nothing keeps the message from being delivered but its score.
func (t *tally) deliver(byScore Disposition, allowed, accepted, tag bool, why cause) (Disposition, cause) {
	switch {
	case tag && (allowed || byScore <= Tag):
		return Tag, why
	case tag:
		return byScore, cause{kind: causeScore}
	case accepted:
		return Accept, why
	case allowed:
		return Accept, cause{kind: causeAllow}
	case t.forced == Tag && byScore <= Tag:
		return Tag, cause{kind: causeForced, name: t.byName}
	}

	return byScore, cause{kind: causeScore}
}

// putOff defers unvouched mail that would be delivered. So a message that is refused or held anyway need not come
// twice.
func (t *tally) putOff(d Disposition, why cause) (Disposition, cause) {
	if t.laterName == "" || d > Tag || why.kind == causeAllow || why.kind == causeRule && d == Accept {
		return d, why
	}
	t.by, t.byName = &t.later, t.laterName
	return Defer, cause{kind: causeForced, name: t.laterName}
}

func (s *scope) byScore(score int64) Disposition {
	switch {
	case score >= s.limits[2]:
		return Reject
	case score >= s.limits[1]:
		return Quarantine
	case score >= s.limits[0]:
		return Tag
	}
	return Accept
}

func weighed(score int64, weight float64) int64 {
	switch {
	case weight == 0 || weight >= 1:
		return score
	case weight > 0:
		return thousandths(float64(score) / 1000 * weight)
	}
	return 0 // negative, or not a number
}

func abs(n int64) int64 { return max(n, -n) }

func decimal(thousandths int64) string {
	return strconv.FormatFloat(float64(thousandths)/1000, 'f', -1, 64)
}
