package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/policy/calendar"
)

// Policy is a compiled policy. It is immutable and serves any number of transactions at once.
type Policy struct {
	version  string
	inbound  *scope
	outbound *scope
	domains  map[string]*scope
	// early are the actions that hold in every scope: all that counts before the recipient is known.
	early     map[string]Disposition
	onFailure map[string]Disposition
	otherwise Disposition // for filters that onFailure doesn't name
	allow     *list
	block     *list
	short     [2]bool // inbound, outbound
	// recipients by Address.Key; groups by name, groupNames in order.
	recipients map[string]*scope
	groups     map[string]*scope
	groupNames []string
	caps       map[string]*groupCap // by symbol
	rules      []*rule
	asks       asks
	zone       calendar.Zone
	adapter    types.Adapter // of the language of conditions
	cfg        Config
}

// groupCap is the most that the symbols of a group count together.
type groupCap struct {
	name string
	max  int64 // in thousandths
}

// NeedsGroups says whether the policy asks for the groups of recipients, and of senders of our own.
func (p *Policy) NeedsGroups() bool { return p.asks.groups || len(p.groupNames) > 0 }

// Acts says whether a symbol has an action of its own anywhere in the policy.
func (p *Policy) Acts(name string) bool {
	acts := func(s *scope) bool {
		return s.symbols[name].does != nil
	}
	some := func(scopes map[string]*scope) bool {
		for _, s := range scopes {
			if acts(s) {
				return true
			}
		}
		return false
	}

	return acts(p.inbound) || acts(p.outbound) || some(p.domains) || some(p.groups) || some(p.recipients)
}

// scope is the policy for mail of one direction or domain.
type scope struct {
	required Thresholds
	limits   [3]int64 // the same in thousandths
	early    int64
	symbols  map[string]symbol
}

// symbol is a symbol's score and action in a scope.
type symbol struct {
	score int64 // in thousandths: sums of whole numbers don't depend on their order
	// does is its action, nil for none; forced is the mildest disposition it allows.
	does   *action
	forced Disposition
	// form is set for symbols about the form of the mail alone.
	form  bool
	help  string
	reply string
}

// Version names the policy: the same text and the same built-in scores give the same version on any machine.
func (p *Policy) Version() string { return p.version }

// Compile makes a policy of its settings, of all symbols that filters can report, and of entries of lists that are kept
// elsewhere. With problems there is none.
func Compile(cfg Config, defaults []filters.Symbol, more ...ListEntry) (*Policy, []config.Problem) {
	c := compiler{cfg: cfg, known: map[string]filters.Symbol{}, more: more}
	for _, s := range defaults {
		c.known[s.Name] = s
	}
	// a filter's failure is judged by [on_failure], never by a score
	if _, ok := c.known[filters.Failed]; !ok {
		c.known[filters.Failed] = filters.Symbol{Name: filters.Failed, Help: "a filter could not do its work"}
	}
	p := &Policy{
		domains: map[string]*scope{}, onFailure: map[string]Disposition{}, otherwise: Defer,
		recipients: map[string]*scope{}, groups: map[string]*scope{}, caps: map[string]*groupCap{}, cfg: cfg,
		short: [2]bool{cfg.Disclose.Inbound == "short", cfg.Disclose.Outbound == "short"},
	}
	var err error
	if p.zone, err = calendar.LoadZone(cfg.Timezone); err != nil {
		c.bad("timezone", "%v", err)
	}
	c.scopes(p)
	c.failures(p)
	p.allow, p.block = c.list(Allow, cfg.Allow, p.zone), c.list(Block, cfg.Block, p.zone)
	c.rules(p)
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	p.early = p.everywhere()
	p.version = c.version(defaults)
	return p, nil
}

// scopes combines particular settings with the general ones: one scope counts for a recipient, see Policy.scopeOf.
func (c *compiler) scopes(p *Policy) {
	cfg := c.cfg
	base := Scope{Scores: cfg.Scores, Actions: cfg.Actions}
	grouped := c.symbolGroups(p)
	p.inbound = c.scope("", cfg.Thresholds, grouped, base)
	p.outbound = c.scope("outbound", cfg.Thresholds, grouped, base, cfg.Outbound)
	for _, name := range slices.Sorted(maps.Keys(cfg.Domains)) {
		path := config.JoinKey("domain", name)
		key := pattern(name)
		if key == "" || strings.Contains(key, "@") || key == "<>" {
			c.bad(path, "%q is not a domain; write \"example.com\", or \".example.com\" for all names below it", name)
			continue
		}
		p.domains[key] = c.scope(path, cfg.Thresholds, grouped, base, cfg.Domains[name])
	}
	p.groupNames = slices.Sorted(maps.Keys(cfg.RecipientGroups))
	for _, name := range p.groupNames {
		c.groupName(config.JoinKey("recipient_group", name), name)
		p.groups[name] = c.scope(config.JoinKey("recipient_group", name), cfg.Thresholds, grouped, base, cfg.RecipientGroups[name])
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Recipients)) {
		path, key := config.JoinKey("recipient", name), pattern(name)
		if !strings.Contains(key, "@") {
			c.bad(path, "%q is no address; write it as in [recipient.\"user@example.com\"], and domains as in [domain.\"example.com\"]", name)
			continue
		}
		p.recipients[key] = c.scope(path, cfg.Thresholds, grouped, base, cfg.Recipients[name])
	}
}

