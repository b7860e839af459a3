package rules

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"time"

	"postern/internal/mimeview"
	"postern/internal/mimeview/contents"
	"postern/rules/eval"
	"postern/rules/mapfile"
	"postern/rules/perlre"
	"postern/rules/relays"
	"postern/rules/views"
)

// How much work a message may make. Steps take some nanoseconds.
const (
	maxEvidence  = 80
	ruleSteps    = 300_000
	messageSteps = 12_000_000
	maxMessage   = 4 << 20
)

// Input is what rules look at.
type Input struct {
	View *mimeview.View
	// EnvelopeFrom is the reverse-path without brackets; HasEnvelope says that it is known, and not only empty.
	EnvelopeFrom string
	HasEnvelope  bool
	// Client is the address the message came from, with its HELO name, its reverse name and the user who logged in. An invalid
	// one means that only the Received fields tell.
	Client            netip.Addr
	Helo, ReverseName string
	User              string
	// Host is our own name.
	Host string
	// Trusted and Internal are our own networks, besides those that rule files name.
	Trusted, Internal []netip.Prefix
	// Facts are what other filters found; Lists asks the lists in the DNS.
	Facts eval.Facts
	Lists eval.Lists
	// Maps are those that rules look values up in, by name.
	Maps mapfile.Set
	// Files gives what the message carries, nil where nobody reads it.
	Files func() []*contents.Item
	// Now is the time; rules about age need it.
	Now time.Time
	// Offenders remembers the rules that run out of steps, nil for nobody who remembers.
	Offenders *Offenders
	// Costs remembers what rules take, nil for nobody who remembers.
	Costs *Costs
}

// Result is what a message showed.
type Result struct {
	// Hits are the rules that hold, in file order.
	Hits []Hit
	// Exhausted are the rules that took too many steps, each of them more than one rule may take; they count as not holding.
	Exhausted []string
	// Suspended are the rules that would have been tried, were they not suspended.
	Suspended []string
	// CutShort says that all rules together took too many steps: some were not tried.
	CutShort bool
}

// Match gives the rules that hold for a message, in file order.
func (s *Set) Match(in Input) []Hit { return s.Run(in).Hits }

// Run gives the rules that hold for a message, and those that were given up.
func (s *Set) Run(in Input) Result { return s.run(in, s.reporting) }

// Values gives the values of all rules that are run, hidden ones too, that are not 0.
func (s *Set) Values(in Input) map[string]float64 {
	all := map[string]float64{}
	m := s.matcher(in)
	defer m.done()
	for _, r := range s.rules {
		if r.live {
			if v := m.run(r).value; v != 0 {
				all[r.name] = v
			}
		}
	}
	return all
}

func (s *Set) run(in Input, wanted []*rule) Result {
	m := s.matcher(in)
	defer m.done()
	var result Result
	for _, r := range wanted {
		if o := m.run(r); o.value != 0 {
			result.Hits = append(result.Hits, Hit{Rule: r.name, Evidence: o.evidence, Count: max(1, int(o.value))})
		}
	}
	result.Exhausted, result.Suspended, result.CutShort = m.exhausted, m.suspended, m.cutShort
	return result
}

// room is what matchers use one after the other.
type room struct {
	outcomes []outcome
	texts    []*texts
	budget   *perlre.Budget
}

// done gives the room back.
func (m *matcher) done() {
	if m.watch != nil {
		m.in.Costs.add(m.watch)
	}
	clear(m.room.outcomes)
	clear(m.room.texts)
	m.set.rooms.Put(m.room)
}

// matcher is the work on one message.
type matcher struct {
	set       *Set
	room      *room
	in        Input
	message   *views.Message
	whole     *views.Message // where message is only its header and a rule asks for parts
	own       *ownViews
	ctx       *eval.Context
	budget    *perlre.Budget
	left      int
	lookup    func(*expr) float64 // m.value, made once
	outcomes  []outcome
	texts     []*texts // by the place of their group
	tags      map[string][]string
	exhausted []string
	suspended []string
	cutShort  bool
	watch     *stopwatch // nil where nothing is timed
}

type outcome struct {
	done, running bool
	value         float64
	evidence      string
}

