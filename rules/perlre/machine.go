package perlre

import (
	"strings"

	"postern/rules/perlre/syntax"
)

// frame is where to go back to, or what to put back on the way there.
type frame struct {
	kind        uint8
	pc          int32
	pos, lo, hi int32
}

const (
	frameGo      uint8 = iota // go on at pc, pos
	frameGreedy               // a repeat at pc gives an octet back: pos, not below lo
	frameLazy                 // a repeat at pc takes one more: pos, not above hi; it began at lo
	frameCap                  // group pc was lo, hi
	frameSlot                 // slot pc was lo
	frameOpen                 // group pc had begun at lo
	frameKeep                 // the match had begun at lo
	frameCounter              // slot pc was lo, the one behind it hi
)

// machine goes through a program with a stack of choices.
type machine struct {
	prog      *program
	text      string
	from      int // what \G means
	noEmptyAt int // where an empty match does not count, -1 for nowhere
	steps     int
	began     int
	stack     []frame
	slots     []int
	caps      []int
	opened    []int
	kept      int
	start     int
	depth     int // in look-arounds and atomic groups
	limit     int // where a look-behind has to end, -1 outside of one
	// failed holds for each repeat without limit the last run of octets from which it failed.
	failed []int
	memo   memo
}

// push notes a choice, or what to put back. Texts are shorter than maxText, so that 32 bits are enough.
func (m *machine) push(kind uint8, pc int32, pos, lo, hi int) {
	m.stack = append(m.stack, frame{kind, pc, int32(pos), int32(lo), int32(hi)})
}

// attempt matches at a place.
func (m *machine) attempt(at int) (end int, ok bool) {
	m.start, m.kept = at, at
	m.stack = m.stack[:0]
	for i := range m.caps {
		m.caps[i] = -1
	}
	for i := range m.opened {
		m.opened[i] = -1
	}
	end, ok = m.run(m.prog.start, at)
	if ok && len(m.caps) > 1 {
		m.caps[0], m.caps[1] = m.kept, end
	}
	if ok && m.kept > end { // \K in a look-ahead
		m.kept = end
	}
	return end, ok
}

// run goes on from an instruction until there is a match, or no choice left above where the stack was.
func (m *machine) run(pc int32, pos int) (int, bool) {
	base := len(m.stack)
	for {
		if m.spent() {
			m.stack = m.stack[:base]
			return 0, false
		}
		in, ok := &m.prog.insts[pc], false
		switch in.op {
		case opSet:
			if pos < len(m.text) && in.set.Has(m.text[pos]) {
				pc, pos = in.x, pos+1
				continue
			}
		case opString, opFold:
			if m.literal(in, pos) {
				pc, pos = in.x, pos+len(in.text)
				continue
			}
		case opSplit:
			pc, ok = m.split(in, pos)
		case opSwitch:
			pc, ok = m.direct(in, pos)
		case opRepeat:
			pos, ok = m.repeat(pc, in, pos)
			pc = in.x
		case opMatch, opSubEnd:
			if m.ends(in, pos) {
				return pos, true
			}
		default:
			pc, pos, ok = m.rare(in, pos)
		}
		if ok {
			continue
		}
		if pc, pos, ok = m.back(base); !ok {
			return 0, false
		}
	}
}

// literal says whether a fixed text stands at a place.
func (m *machine) literal(in *inst, pos int) bool {
	if in.op == opString {
		return strings.HasPrefix(m.text[pos:], in.text)
	}
	return foldedPrefix(m.text[pos:], in.text, syntax.FoldASCII)
}

// endless says whether a run of octets is bounded by nothing but the text, so that where it failed once it fails again.
func (m *machine) endless(in *inst) bool {
	return in.max < 0 && m.depth == 0 && in.counter < 0 && m.prog.pure
}

// spent takes a step, and says that there was none left.
func (m *machine) spent() bool {
	m.steps--
	if len(m.stack) > maxStack {
		m.steps = min(m.steps, -1)
	}
	return m.steps < 0
}

// ends says whether a match, or that of a part that runs by itself, may end here.
func (m *machine) ends(in *inst, pos int) bool {
	if in.op == opSubEnd {
		return m.limit < 0 || pos == m.limit
	}
	return pos != m.start || pos != m.noEmptyAt
}

// maxStack is how many choices may be open; whoever needs more is out of steps.
const maxStack = 1 << 16

