package scan

import (
	"slices"
	"sync/atomic"

	"postern/rules/perlre/syntax"
)

// walker is one pass of a group over a text.
type walker struct {
	g      *group
	core   *core
	snap   *snapshot
	at     uint32
	found  uint64
	builds int // states that may still be made
	work   []int32
	mark   []uint32
	round  uint32
}

// room is what a pass over a text works with.
type room struct {
	walkers [4]walker
	hits    []uint64 // words that are there, by the bits of patterns and gates
}

// Limits of one pass: whoever sends a text that needs more has all patterns of the group tried on it.
const (
	minBuilds    = 600
	buildsPerOne = 64 // octets of text that allow one more
)

// begin makes a walker ready to read a text for a group.
func (w *walker) begin(g *group, text string) {
	w.g, w.core, w.at = g, g.core.Load(), g.stride
	w.snap = w.core.snap.Load()
	w.builds = minBuilds + len(text)/buildsPerOne
	w.found = g.at0
}

// finish gives the patterns that may match, as bits, and false if that is all of them because the text was not read.
func (w *walker) finish(read bool) (uint64, bool) {
	if read && w.found == w.g.all {
		return w.found, true
	}
	if read {
		if cell := w.step(w.at, w.g.end); cell != 0 {
			w.enter(cell)
			return w.found, true
		}
	}
	w.g.gaveUp.Add(1)
	return w.g.all, false
}

// run reads a text, as far as there is something to find, and says false if that takes too much.
func (w *walker) run(text string) bool {
	table, classes, at := w.snap.table, &w.g.classes, w.at
	for i := range len(text) {
		cell := atomic.LoadUint32(&table[at+uint32(classes[text[i]])])
		if simple(cell, table) {
			at = cell
			continue
		}
		if at = w.turn(cell, at, text[i]); at == nowhere {
			return false
		}
		if table = w.snap.table; w.found == w.g.all {
			return true
		}
	}
	w.at = at
	return true
}

// together reads a text with four walkers: the processor waits for the tables of all at once.
func together(text string, w *[4]walker) (read [4]bool) {
	t0, c0, at0 := w[0].snap.table, &w[0].g.classes, w[0].at
	t1, c1, at1 := w[1].snap.table, &w[1].g.classes, w[1].at
	t2, c2, at2 := w[2].snap.table, &w[2].g.classes, w[2].at
	t3, c3, at3 := w[3].snap.table, &w[3].g.classes, w[3].at
	for i := range len(text) {
		c := text[i]
		cell0 := atomic.LoadUint32(&t0[at0+uint32(c0[c])])
		cell1 := atomic.LoadUint32(&t1[at1+uint32(c1[c])])
		cell2 := atomic.LoadUint32(&t2[at2+uint32(c2[c])])
		cell3 := atomic.LoadUint32(&t3[at3+uint32(c3[c])])
		if simple(cell0, t0) && simple(cell1, t1) && simple(cell2, t2) && simple(cell3, t3) {
			at0, at1, at2, at3 = cell0, cell1, cell2, cell3
			continue
		}
		at0, at1 = w[0].turn(cell0, at0, c), w[1].turn(cell1, at1, c)
		at2, at3 = w[2].turn(cell2, at2, c), w[3].turn(cell3, at3, c)
		t0, t1, t2, t3 = w[0].snap.table, w[1].snap.table, w[2].snap.table, w[3].snap.table
		if at0 == nowhere || at1 == nowhere || at2 == nowhere || at3 == nowhere {
			w[0].at, w[1].at, w[2].at, w[3].at = at0, at1, at2, at3
			for j := range w {
				read[j] = w[j].at != nowhere && w[j].run(text[i+1:])
			}
			return read
		}
	}
	w[0].at, w[1].at, w[2].at, w[3].at = at0, at1, at2, at3
	return [4]bool{true, true, true, true}
}

// simple says that a cell is the offset of a row of a table, and nothing is found there.
func simple(cell uint32, table []uint32) bool { return cell-1 < uint32(len(table)-1) }

// nowhere is no row.
const nowhere = ^uint32(0)

// turn gives the row of a cell that was not simply one, made if nobody did; nowhere if too many were made.
func (w *walker) turn(cell, at uint32, octet byte) uint32 {
	if cell == 0 {
		if cell = w.step(at, uint32(w.g.classes[octet])); cell == 0 {
			return nowhere
		}
	}
	return w.enter(cell)
}

// enter gives the row of a cell and notes what is found there.
func (w *walker) enter(cell uint32) uint32 {
	at := cell &^ flagged
	if int(at) >= len(w.snap.table) {
		w.snap = w.core.snap.Load()
	}
	if cell&flagged != 0 {
		row := w.snap.table[at : at+w.g.stride]
		w.found |= uint64(row[len(row)-2])<<32 | uint64(row[len(row)-1])
	}
	return at
}

// step gives the cell of a class in a row, and makes its state if nobody did; 0 if too many were made.
func (w *walker) step(at, class uint32) uint32 {
	if cell := atomic.LoadUint32(&w.snap.table[at+class]); cell != 0 {
		return cell
	}
	if w.builds--; w.builds < 0 {
		return 0
	}
	from := w.snap.states[at/w.g.stride]
	next := w.next(from, class)
	g := w.g
	c := g.core.Load()
	c.Lock()
	if c.size > g.limit {
		g.flushes.Add(1)
		w.builds -= minBuilds / 4
		fresh := g.fresh()
		g.core.CompareAndSwap(c, fresh)
		c.Unlock()
		c = g.core.Load()
		c.Lock()
	}
	defer c.Unlock()
	cell := g.intern(c, next)
	if next.found != 0 {
		cell |= flagged
	}
	same := c == w.core
	w.core, w.snap = c, c.snap.Load()
	if same { // another core has other rows
		atomic.StoreUint32(&w.snap.table[at+class], cell)
	}
	return cell
}

