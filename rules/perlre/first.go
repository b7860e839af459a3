package perlre

import "postern/rules/perlre/syntax"

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
	c.begin = c.first(c.start, known, state, 0)
	for _, ch := range c.choices {
		firsts := make([]*syntax.Set, len(ch.ways))
		for i, way := range ch.ways {
			firsts[i] = c.first(way, known, state, 0)
		}
		c.direct(ch, firsts)
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

// choice is an alternation as it was written: where it begins, and its ways in order.
type choice struct {
	entry int32
	ways  []int32
	// counter counts here, -1 for none.
	counter int32
}

// minSwitch is how many ways make it worth to look the next octet up.
const minSwitch = 3

// direct makes an alternation a switch: the next octet says which of the ways can match at all, and these only are tried.
func (c *compiler) direct(ch choice, firsts []*syntax.Set) {
	w := &ways{}
	known := map[string]int{}
	way := func(can func(*syntax.Set) bool) int {
		var some []int32
		key := make([]byte, len(firsts))
		for i, first := range firsts {
			if first == nil || can(first) {
				some, key[i] = append(some, ch.ways[i]), 1
			}
		}
		at, ok := known[string(key)]
		if !ok {
			at = len(w.to)
			known[string(key)] = at
			w.to = append(w.to, c.chain(some, ch.counter))
		}
		return at
	}
	for octet := range 256 {
		if len(w.to) > maxWays || len(c.insts) > maxInsts {
			return // what was added is not reached
		}
		w.by[octet] = uint8(way(func(s *syntax.Set) bool { return s.Has(byte(octet)) }))
	}
	w.last = w.to[way(func(*syntax.Set) bool { return false })]
	in := &c.insts[ch.entry]
	in.op, in.ways = opSwitch, w
}

// maxWays is how many different sets of ways are told apart.
const maxWays = 200

// chain tries ways one behind the other. Whoever comes here was asked before whether it was tried at this place.
func (c *compiler) chain(ways []int32, counter int32) int32 {
	if len(ways) == 0 {
		return noWay
	}
	entry := ways[len(ways)-1]
	for i := len(ways) - 2; i >= 0; i-- {
		c.insts = append(c.insts, inst{op: opSplit, x: ways[i], y: entry, memo: noMemo, counter: counter})
		entry = int32(len(c.insts) - 1)
	}
	return entry
}

// noWay is where nothing matches; noMemo is for what is not worth remembering.
const (
	noWay  = -1
	noMemo = -1
)