func (s *Set) matcher(in Input) *matcher {
	r, _ := s.rooms.Get().(*room)
	if r == nil {
		r = &room{make([]outcome, len(s.rules)), make([]*texts, len(s.groups)), perlre.NewBudget(ruleSteps)}
	}
	m := &matcher{set: s, in: in, room: r, outcomes: r.outcomes, budget: r.budget, texts: r.texts, tags: map[string][]string{}, left: messageSteps}
	m.lookup = m.value
	if in.Costs.sample() {
		m.watch = &stopwatch{by: map[*rule]*Cost{}}
	}
	m.message = views.ReadOctets(m.raw(s.headOnly), m.options())
	m.own = &ownViews{view: in.View}
	now := in.Now
	if now.IsZero() {
		now = time.Now()
	}
	m.ctx = &eval.Context{Message: m.message, Config: s.config, Facts: in.Facts, Lists: in.Lists, Maps: in.Maps, Files: in.Files, Matcher: m, Now: now}
	return m
}

// parts are those of the message. Where only its header was read until now, all of it is.
func (m *matcher) parts() []*views.Part {
	if !m.set.headOnly {
		return m.message.Tree().Find(false, nil)
	}
	if m.whole == nil {
		m.whole = views.ReadOctets(m.raw(false), m.options())
	}
	return m.whole.Tree().Find(false, nil)
}

// raw is the message, or only its header if that is all that is looked at besides the text that readers see.
func (m *matcher) raw(headOnly bool) []byte {
	message := m.in.View.Message()
	if mem := message.Memory(); mem != nil {
		mem = mem[:min(len(mem), maxMessage)]
		if headOnly {
			if i := bytes.Index(mem, []byte("\r\n\r\n")); i >= 0 {
				mem = mem[:i+4]
			}
		}
		return mem
	}
	head, err := message.Head(maxMessage)
	if err != nil {
		return nil
	}
	return head
}

func (m *matcher) options() views.Options {
	s := m.set
	o := views.Options{
		Redirects: s.redirects, OriginFields: s.origin, Networks: s.networks, EnvelopeFrom: m.in.EnvelopeFrom,
		HasEnvelope: m.in.HasEnvelope || m.in.EnvelopeFrom != "",
	}
	if s.config.Domains.Loaded() {
		o.Domains = s.config.Domains
	}
	for _, p := range m.in.Trusted {
		o.Networks.Trusted = append(o.Networks.Trusted, relays.Network{Prefix: p})
	}
	for _, p := range m.in.Internal {
		o.Networks.Internal = append(o.Networks.Internal, relays.Network{Prefix: p})
	}
	if m.in.Client.IsValid() {
		o.First = m.connection(o.HasEnvelope)
	}
	return o
}

// connection is the relay that no Received field tells of yet: the client's.
func (m *matcher) connection(envelope bool) *relays.Relay {
	ip := m.in.Client.Unmap().String()
	r := &relays.Relay{
		IP: ip, Helo: m.in.Helo, RDNS: m.in.ReverseName, By: m.in.Host, EnvFrom: m.in.EnvelopeFrom, HasEnvFrom: envelope,
		NoRDNS: m.in.ReverseName == "", Private: relays.Private(ip),
	}
	if m.in.User != "" {
		r.Auth = "ESMTPA"
	}
	return r
}

// Find matches an expression of a function within the budget of its rule.
func (m *matcher) Find(re *perlre.Regexp, text string) bool {
	_, ok := re.Find(text, 0, m.budget)
	return ok
}

// Budget is what the rule that runs may still take.
func (m *matcher) Budget() *perlre.Budget { return m.budget }

// All gives what an expression matches: its first group where it has one.
func (m *matcher) All(re *perlre.Regexp, text string, most int) (all []string) {
	match, ok := re.Find(text, 0, m.budget)
	for ok && len(all) < most {
		found, grouped := match.Group(1)
		if re.Groups() == 0 || !grouped {
			found = text[match.Start:match.End]
		}
		all = append(all, found)
		match, ok = re.Next(text, match, m.budget)
	}
	return all
}

// value is what a name in a meta stands for.
func (m *matcher) value(e *expr) float64 {
	r := e.rule
	if r == nil || !r.live { // a score of 0 switches a rule off for others, too
		return 0
	}
	if o := &m.outcomes[r.id]; o.done {
		return o.value
	}
	return m.run(r).value
}

// run gives the outcome of a rule.
func (m *matcher) run(r *rule) *outcome {
	o := &m.outcomes[r.id]
	if o.done || o.running {
		return o
	}
	if r.skips && !m.textsOf(r).may(r) {
		o.done = true
		if m.watch != nil {
			m.watch.cost(r).Tried++
		}
		return o
	}
	o.running = true
	if r.kind == kindMeta {
		if o.value = r.meta.value(m.lookup); o.value < 0 {
			o.value = 1 // whatever holds counts once
		}
	} else if m.watch != nil {
		m.timed(r, o)
	} else {
		m.measured(r, o)
	}
	o.running, o.done = false, true
	return o
}

