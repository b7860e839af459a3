package rules

import (
	"strings"

	"postern/rules/perlre"
	"postern/rules/scan"
	"postern/rules/views"
)

// group are rules that look at the same texts. One pass over a text says which of them can match at all.
type group struct {
	key   groupKey
	place int // among the groups of the set
	rules []*rule
	scan  *scan.Set // nil for so few rules that a pass is not worth it
}

// groupKey says what the rules of a group look at.
type groupKey struct {
	kind    kind
	foreign bool
	spec    views.Spec
}

// enough is how many rules make a pass over a text worth it.
const enough = 3

// tableSize is how many octets the states of one automaton may take: half as many, and the largest are built anew every few
// messages.
const tableSize = 4 << 20

// groupSize is about how many rules share an automaton: with fewer there are more passes over each text, with more too many
// states. A set of few rules has room for more states in each.
const (
	groupSize = 16
	largeSize = 32
	fewRules  = 500
)

// compile groups the rules that are run.
func (s *Set) compile() {
	groups := map[groupKey]*group{}
	s.captures = map[string][]*rule{}
	s.headOnly = true
	for i, r := range s.rules {
		r.id = i
		if !r.live {
			continue
		}
		if r.kind == kindMeta {
			r.meta.visit(func(e *expr) { e.rule = s.byName[e.name] })
		}
		s.foreign = s.foreign || r.foreign
		s.headOnly = s.headOnly && !r.foreign && (r.kind <= kindURI || r.kind == kindMeta || r.kind == kindPart)
		s.files = s.files || r.kind == kindEval && strings.HasPrefix(r.function, "check_ole")
		s.asks = s.asks || s.network && r.looksUp()
		r.known = s.functions[r.function]
		if r.kind <= kindFull {
			s.join(r, groups)
		}
		s.notes(r)
		if r.reports() {
			s.reporting = append(s.reporting, r)
		}
	}
	s.prepare()
}

// prepare makes the passes of the groups.
func (s *Set) prepare() {
	size := groupSize
	if len(s.rules) < fewRules {
		size = largeSize
	}
	for _, g := range s.groups {
		if len(g.rules) < enough {
			continue
		}
		patterns := make([]*perlre.Regexp, len(g.rules))
		for i, r := range g.rules {
			patterns[i] = r.loose
		}
		g.scan = scan.NewWith(patterns, scan.Options{Table: tableSize, Group: size})
	}
}

// notes remembers what a rule captures.
func (s *Set) notes(r *rule) {
	if r.re == nil {
		return
	}
	for _, name := range r.re.Names() {
		s.captures[name] = append(s.captures[name], r)
	}
}

// join puts a rule into the group of those that look at the same.
func (s *Set) join(r *rule, groups map[groupKey]*group) {
	key := r.key()
	g := groups[key]
	if g == nil {
		g = &group{key: key, place: len(s.groups)}
		groups[key] = g
		s.groups = append(s.groups, g)
	}
	r.group = g
	r.loose = r.re
	if len(r.templates) > 0 { // whatever is filled in, it finds no more than it would with anything there
		r.loose, _ = compileExpr(template.ReplaceAllString(r.expr, "(?s:.*)"))
	}
	if r.loose == nil {
		return
	}
	r.index, r.joined = len(g.rules), true
	r.skips = !r.exists && !r.negate && !r.hasUn
	g.rules = append(g.rules, r)
}

// key says what a rule looks at.
func (r *rule) key() groupKey {
	k := groupKey{kind: r.kind}
	switch r.kind {
	case kindHeader:
		k.spec = r.spec
	case kindBody, kindRaw, kindURI:
		k.foreign = r.foreign
	}
	return k
}