// next works out the state behind one octet, or behind the end of the text.
func (w *walker) next(from *state, class uint32) *state {
	g := w.g
	end := class == g.end
	var octet byte
	if !end {
		octet = g.sample[class]
	}
	always := w.started(from.before, class)
	to := &state{found: always.found}
	// What was left to be checked is checked now, with what stands behind the place.
	w.clear()
	work := w.work[:0]
	for _, s := range from.steps {
		work = w.reach(work, s, from.before, octet, end, &to.found)
	}
	w.work = work
	if end {
		return to
	}
	w.clear()
	steps := make([]int32, 0, len(always.steps)+8)
	for _, s := range always.steps {
		w.mark[s] = w.round
		steps = append(steps, s)
	}
	w.keep(to, w.read(steps, work, octet), class)
	return to
}

// read adds what comes behind the steps that read an octet.
func (w *walker) read(to, from []int32, octet byte) []int32 {
	for _, s := range from {
		if st := &w.g.nfa.steps[s]; st.kind == kindSet && st.set.Has(octet) {
			to = w.follow(to, st.x)
		}
	}
	return to
}

// begun is what comes behind the steps at which patterns begin, for one octet and what stood before it. These steps are in
// every state, so that no state lists them.
type begun struct {
	steps []int32
	found uint64
}

// started gives what comes behind the beginnings of all patterns.
func (w *walker) started(before uint16, class uint32) *begun {
	g := w.g
	key := uint32(before)<<16 | class
	if known, ok := g.begun.Load(key); ok {
		return known.(*begun)
	}
	end := class == g.end
	var octet byte
	if !end {
		octet = g.sample[class]
	}
	b := &begun{}
	w.clear()
	var work []int32
	for _, s := range g.starting {
		work = w.reach(work, s, before, octet, end, &b.found)
	}
	if !end {
		w.clear()
		for _, s := range w.read(nil, work, octet) {
			if !g.isStart[s] {
				b.steps = append(b.steps, s)
			}
		}
	}
	g.begun.Store(key, b)
	return b
}

// keep leaves in a state only what counts.
func (w *walker) keep(to *state, steps []int32, class uint32) {
	g := w.g
	kept := steps[:0]
	var reads []syntax.Set
	for _, s := range steps {
		if g.isStart[s] {
			continue
		}
		switch g.nfa.steps[s].kind {
		case kindMatch:
			to.found |= 1 << g.nfa.steps[s].n
			continue
		case kindEither:
			continue
		case kindCheck:
			reads = append(reads, g.reads[s]...)
		}
		kept = append(kept, s)
	}
	slices.Sort(kept)
	to.steps = slices.Clip(kept)
	to.before = g.startLike[class]
	if reads != nil {
		to.before = g.likeness(g.sample[class], append(reads, g.startReads...))
	}
}

// likeness is the first octet that is in the same sets as one; 0 if nobody asks.
func (g *group) likeness(octet byte, sets []syntax.Set) uint16 {
	if len(sets) == 0 {
		return 0
	}
	for _, like := range g.sample {
		same := true
		for i := range sets {
			if sets[i].Has(like) != sets[i].Has(octet) {
				same = false
				break
			}
		}
		if same {
			return uint16(like)
		}
	}
	return uint16(octet)
}

func (w *walker) clear() {
	if len(w.mark) < len(w.g.nfa.steps) {
		w.mark = make([]uint32, len(w.g.nfa.steps))
		w.round = 0
	}
	if w.round++; w.round == 0 {
		clear(w.mark)
		w.round = 1
	}
}

// fresh says that a step was not met in this round.
func (w *walker) fresh(s int32) bool {
	if w.mark[s] == w.round {
		return false
	}
	w.mark[s] = w.round
	return true
}

// follow is as that of the group, with marks.
func (w *walker) follow(to []int32, s int32) []int32 {
	if !w.fresh(s) {
		return to
	}
	switch st := &w.g.nfa.steps[s]; st.kind {
	case kindEither:
		to = w.follow(to, st.x)
		return w.follow(to, st.y)
	case kindNever:
		return to
	}
	return append(to, s)
}

// reach adds a step and what is reached from it at a place where what stands before and behind is known.
func (w *walker) reach(to []int32, s int32, before uint16, octet byte, end bool, found *uint64) []int32 {
	if !w.fresh(s) {
		return to
	}
	switch st := &w.g.nfa.steps[s]; st.kind {
	case kindEither:
		to = w.reach(to, st.x, before, octet, end, found)
		return w.reach(to, st.y, before, octet, end, found)
	case kindCheck:
		if st.check.holds(before, octet, end) {
			return w.reach(to, st.x, before, octet, end, found)
		}
		return to
	case kindMatch:
		*found |= 1 << st.n
		return to
	case kindNever:
		return to
	}
	return append(to, s)
}

// holds says whether a check holds between two octets.
func (c *check) holds(before uint16, octet byte, end bool) bool {
	first := before == noBefore
	if c.near {
		in := !end && c.set.Has(octet)
		if c.behind {
			in = !first && c.set.Has(byte(before))
		}
		return in != c.negative
	}
	switch c.assert {
	case syntax.BeginText:
		return first
	case syntax.BeginLine:
		return first || before == '\n' && !end
	case syntax.EndText:
		return end
	case syntax.EndLine:
		return end || octet == '\n'
	}
	word := syntax.Word()
	left, right := !first && word.Has(byte(before)), !end && word.Has(octet)
	return (left != right) == (c.assert == syntax.WordBoundary)
}
