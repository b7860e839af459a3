package scan

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"

	"postern/rules/perlre/syntax"
)

// group is some patterns that are looked for in one pass, by an automaton whose states are made when they are first met.
// Many may use it at once: they share the states.
type group struct {
	nfa      *nfa
	patterns []int32 // their numbers in the set
	classes  [256]uint8
	sample   []byte // an octet of each class; the last class is the end of the text
	end      uint32 // the class of the end of the text
	stride   uint32
	all      uint64 // all patterns
	at0      uint64 // the patterns that are found before the first octet
	// reads are, for each step that is a check, the sets of which the octet before has to be known to be in or not.
	reads [][]syntax.Set
	gate  []string // a text in which none of these stands need not be read
	// starting are the steps at which patterns begin; they are in every state. startReads is what their checks ask of the
	// octet before, startLike the answer for each class, begun what comes behind them.
	starting   []int32
	isStart    []bool
	startReads []syntax.Set
	startLike  []uint16
	begun      sync.Map // of *begun, by octet before and class
	limit      int      // octets that the table may take
	core       atomic.Pointer[core]
	flushes    atomic.Int64
	gaveUp     atomic.Int64
}

// core is the states made since the last flush.
type core struct {
	sync.Mutex // for whoever makes states
	known      map[string]uint32
	size       int // about how many octets the states take
	snap       atomic.Pointer[snapshot]
}

// snapshot is what a reader sees. Cells of its table are filled in while it reads.
type snapshot struct {
	table  []uint32
	states []*state
}

// state is a set of steps, and what stood before.
type state struct {
	steps  []int32
	before uint16 // the octet before, noBefore at the beginning, 0 if nobody asks
	found  uint64 // the patterns that are found on the way into it
}

// noBefore stands for the beginning of a text.
const noBefore = 256

// A cell holds the offset of a state's row, or 0 for a state nobody made yet; with flagged, patterns are found. The first row is
// nobody's. Behind the cells of a row stand the patterns that are found, in two halves.
const flagged = 1 << 31

func newGroup(a *nfa, patterns []int32, limit int) *group {
	g := &group{nfa: a, patterns: patterns, all: uint64(1)<<len(patterns) - 1, limit: limit}
	g.divide()
	g.reads = make([][]syntax.Set, len(a.steps))
	for i, s := range a.steps {
		if s.kind == kindCheck {
			g.reads[i] = a.readBefore(int32(i), map[int32]bool{}, nil)
		}
	}
	for _, s := range a.start {
		g.starting = g.follow(g.starting, s)
	}
	slices.Sort(g.starting)
	g.starting = slices.Compact(g.starting)
	g.isStart = make([]bool, len(a.steps))
	for _, s := range g.starting {
		g.isStart[s] = true
		g.startReads = append(g.startReads, g.reads[s]...)
	}
	for _, octet := range g.sample {
		g.startLike = append(g.startLike, g.likeness(octet, g.startReads))
	}
	g.at0 = g.matches(g.starting)
	g.core.Store(g.fresh())
	return g
}

// divide finds the classes of octets that no pattern tells apart.
func (g *group) divide() {
	var sets []syntax.Set
	seen := map[syntax.Set]bool{}
	add := func(s syntax.Set) {
		if !seen[s] {
			seen[s] = true
			sets = append(sets, s)
		}
	}
	for _, s := range g.nfa.steps {
		switch {
		case s.kind == kindSet:
			add(s.set)
		case s.kind == kindCheck && s.check.near:
			add(s.check.set)
		case s.kind == kindCheck:
			switch s.check.assert {
			case syntax.WordBoundary, syntax.NoWordBoundary:
				add(syntax.Word())
			case syntax.BeginLine, syntax.EndLine:
				add(syntax.Single('\n'))
			}
		}
	}
	classes := map[string]uint8{}
	key := make([]byte, len(sets))
	for c := range 256 {
		for i := range sets {
			key[i] = 0
			if sets[i].Has(byte(c)) {
				key[i] = 1
			}
		}
		n, ok := classes[string(key)]
		if !ok {
			n = uint8(len(g.sample))
			classes[string(key)] = n
			g.sample = append(g.sample, byte(c))
		}
		g.classes[c] = n
	}
	g.end = uint32(len(g.sample))
	g.stride = g.end + 3
}

func (g *group) fresh() *core {
	c := &core{known: map[string]uint32{}}
	c.snap.Store(&snapshot{table: make([]uint32, g.stride), states: make([]*state, 1)})
	g.intern(c, &state{before: noBefore, found: g.matches(g.starting)})
	return c
}

// matches gives the patterns that are found in a set of steps.
func (g *group) matches(steps []int32) (found uint64) {
	for _, s := range steps {
		if g.nfa.steps[s].kind == kindMatch {
			found |= 1 << g.nfa.steps[s].n
		}
	}
	return found
}

// follow adds a step and what is reached from it without an octet; checks are left for later.
func (g *group) follow(to []int32, s int32) []int32 {
	if slices.Contains(to, s) {
		return to
	}
	st := &g.nfa.steps[s]
	switch st.kind {
	case kindEither:
		// The step itself is kept so that a loop ends; it is left out of states.
		to = append(to, s)
		to = g.follow(to, st.x)
		return g.follow(to, st.y)
	case kindNever:
		return to
	}
	return append(to, s)
}

// key is what tells states apart.
func (s *state) key() string {
	b := make([]byte, 0, 10+4*len(s.steps))
	b = binary.LittleEndian.AppendUint16(b, s.before)
	b = binary.LittleEndian.AppendUint64(b, s.found)
	for _, n := range s.steps {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return string(b)
}

// intern gives the offset of a state's row and makes it if it is new. The core is locked, or nobody else has it.
func (g *group) intern(c *core, s *state) uint32 {
	key := s.key()
	if at, ok := c.known[key]; ok {
		return at
	}
	old := c.snap.Load()
	at := uint32(len(old.table))
	table := old.table
	need := len(table) + int(g.stride)
	if need <= cap(table) {
		table = table[:need]
	} else {
		table = make([]uint32, need, max(need, 2*cap(table)))
		copy(table, old.table)
	}
	table[need-2], table[need-1] = uint32(s.found>>32), uint32(s.found)
	c.snap.Store(&snapshot{table, append(old.states, s)})
	c.known[key] = at
	c.size += 4*int(g.stride) + 2*len(key) + 120
	return at
}

// readBefore gives the sets that a check, and the checks reached from it without an octet, ask of the octet before.
func (a *nfa) readBefore(s int32, seen map[int32]bool, to []syntax.Set) []syntax.Set {
	if seen[s] {
		return to
	}
	seen[s] = true
	st := &a.steps[s]
	switch st.kind {
	case kindEither:
		return a.readBefore(st.y, seen, a.readBefore(st.x, seen, to))
	case kindCheck:
		switch {
		case st.check.near && st.check.behind:
			to = append(to, st.check.set)
		case st.check.near:
		case st.check.assert == syntax.WordBoundary || st.check.assert == syntax.NoWordBoundary:
			to = append(to, syntax.Word())
		case st.check.assert == syntax.BeginLine:
			to = append(to, syntax.Single('\n'))
		}
		return a.readBefore(st.x, seen, to)
	}
	return to
}
