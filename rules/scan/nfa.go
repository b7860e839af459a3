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
}

// Limits on what is written out.
const (
	maxCopiesWide   = 3  // of a set of many octets
	maxCopiesNarrow = 12 // of a set of few
	maxCopied       = 32 // steps that a repeat of more than a set may take
	maxSteps        = 4000
	wide            = 64
)

func newNFA(trees []*syntax.Tree) *nfa {
	a := &nfa{}
	for i, t := range trees {
		a.fuzzy = false
		end := a.add(step{kind: kindMatch, n: int32(i)})
		a.start = append(a.start, a.node(trim(t.Root), end))
		a.exact = append(a.exact, !a.fuzzy)
	}
	return a
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
	if len(a.steps) > maxSteps { // too large to be worth it
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
	most := copies(body)
	lo, hi := n.Min, n.Max
	if lo > most {
		lo, hi, a.fuzzy = most, syntax.Unlimited, true
	}
	if hi > most {
		hi, a.fuzzy = syntax.Unlimited, true
	}
	entry := next
	if hi == syntax.Unlimited {
		entry = a.add(step{kind: kindEither, y: next})
		a.steps[entry].x = a.node(body, entry)
		a.hunger += cost(body)
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
func copies(n *syntax.Node) int {
	if n.Op != syntax.OpSet {
		return max(1, maxCopied/weight(n))
	}
	if n.Set.Len() > wide {
		return maxCopiesWide
	}
	return maxCopiesNarrow
}

func cost(n *syntax.Node) int {
	if n.Op == syntax.OpSet && n.Set.Len() <= wide {
		return 1
	}
	return 4
}

// weight is about how many steps a node takes.
func weight(n *syntax.Node) int {
	size := 1
	for _, s := range n.Sub {
		size += weight(s)
	}
	if n.Op == syntax.OpRepeat {
		size *= max(1, min(n.Min, maxCopiesNarrow), min(n.Max, maxCopiesNarrow))
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
