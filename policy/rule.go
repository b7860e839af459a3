package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
)

// rule is a compiled Rule.
type rule struct {
	Rule
	place          int // among the rules as they are asked
	when           condition
	from, notFrom  []*who
	to, notTo      []*who
	what, notWhat  []*what
	time, notTime  []*window
	disposition    Disposition
	acts           bool
	headers        []HeaderField
	attachments    bool // whether it asks for them
	redirect       mail.Address
	copies, notify []mail.Address
	symbol         symbol // what a verdict by this rule says
}

// asks is what the facts must hold for the policy's rules and scopes.
type asks struct {
	attachments, groups bool
	// acceptance is set if a rule may accept, so that early refusals must look at it.
	acceptance bool
}

// HeaderField is one that a rule puts on top of a message.
type HeaderField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Bounds of rules.
const (
	maxRules   = 1000
	maxPerRule = 20  // header fields, addresses, symbols
	maxHeader  = 900 // octets of a header field's value: RFC 5322 section 2.1.1 has 998 for a line
	maxNotice  = 10_000
)

func (c *compiler) rules(p *Policy) {
	if len(c.cfg.Rules) > maxRules {
		c.bad("rule", "there are %d, %d are the limit; name many senders in one [who] instead", len(c.cfg.Rules), maxRules)
		return
	}
	objects := c.objects(p.zone)
	if len(c.cfg.Rules) == 0 {
		return
	}
	env, err := conditions(c.known, c.cfg.Maps)
	if err != nil {
		c.bad("rule", "the language of conditions can't be made ready: %v; this is a mistake of ours", err)
		return
	}
	seen := map[string]bool{}
	for i, r := range c.cfg.Rules {
		at := fmt.Sprintf("rule[%d]", i)
		switch {
		case r.Name == "" || len(r.Name) > 100 || filters.Printable(r.Name) != r.Name:
			c.bad(at+".name", "%.40q is no name; write up to 100 characters, as in name = \"no macros from outside\"", r.Name)
		case seen[r.Name]:
			c.bad(at+".name", "there are two rules %q; give one another name", r.Name)
		}
		seen[r.Name] = true
		p.rules = append(p.rules, c.rule(env, objects, i, at, r))
	}
	slices.SortStableFunc(p.rules, func(a, b *rule) int { return cmp.Compare(b.Priority, a.Priority) })
	p.adapter = env.CELTypeAdapter()
	for i, r := range p.rules {
		r.place = i
		p.asks.add(r)
	}
}

func (a *asks) add(r *rule) {
	r.attachments = r.when.names["attachments"]
	for _, w := range slices.Concat(r.what, r.notWhat) {
		r.attachments = r.attachments || len(w.names)+len(w.types) > 0
	}
	a.attachments = a.attachments || r.attachments
	for _, w := range slices.Concat(r.from, r.to, r.notFrom, r.notTo) {
		a.groups = a.groups || len(w.groups) > 0
	}
	a.acceptance = a.acceptance || r.acts && r.disposition == Accept && !r.Monitor
	a.groups = a.groups || r.when.names["groups"]
}

func (c *compiler) rule(env *cel.Env, o objects, i int, at string, cfg Rule) *rule {
	r := &rule{
		Rule: cfg,
		from: named(c, at+".from", "who", cfg.From, o.who), notFrom: named(c, at+".not_from", "who", cfg.NotFrom, o.who),
		to: named(c, at+".to", "who", cfg.To, o.who), notTo: named(c, at+".not_to", "who", cfg.NotTo, o.who),
		what: named(c, at+".what", "what", cfg.What, o.what), notWhat: named(c, at+".not_what", "what", cfg.NotWhat, o.what),
		time: named(c, at+".time", "time", cfg.Time, o.windows), notTime: named(c, at+".not_time", "time", cfg.NotTime, o.windows),
	}
	for _, w := range slices.Concat(r.to, r.notTo) {
		if len(w.networks) > 0 {
			c.bad(at+".to", "%q names networks, which say nothing of a recipient; name a [who] without them", w.name)
		}
	}
	if cfg.Direction != "" && cfg.Direction != "in" && cfg.Direction != "out" {
		c.bad(at+".direction", "%q is no direction; write \"in\" or \"out\", or leave it out for both", cfg.Direction)
	}
	if cfg.When != "" {
		r.when = c.condition(env, i, cfg.When)
	}
	c.action(at, r)
	c.effects(at, r)
	return r
}

func named[T any](c *compiler, key, table string, names []string, objects map[string]*T) []*T {
	var found []*T
	for i, name := range names {
		o, ok := objects[name]
		if !ok {
			remedy := fmt.Sprintf("write one, with [%s]", config.JoinKey(table, name))
			if near := config.Nearest(name, slices.Sorted(maps.Keys(objects))); near != "" {
				remedy = fmt.Sprintf("did you mean %q?", near)
			}
			c.bad(fmt.Sprintf("%s[%d]", key, i), "there is no [%s]; %s", config.JoinKey(table, name), remedy)
			continue
		}
		found = append(found, o)
	}
	return found
}