// measured runs a rule within its budget. What it found by then counts for nothing if that is exhausted.
func (m *matcher) measured(r *rule, o *outcome) {
	m.budget.Reset(min(ruleSteps, m.left))
	m.dispatch(r, o)
	m.left = max(0, m.left-m.budget.Used())
	if !m.budget.Exhausted() {
		return
	}
	o.value, o.evidence = 0, ""
	if m.left == 0 {
		m.cutShort = true
		return
	}
	m.exhausted = append(m.exhausted, r.name)
}

// leftAlone says whether a rule is suspended that would be tried now, and notes it.
func (m *matcher) leftAlone(r *rule) bool {
	if !m.in.Offenders.Suspended(r.name, m.ctx.Now) {
		return false
	}
	m.suspended = append(m.suspended, r.name)
	return true
}

func (m *matcher) dispatch(r *rule, o *outcome) {
	if r.kind > kindFull && m.leftAlone(r) {
		return
	}
	switch r.kind {
	case kindEval:
		if r.learns || r.asks && m.in.Lists == nil && !m.known(r.function) {
			return
		}
		m.ctx.Rule, m.ctx.Flags, m.ctx.Evidence = r.name, r.flags, ""
		o.value = r.known(m.ctx, r.args)
		o.evidence = clip(m.ctx.Evidence)
	case kindDetail:
		o.value = m.details(r)
	case kindDNS:
		o.value = m.askDNS(r)
	case kindPart:
		m.partHeaders(r, o)
	case kindEmpty:
	default:
		m.pattern(r, o)
	}
}

// known says whether the facts tell what a function asks.
func (m *matcher) known(function string) bool {
	f := m.in.Facts
	switch {
	case strings.Contains(function, "spf"):
		return f.SPF != "" || f.SPFHelo != ""
	case strings.Contains(function, "dmarc"):
		return f.DMARC != ""
	case strings.Contains(function, "dkim"), strings.Contains(function, "arc_"):
		return f.DKIMKnown || f.ARC
	}
	return false
}

// pattern looks for an expression.
func (m *matcher) pattern(r *rule, o *outcome) {
	t := m.textsOf(r)
	if r.exists {
		o.value = truth(t.there != r.negate)
		return
	}
	re := r.re
	if len(r.templates) > 0 {
		if !r.negate && !r.hasUn && !t.may(r) {
			return
		}
		if re = m.filledIn(r); re == nil {
			return
		}
	}
	if r.hasUn && !t.there {
		t = &texts{pieces: []string{r.unset}}
	}
	count, evidence := m.count(r, re, t)
	if r.negate && !slices.Contains(m.suspended, r.name) {
		count, evidence = 1-min(count, 1), ""
	}
	o.value, o.evidence = float64(count), evidence
}

// tag gives the values of a capture, or of what is known by name of every message.
func (m *matcher) tag(name string) []string {
	for _, r := range m.set.captures[name] {
		if r.live {
			m.run(r)
		}
	}
	if v := m.tags[name]; v != nil {
		return v
	}
	switch name {
	case "SENDERDOMAIN":
		return m.message.Get("EnvelopeFrom:first:addr:host")
	case "AUTHORDOMAIN":
		return m.message.Get("From:addr:host")
	}
	return nil
}

func clip(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) > maxEvidence {
		text = strings.ToValidUTF8(text[:maxEvidence], "") + "..."
	}
	return strings.TrimSpace(text)
}

// textsOf gives what a rule looks at, made and passed over when it is first needed.
func (m *matcher) textsOf(r *rule) *texts {
	g := r.group
	t := m.texts[g.place]
	if t != nil {
		return t
	}
	t = &texts{}
	m.texts[g.place] = t
	m.timedTexts(func() {
		t.pieces, t.there = m.pieces(g.key)
		if g.scan != nil {
			t.pass(g.scan)
		}
	})
	return t
}

// pieces are the texts themselves. For a field, there says whether it is in the message.
func (m *matcher) pieces(key groupKey) (pieces []string, there bool) {
	switch key.kind {
	case kindHeader:
		values := m.message.Values(key.spec)
		if len(values) == 0 {
			return []string{""}, false
		}
		between := "\n"
		if strings.HasSuffix(values[0], "\n") {
			between = ""
		}
		return []string{strings.Join(values, between)}, true
	case kindBody:
		if key.foreign {
			return m.message.Body(), true
		}
		return m.own.paragraphs(), true
	case kindRaw:
		if key.foreign {
			return m.message.Raw(), true
		}
		return m.own.rawChunks(), true
	case kindURI:
		if key.foreign {
			return m.message.URIs(), true
		}
		return m.own.uris(), true
	}
	return []string{m.message.Full()}, true
}
