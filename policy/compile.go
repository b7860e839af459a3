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

	"postern/filters"
	"postern/internal/config"
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
}

// scope is the policy for mail of one direction or domain.
type scope struct {
	required Thresholds
	limits   [3]int64 // the same in thousandths
	early    int64
	symbols  map[string]symbol
}

// symbol is what a scope makes of a symbol.
type symbol struct {
	score  int64 // in thousandths: sums of whole numbers don't depend on their order
	forced Disposition
	// drop and tarpit are what else an action does to the connection.
	drop, tarpit, strip, defang bool
	// ifPermit puts off what would be delivered, as Postfix's action of that name does.
	ifPermit bool
	help     string
	reply    string
}

// Version names the policy: the same text and the same built-in scores give the same version on any machine.
func (p *Policy) Version() string { return p.version }

// Compile makes a policy of its settings and of all symbols that filters can report. With problems there is none.
func Compile(cfg Config, defaults []filters.Symbol) (*Policy, []config.Problem) {
	c := compiler{cfg: cfg, known: map[string]filters.Symbol{}}
	for _, s := range defaults {
		c.known[s.Name] = s
	}
	// a filter's failure is judged by [on_failure], never by a score
	if _, ok := c.known[filters.Failed]; !ok {
		c.known[filters.Failed] = filters.Symbol{Name: filters.Failed, Help: "a filter could not do its work"}
	}
	p := &Policy{
		domains: map[string]*scope{}, onFailure: map[string]Disposition{}, otherwise: Defer,
		allow: newList(cfg.Allow), block: newList(cfg.Block),
		short: [2]bool{cfg.Disclose.Inbound == "short", cfg.Disclose.Outbound == "short"},
	}
	base := Scope{Scores: cfg.Scores, Actions: cfg.Actions}
	p.inbound = c.scope("", cfg.Thresholds, base)
	p.outbound = c.scope("outbound", cfg.Thresholds, base, cfg.Outbound)
	for _, name := range slices.Sorted(maps.Keys(cfg.Domains)) {
		path := config.JoinKey("domain", name)
		key := pattern(name)
		if key == "" || strings.Contains(key, "@") || key == "<>" {
			c.bad(path, "%q is not a domain; write \"example.com\", or \".example.com\" for all names below it", name)
			continue
		}
		p.domains[key] = c.scope(path, cfg.Thresholds, base, cfg.Domains[name])
	}
	c.failures(p)
	c.entries("allow", cfg.Allow)
	c.entries("block", cfg.Block)
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	p.early = p.everywhere()
	p.version = c.version(defaults)
	return p, nil
}

type compiler struct {
	cfg      Config
	known    map[string]filters.Symbol
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
		one := symbol{score: thousandths(known.Score), help: ascii(known.Help), reply: ascii(known.Reply)}
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
	remedy := "take it away, or see `postern policy show` for all symbols"
	if near := config.Nearest(name, slices.Sorted(maps.Keys(c.known))); near != "" {
		remedy = "did you mean " + near + "?"
	}
	c.bad(key, "no filter reports this symbol; %s", remedy)
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
		d, err := ParseDisposition(word)
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

func (c *compiler) entries(kind string, entries []Entry) {
	for i, e := range entries {
		path := fmt.Sprintf("%s[%d]", kind, i)
		if e.Sender == "" && !e.Network.IsValid() {
			c.bad(path, "names neither sender nor network; name whom it is about")
		}
		if e.Sender != "" && pattern(e.Sender) == "" {
			c.bad(path+".sender", "%q is no sender; write \"user@example.com\", \"example.com\", \".example.com\" or \"<>\"", e.Sender)
		}
		if e.Recipient != "" && (pattern(e.Recipient) == "" || e.Recipient == "<>") {
			c.bad(path+".recipient", "%q is no recipient; write \"user@example.com\", \"example.com\" or \".example.com\"", e.Recipient)
		}
		if kind == "allow" && e.Sender == "<>" && !e.Network.IsValid() && !e.Unauthenticated {
			c.bad(path+".sender", "nothing can prove the null sender; add a network, or unauthenticated = true")
		}
		if kind == "block" && e.Unauthenticated {
			c.bad(path+".unauthenticated", "has no meaning for block; take it away")
		}
	}
}

// CheckFilters says which names in [on_failure] are no filter's.
func (c Config) CheckFilters(names []string) []config.Problem {
	k := compiler{cfg: c}
	for _, name := range slices.Sorted(maps.Keys(c.OnFailure)) {
		if name == "default" || slices.Contains(names, name) {
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
		for _, other := range p.domains {
			mildest = min(mildest, other.symbols[name].forced)
		}
		early[name] = mildest
	}
	return early
}

// version is the hash of all that a verdict depends on.
func (c *compiler) version(defaults []filters.Symbol) string {
	sorted := slices.SortedFunc(slices.Values(defaults), func(a, b filters.Symbol) int { return strings.Compare(a.Name, b.Name) })
	text, err := json.Marshal(struct {
		Config  Config
		Symbols []filters.Symbol
	}{c.cfg, sorted})
	if err != nil { // numbers were checked to be finite, and nothing else can fail
		return "unknown"
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

// act gives the symbol an action in place of the one it had.
func (s *symbol) act(word string) (err error) {
	s.forced, s.drop, s.tarpit, s.strip, s.defang = Accept, word == "drop", word == "tarpit", word == "strip", word == "defang"
	s.ifPermit = word == "defer_if_permit"
	switch word {
	case "", "none", "tarpit", "strip", "defang", "defer_if_permit":
	case "drop":
		s.forced = Defer
	case "reject", "defer", "quarantine", "tag":
		s.forced, err = ParseDisposition(word)
	default:
		err = fmt.Errorf("%q is not an action; write reject, defer, defer_if_permit, drop, tarpit, quarantine, strip, defang, tag or none", word)
	}
	return err
}

func setIf(to *float64, value *float64) {
	if value != nil {
		*to = *value
	}
}

func thousandths(score float64) int64 { return int64(math.Round(score * 1000)) }
