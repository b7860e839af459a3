package perlre

import "postern/rules/perlre/syntax"

// repeat writes a repeat.
func (c *compiler) repeat(n *syntax.Node, next int32) (int32, error) {
	if n.Max == 0 {
		return next, nil
	}
	if n.Sub[0].Op == syntax.OpSet && (n.Min != 1 || n.Max != 1) {
		return c.add(inst{op: opRepeat, mode: n.Mode, set: &n.Sub[0].Set, min: int32(n.Min), max: int32(n.Max), x: next}), nil
	}
	if n.Mode == syntax.Possessive {
		greedy := *n
		greedy.Mode = syntax.Greedy
		return c.sub(&syntax.Node{Op: syntax.OpAtomic, Sub: []*syntax.Node{&greedy}}, next)
	}
	size := weight(n.Sub[0])
	times := max(n.Min, 1)
	if n.Max != syntax.Unlimited {
		times = n.Max
	}
	if times > 1 && size*times > maxExpand {
		return c.counted(n, next)
	}
	return c.written(n, next)
}

// weight is about how many instructions a node takes.
func weight(n *syntax.Node) int {
	size := 1
	for _, s := range n.Sub {
		size += weight(s)
	}
	if n.Op == syntax.OpRepeat && n.Sub[0].Op != syntax.OpSet {
		size *= max(1, n.Min, n.Max)
	}
	return min(size, 1<<20)
}

// written writes a repeat out: as many copies as must be, then a loop or as many as may be.
func (c *compiler) written(n *syntax.Node, next int32) (entry int32, err error) {
	body := n.Sub[0]
	entry = next
	if n.Max == syntax.Unlimited {
		if entry, err = c.loop(n, next); err != nil {
			return 0, err
		}
	}
	for range max(0, n.Max-n.Min) { // a?  is nested: a(a(a)?)?
		x, err := c.turn(body, entry, next)
		if err != nil {
			return 0, err
		}
		entry = c.either(n.Mode, x, next)
	}
	again := n.Min
	if n.Max == syntax.Unlimited {
		again = max(0, n.Min-1) // the loop has one
	}
	for range again {
		if entry, err = c.node(body, entry); err != nil {
			return 0, err
		}
	}
	return entry, nil
}

// turn writes one turn that goes on at more, or at next if it matched nothing: it is the last one then, as in Perl.
func (c *compiler) turn(body *syntax.Node, more, next int32) (int32, error) {
	lo, _ := body.Widths()
	if lo > 0 || more == next {
		return c.node(body, more)
	}
	slot := c.slot()
	entry, err := c.node(body, c.add(inst{op: opMoved, n: slot, x: next, y: more}))
	if err != nil {
		return 0, err
	}
	return c.add(inst{op: opMark, n: slot, x: entry}), nil
}

// either prefers once more, or what follows.
func (c *compiler) either(mode syntax.Mode, more, next int32) int32 {
	if mode == syntax.Lazy {
		return c.add(inst{op: opSplit, x: next, y: more})
	}
	return c.add(inst{op: opSplit, x: more, y: next})
}

// loop writes a repeat without limits, with one turn that must be if any must. A turn that matched nothing is the last one, as in Perl.
func (c *compiler) loop(n *syntax.Node, next int32) (int32, error) {
	head := c.either(n.Mode, 0, 0)
	lo, _ := n.Sub[0].Widths()
	back := head
	slot := int32(0)
	if lo == 0 {
		slot = c.slot()
		back = c.add(inst{op: opMoved, n: slot, x: next, y: head})
	}
	body, err := c.node(n.Sub[0], back)
	if err != nil {
		return 0, err
	}
	if lo == 0 {
		body = c.add(inst{op: opMark, n: slot, x: body})
	}
	entry := head
	if n.Min > 0 { // the first turn is not a choice
		entry = body
	}
	if n.Mode == syntax.Lazy {
		c.insts[head].x, c.insts[head].y = next, body
	} else {
		c.insts[head].x, c.insts[head].y = body, next
	}
	return entry, nil
}

// counted writes a repeat with a counter, for those that would be too long to write out.
func (c *compiler) counted(n *syntax.Node, next int32) (int32, error) {
	c.pure = false
	slot := c.slot()
	c.slot() // next to it: where the turn began
	head := c.add(inst{op: opCounter, mode: n.Mode, n: slot, min: int32(n.Min), max: int32(n.Max), x: next})
	body, err := c.node(n.Sub[0], head)
	if err != nil {
		return 0, err
	}
	c.insts[head].y = c.add(inst{op: opTurn, n: slot, x: body})
	return c.add(inst{op: opCount, n: slot, x: head}), nil
}

// firsts works out which octets can stand next where there is a choice.
func (c *compiler) firsts() {
	known := make([]*syntax.Set, len(c.insts))
	state := make([]uint8, len(c.insts))
	for i := range c.insts {
		in := &c.insts[i]
		if in.op == opSplit || in.op == opRepeat {
			in.firstX = c.first(in.x, known, state, 0)
		}
		if in.op == opSplit {
			in.firstY = c.first(in.y, known, state, 0)
		}
	}
}

// first gives the octets that can stand next for a match at an instruction, nil if it may match without one.
func (c *compiler) first(pc int32, known []*syntax.Set, state []uint8, depth int) *syntax.Set {
	if state[pc] == 2 {
		return known[pc]
	}
	if state[pc] == 1 || depth > 200 {
		return nil
	}
	state[pc] = 1
	in := &c.insts[pc]
	var s *syntax.Set
	switch in.op {
	case opSet:
		s = in.set
	case opString, opFold:
		one := syntax.Single(in.text[0])
		if in.op == opFold {
			one = one.Folded()
		}
		s = &one
	case opSplit:
		s = join(c.first(in.x, known, state, depth+1), c.first(in.y, known, state, depth+1))
	case opRepeat:
		s = in.set
		if in.min == 0 {
			s = join(in.set, c.first(in.x, known, state, depth+1))
		}
	case opAtomic:
		s = c.first(in.y, known, state, depth+1)
	case opOpen, opClose, opKeep, opMark, opAssert, opNear, opLook:
		s = c.first(in.x, known, state, depth+1)
	}
	// A loop that was cut short was left out of what is known: it is unknown, which is the safe side.
	known[pc], state[pc] = s, 2
	return s
}

func join(a, b *syntax.Set) *syntax.Set {
	if a == nil || b == nil {
		return nil
	}
	s := a.Or(*b)
	return &s
}
