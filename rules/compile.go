package rules

import (
	"strings"

	"postern/rules/perlre"
	"postern/rules/scan"
	"postern/rules/views"
)

// group are rules that look at the same texts. One pass over a text says which of them can match at all.
type group struct {
	rules []*rule
	scan  *scan.Set
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
// states.
const groupSize = 16

// compile groups the rules that are run.
func (s *Set) compile() {
	s.groups = map[groupKey]*group{}
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
		s.headOnly = s.headOnly && !r.foreign && (r.kind <= kindURI || r.kind == kindMeta)
		s.files = s.files || r.kind == kindEval && strings.HasPrefix(r.function, "check_ole")
		s.asks = s.asks || s.network && r.looksUp()
		s.join(r)
	}
	for _, g := range s.groups {
		if len(g.rules) < enough {
			continue
		}
		patterns := make([]*perlre.Regexp, len(g.rules))
		for i, r := range g.rules {
			patterns[i] = r.loose
		}
		g.scan = scan.NewWith(patterns, scan.Options{Table: tableSize, Group: groupSize})
	}
}

// join puts a rule with an expression into the group of those that look at the same, and notes what it captures.
func (s *Set) join(r *rule) {
	r.loose = r.re
	if len(r.templates) > 0 { // whatever is filled in, it finds no more than it would with anything there
		r.loose, _ = compileExpr(template.ReplaceAllString(r.expr, "(?s:.*)"))
	}
	if r.re != nil {
		for _, name := range r.re.Names() {
			s.captures[name] = append(s.captures[name], r)
		}
	}
	if r.loose == nil || r.kind > kindFull {
		return
	}
	key := r.key()
	g := s.groups[key]
	if g == nil {
		g = &group{}
		s.groups[key] = g
	}
	r.index, r.group = len(g.rules), g
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
