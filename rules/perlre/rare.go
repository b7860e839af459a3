package perlre

import (
	"strings"

	"postern/rules/perlre/syntax"
)

// rare does the instructions that are not met often.
func (m *machine) rare(in *inst, pos int) (int32, int, bool) {
	switch in.op {
	case opAssert:
		return in.x, pos, holds(in.assert, m.text, pos, m.from)
	case opNear:
		at := pos
		if in.behind {
			at--
		}
		return in.x, pos, (at >= 0 && at < len(m.text) && in.set.Has(m.text[at])) != in.negative
	case opLook:
		return in.x, pos, m.lookAround(in, pos)
	case opAtomic:
		end, ok := m.alone(in.y, pos, -1, true)
		return in.x, end, ok
	case opBackref:
		end, ok := m.backref(in, pos)
		return in.x, end, ok
	case opCond:
		if m.group(in) >= 0 {
			return in.x, pos, true
		}
		return in.y, pos, true
	case opCounter:
		return m.counter(in, pos)
	case opMoved:
		if m.slots[in.n] == pos {
			return in.x, pos, true
		}
		return in.y, pos, true
	}
	return in.x, pos, m.note(in, pos)
}

// note does the instructions that note a place; what was there before is put back on the way back.
func (m *machine) note(in *inst, pos int) bool {
	switch in.op {
	case opOpen:
		m.push(frameOpen, in.n, 0, m.opened[in.n], 0)
		m.opened[in.n] = pos
	case opClose:
		m.push(frameCap, in.n, 0, m.caps[2*in.n], m.caps[2*in.n+1])
		m.caps[2*in.n], m.caps[2*in.n+1] = m.opened[in.n], pos
	case opKeep:
		m.push(frameKeep, 0, 0, m.kept, 0)
		m.kept = pos
	case opMark:
		m.push(frameSlot, in.n, 0, m.slots[in.n], 0)
		m.slots[in.n] = pos
	case opCount:
		m.setCounter(in.n, 0, -1)
	case opTurn:
		m.setCounter(in.n, m.slots[in.n]+1, pos)
	default:
		return false
	}
	return true
}

func (m *machine) setCounter(slot int32, count, place int) {
	m.push(frameCounter, slot, 0, m.slots[slot], m.slots[slot+1])
	m.slots[slot], m.slots[slot+1] = count, place
}

// counter is met before each turn of a counted repeat and behind the last one.
func (m *machine) counter(in *inst, pos int) (int32, int, bool) {
	count, place := m.slots[in.n], m.slots[in.n+1]
	least, most := int(in.min), int(in.max)
	if m.remembered(in, pos) {
		return 0, 0, false
	}
	switch {
	case count >= least && place == pos: // the last turn matched nothing: no more of them
		return in.x, pos, true
	case count < least:
	case most >= 0 && count >= most:
		return in.x, pos, true
	case in.mode == syntax.Lazy:
		m.push(frameGo, in.y, pos, 0, 0)
		return in.x, pos, true
	default:
		m.push(frameGo, in.x, pos, 0, 0)
	}
	return in.y, pos, true
}

// alone runs a part by itself and forgets its choices. What was noted in it stays, and is put back on the way back, if
// keep is set.
func (m *machine) alone(pc int32, pos, limit int, keep bool) (int, bool) {
	base, outer := len(m.stack), m.limit
	m.depth++
	m.limit = limit
	end, ok := m.run(pc, pos)
	m.depth--
	m.limit = outer
	if !ok {
		return 0, false
	}
	if !keep {
		for len(m.stack) > base {
			m.restore(m.stack[len(m.stack)-1])
			m.stack = m.stack[:len(m.stack)-1]
		}
		return end, true
	}
	kept := m.stack[:base]
	for _, f := range m.stack[base:] {
		if f.kind > frameLazy {
			kept = append(kept, f)
		}
	}
	m.stack = kept
	return end, true
}

func (m *machine) lookAround(in *inst, pos int) bool {
	if !in.behind {
		_, ok := m.alone(in.y, pos, -1, !in.negative)
		return ok != in.negative
	}
	for width := int(in.min); width <= int(in.max) && width <= pos; width++ {
		if _, ok := m.alone(in.y, pos-width, pos, !in.negative); ok {
			return !in.negative
		}
	}
	return in.negative
}

// group gives the number of the first group of an instruction that took part, -1 if none did.
func (m *machine) group(in *inst) int {
	if in.refs == nil {
		if m.caps[2*in.n] < 0 {
			return -1
		}
		return int(in.n)
	}
	for _, n := range *in.refs {
		if m.caps[2*n] >= 0 {
			return n
		}
	}
	return -1
}

func (m *machine) backref(in *inst, pos int) (int, bool) {
	n := m.group(in)
	if n < 0 {
		return 0, false
	}
	text := m.text[m.caps[2*n]:m.caps[2*n+1]]
	m.steps -= len(text) / 8
	if in.fold != syntax.FoldNone {
		return pos + len(text), foldedPrefix(m.text[pos:], text, in.fold)
	}
	return pos + len(text), strings.HasPrefix(m.text[pos:], text)
}

func foldedPrefix(text, prefix string, fold syntax.Fold) bool {
	if len(text) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if text[i] != prefix[i] && lower(text[i], fold) != lower(prefix[i], fold) {
			return false
		}
	}
	return true
}

func lower(c byte, fold syntax.Fold) byte {
	if c >= 'A' && c <= 'Z' || fold == syntax.FoldLatin && c >= 0xc0 && c <= 0xde && c != 0xd7 {
		return c + 32
	}
	return c
}

// holds says whether an assertion holds at a place.
func holds(a syntax.Assert, text string, pos, from int) bool {
	last := pos == len(text)
	switch a {
	case syntax.BeginText:
		return pos == 0
	case syntax.BeginLine: // perlre: not behind a \n that ends the text
		return pos == 0 || text[pos-1] == '\n' && !last
	case syntax.EndText:
		return last
	case syntax.EndTextLine:
		return last || pos == len(text)-1 && text[pos] == '\n'
	case syntax.EndLine:
		return last || text[pos] == '\n'
	case syntax.WordBoundary:
		return wordAt(text, pos-1) != wordAt(text, pos)
	case syntax.NoWordBoundary:
		return wordAt(text, pos-1) == wordAt(text, pos)
	}
	return pos == from
}

func wordAt(text string, pos int) bool {
	if pos < 0 || pos >= len(text) {
		return false
	}
	c := text[pos]
	return c == '_' || c >= '0' && c <= '9' || c|32 >= 'a' && c|32 <= 'z'
}