// symbolGroups checks the groups of symbols, and gives the scores and actions that they set.
func (c *compiler) symbolGroups(p *Policy) Scope {
	s := Scope{Scores: map[string]float64{}, Actions: map[string]filters.Action{}}
	in := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.cfg.SymbolGroups)) {
		g, path := c.cfg.SymbolGroups[name], config.JoinKey("group", name)
		if !c.symbolGroup(path, g) {
			continue
		}

		limit := &groupCap{name: name}
		if g.Max != nil {
			limit.max = thousandths(*g.Max)
		}
		for i, one := range g.Symbols {
			at := fmt.Sprintf("%s.symbols[%d]", path, i)
			c.symbolKey(at, one)
			if other, ok := in[one]; ok {
				c.bad(at, "%s is in [%s] already; a symbol can be in one group", one, config.JoinKey("group", other))
			}
			in[one] = name
			if g.Max != nil {
				p.caps[one] = limit
			}
			if g.Score != nil {
				s.Scores[one] = *g.Score
			}
			if g.Action != "" {
				s.Actions[one] = g.Action
			}
		}
	}

	c.unweighed(p)

	return s
}

// unweighedMax is what symbols that nobody weighed count together, unless the policy says otherwise of one.
const unweighedMax = 2.0

// unweighed puts the symbols that nobody weighed into a group of their own: those that the policy neither scores nor groups.
func (c *compiler) unweighed(p *Policy) {
	limit := &groupCap{name: "unweighed", max: thousandths(unweighedMax)}
	for name, s := range c.known {
		_, scored := c.cfg.Scores[name]
		if s.Unweighed && !scored && !c.grouped(name) {
			p.caps[name] = limit
		}
	}
}

// grouped says whether the policy names a symbol in a group.
func (c *compiler) grouped(name string) bool {
	for _, g := range c.cfg.SymbolGroups {
		if slices.Contains(g.Symbols, name) {
			return true
		}
	}
	return false
}

// symbolGroup checks what a group sets, and says whether it can be used.
func (c *compiler) symbolGroup(path string, g SymbolGroup) bool {
	if g.Max != nil && (math.IsNaN(*g.Max) || *g.Max < 0 || *g.Max > 1e6) {
		c.bad(path+".max", "is out of range; write a number from 0 to 1000000")
		return false
	}
	if g.Score != nil && (math.IsNaN(*g.Score) || math.Abs(*g.Score) > 1e6) {
		c.bad(path+".score", "is out of range; a score is between -1000000 and 1000000")
		return false
	}
	if err := new(symbol).act(g.Action); err != nil {
		c.bad(path+".action", "%v", err)
		return false
	}
	if len(g.Symbols) == 0 {
		c.bad(path, "has no symbols; name them with symbols = [\"…\"]")
	}

	return true
}

type compiler struct {
	cfg      Config
	known    map[string]filters.Symbol
	more     []ListEntry
	problems config.Problems
}

func (c *compiler) bad(key, format string, args ...any) {
	text, remedy, _ := strings.Cut(fmt.Sprintf(format, args...), "; ")
	c.problems = append(c.problems, config.Problem{File: c.cfg.file, Line: c.cfg.lines.Line(key), Key: key, Text: text, Remedy: remedy})
}

// scope lays one scope over another and checks the topmost, which is the one that path names. The base is checked with
// the inbound scope only, so that nothing is said twice.
func (c *compiler) scope(path string, required Thresholds, layers ...Scope) *scope {
	s := &scope{symbols: make(map[string]symbol, len(c.known))}
	for name, known := range c.known {
		one := symbol{score: thousandths(known.Score), help: ascii(known.Help), reply: ascii(known.Reply), form: known.Form}
		if err := one.act(known.Action); err != nil {
			c.bad("", "filter symbol %s has the action %q; mend its Spec", name, known.Action)
		}
		s.symbols[name] = one
	}
	for i, layer := range layers {
		setIf(&required.Tag, layer.Tag)
		setIf(&required.Quarantine, layer.Quarantine)
		setIf(&required.Reject, layer.Reject)
		setIf(&required.Early, layer.Early)
		c.layer(s, path, layer, i == len(layers)-1)
	}
	c.thresholds(path, required)
	s.required = required
	s.early = thousandths(required.Early)
	if s.early == 0 {
		s.early = thousandths(required.Reject)
	}
	s.limits = [3]int64{thousandths(required.Tag), thousandths(required.Quarantine), thousandths(required.Reject)}
	return s
}

