package scan

import "postern/rules/perlre/syntax"

// kind is what an instruction of an automaton does.
type kind uint8

const (
	kindMatch  kind = iota // pattern n is there
	kindSet                // one octet of set, on at x
	kindEither             // on at x and at y
	kindCheck              // on at x if check holds
	kindNever
)

// check is a condition on what stands before and behind a place.
type check struct {
	assert   syntax.Assert
	near     bool // the octet ahead, or behind, is of set, or is not
	behind   bool
	negative bool
	set      syntax.Set
}

type step struct {
	kind  kind
	x, y  int32
	n     int32
	set   syntax.Set
	check check
}

// nfa matches at least what its patterns match: what it can't say is left out, so that it matches more.
type nfa struct {
	steps []step
	start []int32
	// exact says for each pattern that it matches nothing else.
	exact []bool
	// hunger is about how many states a pattern may need.
	hunger int
	fuzzy  bool // the pattern at work is not exact
	cut    bool // a pattern is too large for all of it to be written
	limits limits
	most   int // steps when what is left of the pattern at work is too large to be worth it
}

// limits are on how much of a repeat is written out.
type limits struct {
	wide   int // copies of a set of many octets
	narrow int // of a set of few
	steps  int // that a repeat of more than a set may take
	turns  int // of which so many are written out whatever they take
}

// thrift are the limits, the next ones for a pattern that is too large with those before: that a long list stands there at
// all tells more than how often something small in it is repeated.
func thrift() [3]limits { return [...]limits{{3, 12, 128, 2}, {2, 3, 8, 2}, {1, 1, 1, 1}} }

const (
	maxSteps = 4000 // of one pattern
	wide     = 64
)

func newNFA(trees []*syntax.Tree) *nfa {
	a := &nfa{}
	for i, t := range trees {
		end := a.add(step{kind: kindMatch, n: int32(i)})
		a.start = append(a.start, a.pattern(trim(t.Root), end))
		a.exact = append(a.exact, !a.fuzzy)
	}
	return a
}

// pattern writes a whole pattern, with the most generous limits that it is not too large with.
func (a *nfa) pattern(n *syntax.Node, end int32) (start int32) {
	from, hunger := len(a.steps), a.hunger
	a.most = from + maxSteps
	for _, a.limits = range thrift() {
		a.steps, a.hunger, a.fuzzy = a.steps[:from], hunger, false
		if start = a.node(n, end); len(a.steps) <= a.most {
			return start
		}
	}
	a.cut = true
	return start
}

func (a *nfa) add(s step) int32 {
	a.steps = append(a.steps, s)
	return int32(len(a.steps) - 1)
}

// anything goes on at next after any text.
func (a *nfa) anything(next int32) int32 {
	a.fuzzy = true
	a.hunger += 4
	return a.star(syntax.All(), next)
}

func (a *nfa) star(s syntax.Set, next int32) int32 {
	loop := a.add(step{kind: kindEither, y: next})
	a.steps[loop].x = a.add(step{kind: kindSet, set: s, x: loop})
	return loop
}

// node writes a node that goes on at next.
func (a *nfa) node(n *syntax.Node, next int32) int32 {
	if len(a.steps) > a.most { // too large to be worth it
		return a.anything(next)
	}
	switch n.Op {
	case syntax.OpFail:
		return a.add(step{kind: kindNever})
	case syntax.OpSet:
		return a.add(step{kind: kindSet, set: n.Set, x: next})
	case syntax.OpConcat:
		for i := len(n.Sub) - 1; i >= 0; i-- {
			next = a.node(n.Sub[i], next)
		}
	case syntax.OpAlt:
		return a.choice(n.Sub, next)
	case syntax.OpCond:
		a.fuzzy = true
		return a.choice(n.Sub, next)
	case syntax.OpRepeat:
		return a.repeat(n, next)
	case syntax.OpGroup:
		return a.node(n.Sub[0], next)
	case syntax.OpAtomic:
		a.fuzzy = true
		return a.node(n.Sub[0], next)
	case syntax.OpLook:
		return a.look(n, next)
	case syntax.OpBackref:
		return a.anything(next)
	case syntax.OpAssert:
		return a.assert(n.Assert, next)
	}
	return next
}

func (a *nfa) choice(all []*syntax.Node, next int32) int32 {
	entry := a.node(all[len(all)-1], next)
	for i := len(all) - 2; i >= 0; i-- {
		x := a.node(all[i], next)
		entry = a.add(step{kind: kindEither, x: x, y: entry})
	}
	return entry
}