// split takes one way and notes the other, but only the ways that the next octet allows.
func (m *machine) split(in *inst, pos int) (int32, bool) {
	if in.memo == noMemo {
		m.push(frameGo, in.y, pos, 0, 0)
		return in.x, true
	}
	if m.remembered(in, pos) {
		return 0, false
	}
	x, y := true, true
	if pos < len(m.text) {
		c := m.text[pos]
		x = in.firstX == nil || in.firstX.Has(c)
		y = in.firstY == nil || in.firstY.Has(c)
	} else {
		x, y = in.firstX == nil, in.firstY == nil
	}
	switch {
	case x && y:
		m.push(frameGo, in.y, pos, 0, 0)
		return in.x, true
	case x:
		return in.x, true
	}
	return in.y, y
}

// direct goes where the next octet leads.
func (m *machine) direct(in *inst, pos int) (int32, bool) {
	if m.remembered(in, pos) {
		return 0, false
	}
	way := in.ways.last
	if pos < len(m.text) {
		way = in.ways.to[in.ways.by[m.text[pos]]]
	}
	return way, way != noWay
}

// repeat takes a run of octets.
func (m *machine) repeat(pc int32, in *inst, pos int) (int, bool) {
	endless := m.endless(in)
	if endless && pos >= m.failed[2*in.n] && pos <= m.failed[2*in.n+1] {
		return 0, false
	}
	if m.remembered(in, pos) {
		return 0, false
	}
	limit := len(m.text)
	if in.max >= 0 {
		limit = min(limit, pos+int(in.max))
	}
	hi, lo := pos, pos+int(in.min)
	for hi < limit && in.set.Has(m.text[hi]) {
		hi++
	}
	m.steps -= (hi - pos) / 8
	if hi < lo {
		return 0, false
	}
	switch in.mode {
	case syntax.Greedy:
		if endless && !m.prog.captures { // whoever comes here later tries a part of what is tried now
			m.failed[2*in.n], m.failed[2*in.n+1] = pos, hi
		}
		return m.giveBack(pc, in, hi, lo)
	case syntax.Lazy:
		return m.takeMore(pc, in, lo, pos, hi)
	}
	return hi, true
}

// giveBack finds the last place from pos down to lo where what follows can begin.
func (m *machine) giveBack(pc int32, in *inst, pos, lo int) (int, bool) {
	from := pos
	if in.firstX != nil {
		for pos >= lo && (pos == len(m.text) || !in.firstX.Has(m.text[pos])) {
			pos--
		}
	}
	m.steps -= (from - pos) / 8
	if pos < lo {
		return 0, false
	}
	if pos > lo {
		m.push(frameGreedy, pc, pos, lo, 0)
	}
	return pos, true
}

// takeMore finds the first place from pos up to hi where what follows can begin.
func (m *machine) takeMore(pc int32, in *inst, pos, began, hi int) (int, bool) {
	from := pos
	if in.firstX != nil {
		for pos <= hi && (pos == len(m.text) || !in.firstX.Has(m.text[pos])) {
			pos++
		}
	}
	m.steps -= (pos - from) / 8
	if pos > hi {
		if m.endless(in) {
			m.failed[2*in.n], m.failed[2*in.n+1] = began, hi
		}
		return 0, false
	}
	m.push(frameLazy, pc, pos, began, hi)
	return pos, true
}

// back goes to the last choice.
func (m *machine) back(base int) (pc int32, pos int, ok bool) {
	for len(m.stack) > base {
		if m.steps--; m.steps < 0 {
			break
		}
		f := m.stack[len(m.stack)-1]
		m.stack = m.stack[:len(m.stack)-1]
		in := &m.prog.insts[0]
		switch f.kind {
		case frameGo:
			return f.pc, int(f.pos), true
		case frameGreedy:
			in = &m.prog.insts[f.pc]
			pos, ok = m.giveBack(f.pc, in, int(f.pos)-1, int(f.lo))
		case frameLazy:
			in = &m.prog.insts[f.pc]
			pos, ok = m.takeMore(f.pc, in, int(f.pos)+1, int(f.lo), int(f.hi))
		default:
			m.restore(f)
		}
		if ok {
			return in.x, pos, true
		}
	}
	m.stack = m.stack[:base]
	return 0, 0, false
}

// restore puts back what was changed behind a choice.
func (m *machine) restore(f frame) {
	switch f.kind {
	case frameCap:
		m.caps[2*f.pc], m.caps[2*f.pc+1] = int(f.lo), int(f.hi)
	case frameSlot:
		m.slots[f.pc] = int(f.lo)
	case frameOpen:
		m.opened[f.pc] = int(f.lo)
	case frameKeep:
		m.kept = int(f.lo)
	case frameCounter:
		m.slots[f.pc], m.slots[f.pc+1] = int(f.lo), int(f.hi)
	}
}