func (c *compiler) layer(s *scope, path string, layer Scope, check bool) {
	join := func(table, name string) string {
		if path != "" {
			table = path + "." + table
		}
		return config.JoinKey(table, name)
	}
	for _, name := range slices.Sorted(maps.Keys(layer.Scores)) {
		if check {
			c.symbolKey(join("scores", name), name)
		}
		if score := layer.Scores[name]; math.IsNaN(score) || math.Abs(score) > 1e6 {
			c.bad(join("scores", name), "is out of range; a score is between -1000000 and 1000000")
			continue
		}
		one := s.symbols[name]
		one.score = thousandths(layer.Scores[name])
		s.symbols[name] = one
	}
	for _, name := range slices.Sorted(maps.Keys(layer.Actions)) {
		if check {
			c.symbolKey(join("actions", name), name)
		}
		one := s.symbols[name]
		if err := one.act(layer.Actions[name]); err != nil && check {
			c.bad(join("actions", name), "%v", err)
		}
		s.symbols[name] = one
	}
}

func (c *compiler) symbolKey(key, name string) {
	if name == filters.Failed {
		c.bad(key, "a failure has no score or action of its own; use [on_failure] with the filter's name")
		return
	}
	if _, ok := c.known[name]; ok {
		return
	}
	c.bad(key, "no filter reports this symbol; %s", nearestSymbol(name, c.known))
}

func nearestSymbol(name string, known map[string]filters.Symbol) string {
	if near := config.Nearest(name, slices.Sorted(maps.Keys(known))); near != "" {
		return "did you mean " + near + "?"
	}
	return "take it away, or see `postern policy show` for all symbols"
}

func (c *compiler) thresholds(path string, t Thresholds) {
	if path == "" {
		path = "thresholds"
	}
	for _, v := range []float64{t.Tag, t.Quarantine, t.Reject} {
		if math.IsNaN(v) || v <= 0 || v > 1e6 {
			c.bad(path, "a threshold of %v is out of range; write a number above 0, a very large one such as 1000 where it should never apply", v)
			return
		}
	}
	if math.IsNaN(t.Early) || t.Early < 0 || t.Early > 1e6 {
		c.bad(path, "early = %v is out of range; write a number above 0, or leave it out for that of reject", t.Early)
	}
	if t.Tag > t.Quarantine || t.Quarantine > t.Reject {
		c.bad(path, "tag = %v, quarantine = %v, reject = %v do not rise; each must be at least the one before it", t.Tag, t.Quarantine, t.Reject)
	}
}

func (c *compiler) failures(p *Policy) {
	for _, name := range slices.Sorted(maps.Keys(c.cfg.OnFailure)) {
		word := c.cfg.OnFailure[name]
		d, err := mail.ParseDisposition(word)
		if err != nil || d != Accept && d != Defer && d != Quarantine {
			c.bad(config.JoinKey("on_failure", name), "%q is not possible here; write accept, quarantine or defer: a failure of ours never refuses mail for good", word)
			continue
		}
		if name == "default" {
			p.otherwise = d
			continue
		}
		p.onFailure[name] = d
	}
}

// CheckFilters reports the names in [on_failure] that are not filters.
func (c Config) CheckFilters(names []string) []config.Problem {
	k := compiler{cfg: c}
	for _, name := range slices.Sorted(maps.Keys(c.OnFailure)) {
		if name == "default" || name == ruleFailures || slices.Contains(names, name) {
			continue
		}
		remedy := "the filters are " + strings.Join(names, ", ")
		if near := config.Nearest(name, names); near != "" {
			remedy = "did you mean " + near + "?"
		}
		k.bad(config.JoinKey("on_failure", name), "there is no such filter; %s", remedy)
	}
	return k.problems
}

// everywhere gives each symbol the mildest of its actions in all scopes that inbound mail may fall into.
func (p *Policy) everywhere() map[string]Disposition {
	early := map[string]Disposition{}
	for name, s := range p.inbound.symbols {
		mildest := s.forced
		for _, scopes := range []map[string]*scope{p.domains, p.groups, p.recipients} {
			for _, other := range scopes {
				mildest = min(mildest, other.symbols[name].forced)
			}
		}
		early[name] = mildest
	}
	return early
}

// version is the hash of everything that a verdict depends on.
func (c *compiler) version(defaults []filters.Symbol) string {
	sorted := slices.SortedFunc(slices.Values(defaults), func(a, b filters.Symbol) int { return strings.Compare(a.Name, b.Name) })
	text, err := json.Marshal(struct {
		Config  Config
		Symbols []filters.Symbol
		More    []ListEntry `json:",omitempty"`
	}{c.cfg, sorted, c.more})
	if err != nil { // numbers were checked to be finite, and nothing else can fail
		return "unknown"
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

func setIf(to *float64, value *float64) {
	if value != nil {
		*to = *value
	}
}

func thousandths(score float64) int64 { return int64(math.Round(score * 1000)) }
