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
	limit := maxExpand
	if c.pure && times <= fewTimes {
		limit = maxExpandPure
	}
	if times > 1 && size*times > limit {
		return c.counted(n, next)
	}
	return c.written(n, next)
}

// weight is about how many instructions a node takes; letters in a row are one.
func weight(n *syntax.Node) int {
	size, letters := 1, false
	for _, s := range n.Sub {
		_, _, ok := letter(s.Set)
		ok = ok && s.Op == syntax.OpSet && n.Op == syntax.OpConcat
		if !ok || !letters {
			size += weight(s)
		}
		letters = ok
	}
	if n.Op == syntax.OpConcat || n.Op == syntax.OpGroup {
		size--
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
	outer := c.counter
	if lo, _ := n.Sub[0].Widths(); outer >= 0 || lo == 0 || n.Max > maxCount { // what is done next depends on more than one count
		c.pure = false
	}
	slot := c.slot()
	c.slot() // next to it: where the turn began
	head := c.add(inst{op: opCounter, mode: n.Mode, n: slot, counter: slot, min: int32(n.Min), max: int32(n.Max), x: next})
	c.counter = slot
	body, err := c.node(n.Sub[0], head)
	if err != nil {
		return 0, err
	}
	c.insts[head].y = c.add(inst{op: opTurn, n: slot, x: body})
	c.counter = outer
	return c.add(inst{op: opCount, n: slot, x: head}), nil
}