func (c *compiler) action(at string, r *rule) {
	if r.Action != filters.NoAction {
		d, err := ruleAction(r.Action)
		if err != nil {
			c.bad(at+".action", "%v", err)
		}
		r.disposition, r.acts = d, true
	}

	c.onlyWith(at, r)
	c.symbolKeys(at+".override", r.Override)
	r.symbol = symbol{forced: r.disposition, reply: ascii(r.Reply)}
	if !r.acts && !r.Stop && !r.changes() {
		c.bad(at, "does nothing; give it an action, headers, copy_to, redirect_to, strip, banner, disclaimer, notify or stop = true")
	}
}

// onlyWith checks what goes with some actions only.
func (c *compiler) onlyWith(at string, r *rule) {
	refuses := r.acts && r.disposition >= Defer
	accepts := r.acts && r.disposition == Accept

	switch {
	case r.Reply != "" && !refuses:
		c.bad(at+".reply", "is never said; it goes with action = \"reject\" or \"defer\"")
	case len(r.Reply) > maxReply:
		c.bad(at+".reply", "has %d octets, %d are the limit; say it in fewer words", len(r.Reply), maxReply)
	case r.Unauthenticated && !accepts:
		c.bad(at+".unauthenticated", "has no meaning here; it goes with action = \"accept\"")
	case len(r.Override) > 0 && !accepts:
		c.bad(at+".override", "has no meaning here; it goes with action = \"accept\"")
	}
}

// changes says whether the rule does something to the copies of those it fits.
func (r *rule) changes() bool {
	return slices.ContainsFunc(ruleEffects, func(e ruleEffect) bool { return e.given(&r.Rule) > 0 })
}

// effects checks a rule's further effects.
func (c *compiler) effects(at string, r *rule) {
	for _, e := range ruleEffects {
		e.check(c, at+"."+e.key, r)
		if e.argument.many() {
			c.atMost(at+"."+e.key, e.given(&r.Rule))
		}
	}
	c.atMost(at+".override", len(r.Override))
}

func (c *compiler) atMost(key string, given int) {
	if given > maxPerRule {
		c.bad(key, "names %d, %d are the limit; part the rule", given, maxPerRule)
	}
}

func checkHeaders(c *compiler, at string, r *rule) {
	for _, key := range slices.Sorted(maps.Keys(r.Headers)) {
		c.header(config.JoinKey(at, key), key, r.Headers[key])
		r.headers = append(r.headers, HeaderField{key, r.Headers[key]})
	}
}

// symbolKeys checks a list of symbols.
func (c *compiler) symbolKeys(at string, names []string) {
	for i, name := range names {
		c.symbolKey(fmt.Sprintf("%s[%d]", at, i), name)
	}
}

// addresses reads a list of them.
func (c *compiler) addresses(at string, texts []string) []mail.Address {
	var list []mail.Address
	for i, text := range texts {
		list = append(list, c.address(fmt.Sprintf("%s[%d]", at, i), text))
	}
	return list
}

// header checks a field that a rule adds.
func (c *compiler) header(path, key, value string) {
	wide := func(c rune) bool { return c < ' ' || c > '~' }

	switch {
	case !fieldName(key):
		c.bad(path, "%.80q can't be the name of a field; write it as in \"X-Checked\"", key)
	case reserved(key):
		c.bad(path, "a message has this field from elsewhere, and readers trust it; choose a name that begins with X-")
	case len(value) > maxHeader || strings.ContainsFunc(value, wide) || strings.TrimSpace(value) == "":
		c.bad(path, "is not plain ASCII of 1 to %d characters; write the value on one line", maxHeader)
	}
}

// notice checks a text that is put into messages.
func (c *compiler) notice(path, text string) {
	control := func(c rune) bool { return c < ' ' && c != '\n' && c != '\r' && c != '\t' || c == 0x7f }
	if len(text) > maxNotice || strings.ContainsFunc(text, control) {
		c.bad(path, "has control characters or more than %d octets; write plain text, in fewer words", maxNotice)
	}
}

func (c *compiler) address(key, text string) mail.Address {
	a, err := mail.ParseAddress(text)
	if err != nil || a.IsNull() {
		c.bad(key, "%.80q is no address; write it as in \"user@example.com\"", text)
	}
	return a
}

// fieldName says whether a text can be one: RFC 5322 section 3.6.8, ftext.
func fieldName(name string) bool {
	return name != "" && len(name) <= 70 && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' })
}

// reserved says whether a field is one that RFC 5322 section 3.6 allows only once or that other servers rely on.
func reserved(name string) bool {
	name = strings.ToLower(name)
	for _, family := range []string{"arc-", "resent-", "content-", "received", "authentication-results", "dkim-", "mime-", "x-postern"} {
		if strings.HasPrefix(name, family) {
			return true
		}
	}
	return slices.Contains([]string{
		"from", "sender", "reply-to", "to", "cc", "bcc", "date", "subject", "message-id", "in-reply-to", "references", "return-path",
	}, name)
}
