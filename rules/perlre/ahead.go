package perlre

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"

	"postern/rules/perlre/syntax"
)

// ahead tells from the first few octets that no match begins at a place: an automaton whose states are made when they are
// first met. What it can't follow may match, so that it never leaves a match out. Many may use it at once.
type ahead struct {
	prog    *program
	classes [256]uint8
	sample  []byte // an octet of each class
	start   *view
	// never and maybe are the states that end a look.
	never, maybe *view
	most         int

	lock  sync.Mutex
	known map[string]*view
}

// view is where a match may have come to.
type view struct {
	items []item
	next  []atomic.Pointer[view] // by class, nil for what was not met yet
}

// item is a place in a program: an instruction that reads, and how much of it is read.
type item struct{ pc, read int32 }

// Limits of what is looked at and remembered.
const (
	aheadOctets = 8
	aheadInsts  = 24 // smaller programs find out as fast by themselves
	aheadItems  = 2000
	fewViews    = 200
	manyViews   = 1500
	largeInsts  = 1000
)

// newAhead gives nil for a program that is not worth it.
func newAhead(p *program) *ahead {
	if len(p.insts) < aheadInsts {
		return nil
	}
	a := &ahead{prog: p, known: map[string]*view{}, most: fewViews, never: &view{}, maybe: &view{}}
	if len(p.insts) >= largeInsts {
		a.most = manyViews
	}
	a.divide()
	items, ok := a.reach(nil, map[item]bool{}, p.start)
	if !ok {
		return nil
	}
	a.start = a.view(items)
	return a
}

// may says whether a match may begin at a place.
func (a *ahead) may(text string, at int) (may bool, read int) {
	v := a.start
	i := at
	for ; i < len(text) && i < at+aheadOctets; i++ {
		c := a.classes[text[i]]
		to := v.next[c].Load()
		if to == nil {
			to = a.make(v, c)
		}
		switch to {
		case a.never:
			return false, i - at
		case a.maybe:
			return true, i - at
		}
		v = to
	}
	return true, i - at
}

// make works a state out.
func (a *ahead) make(from *view, class uint8) *view {
	a.lock.Lock()
	defer a.lock.Unlock()
	if len(a.known) >= a.most {
		return a.maybe
	}
	to := a.step(from, a.sample[class])
	from.next[class].Store(to)
	return to
}

// step gives the state behind an octet.
func (a *ahead) step(from *view, octet byte) *view {
	var items []item
	seen := map[item]bool{}
	for _, it := range from.items {
		in, ok := &a.prog.insts[it.pc], true
		switch {
		case in.op == opSet && in.set.Has(octet):
			items, ok = a.reach(items, seen, in.x)
		case in.op == opString && in.text[it.read] == octet,
			in.op == opFold && lower(in.text[it.read], syntax.FoldASCII) == lower(octet, syntax.FoldASCII):
			items, ok = a.within(items, seen, it, len(in.text))
		case in.op == opRepeat && in.set.Has(octet):
			items, ok = a.again(items, seen, it)
		}
		if !ok || len(items) > aheadItems {
			return a.maybe
		}
	}
	if len(items) == 0 {
		return a.never
	}
	return a.view(items)
}

// within goes on in a string.
func (a *ahead) within(items []item, seen map[item]bool, it item, length int) ([]item, bool) {
	if it.read++; int(it.read) == length {
		return a.reach(items, seen, a.prog.insts[it.pc].x)
	}
	return once(items, seen, it), true
}

// again goes on in a repeat; how often is counted up to what must be.
func (a *ahead) again(items []item, seen map[item]bool, it item) ([]item, bool) {
	in := &a.prog.insts[it.pc]
	it.read = min(it.read+1, in.min)
	if in.max < 0 || in.max > 1 {
		items = once(items, seen, it)
	}
	if it.read < in.min {
		return items, true
	}
	return a.reach(items, seen, in.x)
}

func once(items []item, seen map[item]bool, it item) []item {
	if seen[it] {
		return items
	}
	seen[it] = true
	return append(items, it)
}

// reach adds what reads next from an instruction on; false if that can't be told, or if nothing needs to be read. Conditions
// are taken to hold.
func (a *ahead) reach(items []item, seen map[item]bool, pc int32) ([]item, bool) {
	if pc == noWay || seen[item{pc, 0}] {
		return items, true
	}
	in, ok := &a.prog.insts[pc], true
	items = once(items, seen, item{pc, 0})
	switch in.op {
	case opSet, opString, opFold:
		return items, true
	case opRepeat:
		if in.min == 0 {
			return a.reach(items, seen, in.x)
		}
		return items, true
	}
	items = items[:len(items)-1] // it reads nothing itself
	switch in.op {
	case opFail:
		return items, true
	case opSplit, opCounter, opMoved:
		if items, ok = a.reach(items, seen, in.x); !ok {
			return items, false
		}
		return a.reach(items, seen, in.y)
	case opSwitch:
		for _, way := range in.ways.to {
			if items, ok = a.reach(items, seen, way); !ok {
				return items, false
			}
		}
		return items, true
	case opAssert, opNear, opLook, opOpen, opClose, opKeep, opMark, opCount, opTurn:
		return a.reach(items, seen, in.x)
	}
	return items, false
}

// view gives the state of some items, the same one for the same items.
func (a *ahead) view(items []item) *view {
	slices.SortFunc(items, func(x, y item) int {
		if x.pc != y.pc {
			return int(x.pc - y.pc)
		}
		return int(x.read - y.read)
	})
	key := make([]byte, 0, 8*len(items))
	for _, it := range items {
		key = binary.LittleEndian.AppendUint32(key, uint32(it.pc))
		key = binary.LittleEndian.AppendUint32(key, uint32(it.read))
	}
	v := a.known[string(key)]
	if v == nil {
		v = &view{items: items, next: make([]atomic.Pointer[view], len(a.sample))}
		a.known[string(key)] = v
	}
	return v
}

// divide finds the classes of octets that the program does not tell apart.
func (a *ahead) divide() {
	var class [256]int
	count := 1
	split := func(s *syntax.Set) {
		moved := map[int]int{}
		for c := range 256 {
			if !s.Has(byte(c)) {
				continue
			}
			to, ok := moved[class[c]]
			if !ok {
				to = count
				count++
				moved[class[c]] = to
			}
			class[c] = to
		}
	}
	seen := map[syntax.Set]bool{}
	add := func(s *syntax.Set) {
		if !seen[*s] {
			seen[*s] = true
			split(s)
		}
	}
	for i := range a.prog.insts {
		in := &a.prog.insts[i]
		if in.set != nil {
			add(in.set)
		}
		for j := range len(in.text) {
			one := syntax.Single(in.text[j])
			if in.op == opFold {
				one = one.Folded()
			}
			add(&one)
		}
	}
	numbers := map[int]uint8{}
	for c := range 256 {
		n, ok := numbers[class[c]]
		if !ok {
			n = uint8(len(a.sample))
			numbers[class[c]] = n
			a.sample = append(a.sample, byte(c))
		}
		a.classes[c] = n
	}
}