func (a *nfa) look(n *syntax.Node, next int32) int32 {
	if n.Sub[0].Op != syntax.OpSet {
		a.fuzzy = true
		return next
	}
	return a.add(step{kind: kindCheck, x: next, check: check{near: true, behind: n.Behind, negative: n.Negative, set: n.Sub[0].Set}})
}

func (a *nfa) assert(kind syntax.Assert, next int32) int32 {
	switch {
	case kind == syntax.LastMatch:
		a.fuzzy = true
		return next
	case kind == syntax.EndTextLine && a.steps[next].kind == kindMatch:
		// Nothing follows: a last \n may be taken for what it is.
		end := a.add(step{kind: kindCheck, x: next, check: check{assert: syntax.EndText}})
		return a.add(step{kind: kindEither, x: end, y: a.add(step{kind: kindSet, set: syntax.Single('\n'), x: end})})
	case kind == syntax.EndTextLine:
		a.fuzzy = true
		kind = syntax.EndLine
	}
	return a.add(step{kind: kindCheck, x: next, check: check{assert: kind}})
}

// repeat writes as many copies as are worth it; beyond these it takes any number.
func (a *nfa) repeat(n *syntax.Node, next int32) int32 {
	if n.Max == 0 {
		return next
	}
	if n.Mode == syntax.Possessive {
		a.fuzzy = true
	}
	body := n.Sub[0]
	most := a.copies(body)
	lo, hi := n.Min, n.Max
	if lo > most {
		lo, hi, a.fuzzy = most, syntax.Unlimited, true
	}
	if hi > most {
		hi, a.fuzzy = syntax.Unlimited, true
	}
	entry := next
	if hi == syntax.Unlimited {
		loop := a.add(step{kind: kindEither, y: next})
		a.steps[loop].x = a.node(body, loop)
		a.hunger += cost(body)
		if entry = loop; lo > 0 { // the first turn of the loop is one that must be
			entry, lo = a.steps[loop].x, lo-1
		}
	}
	for range hi - lo {
		x := a.node(body, entry)
		entry = a.add(step{kind: kindEither, x: x, y: next})
		a.hunger += cost(body) / 2
	}
	for range lo {
		entry = a.node(body, entry)
	}
	return entry
}

// copies is how many copies of a node may be written out.
func (a *nfa) copies(n *syntax.Node) int {
	switch {
	case n.Op != syntax.OpSet:
		return max(a.limits.turns, a.limits.steps/a.weight(n))
	case n.Set.Len() > wide:
		return a.limits.wide
	}
	return a.limits.narrow
}

func cost(n *syntax.Node) int {
	if n.Op == syntax.OpSet && n.Set.Len() <= wide {
		return 1
	}
	return 4
}

// weight is about how many steps a node takes.
func (a *nfa) weight(n *syntax.Node) int {
	size := 1
	for _, s := range n.Sub {
		size += a.weight(s)
	}
	if n.Op == syntax.OpRepeat {
		size *= max(1, min(n.Min, a.limits.narrow), min(n.Max, a.limits.narrow))
	}
	return min(size, 1<<20)
}

// trim leaves out what may as well not be there at both ends, where the question is only whether there is a match.
func trim(n *syntax.Node) *syntax.Node {
	n = edge(n, true)
	return edge(n, false)
}

// edge trims one end.
func edge(n *syntax.Node, front bool) *syntax.Node {
	switch n.Op {
	case syntax.OpGroup:
		return edge(n.Sub[0], front)
	case syntax.OpRepeat:
		if n.Mode == syntax.Possessive || n.Max == n.Min {
			return n
		}
		if n.Min == 0 {
			return &syntax.Node{Op: syntax.OpEmpty}
		}
		return &syntax.Node{Op: syntax.OpRepeat, Min: n.Min, Max: n.Min, Sub: n.Sub}
	case syntax.OpAlt:
		all := make([]*syntax.Node, 0, len(n.Sub))
		for _, s := range n.Sub {
			all = append(all, edge(s, front))
		}
		return &syntax.Node{Op: syntax.OpAlt, Sub: all}
	case syntax.OpConcat:
		all := n.Sub
		for len(all) > 0 {
			at := 0
			if !front {
				at = len(all) - 1
			}
			e := edge(all[at], front)
			if e.Op == syntax.OpEmpty {
				if front {
					all = all[1:]
				} else {
					all = all[:at]
				}
				continue
			}
			if e == all[at] {
				break
			}
			all = append([]*syntax.Node(nil), all...)
			all[at] = e
			break
		}
		if len(all) == 0 {
			return &syntax.Node{Op: syntax.OpEmpty}
		}
		return &syntax.Node{Op: syntax.OpConcat, Sub: all}
	}
	return n
}
