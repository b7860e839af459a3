// Package scan finds out which of many expressions may match a text, in few passes over it: by texts that must stand in
// whatever an expression matches, and by automata for several expressions at once. It never leaves one out that matches;
// those it names that do not match are told apart by package perlre.
package scan

import (
	"math/bits"
	"slices"
	"sync"

	"postern/rules/perlre"
	"postern/rules/perlre/syntax"
)

// Found is which patterns a text may match, by their number.
type Found struct {
	may, sure []uint64
}

// May says that a pattern may match.
func (f *Found) May(i int) bool { return f.may[i>>6]>>(i&63)&1 != 0 }

// Sure says that a pattern matches, so that it need not be tried unless one asks where.
func (f *Found) Sure(i int) bool { return f.sure[i>>6]>>(i&63)&1 != 0 }

// Clear takes all out.
func (f *Found) Clear() {
	clear(f.may)
	clear(f.sure)
}

// Join adds what another one has.
func (f *Found) Join(other *Found) {
	for i := range f.may {
		f.may[i] |= other.may[i]
		f.sure[i] |= other.sure[i]
	}
}

// Each calls for each pattern that may match, in order.
func (f *Found) Each(do func(i int)) {
	for at, w := range f.may {
		for ; w != 0; w &= w - 1 {
			do(at<<6 + bits.TrailingZeros64(w))
		}
	}
}

func (f *Found) add(i int32, sure bool) {
	f.may[i>>6] |= 1 << (i & 63)
	if sure {
		f.sure[i>>6] |= 1 << (i & 63)
	}
}

// Set is patterns that are looked for together. Many may use it at once.
type Set struct {
	count  int
	always []int32 // patterns that say nothing about what they match
	words  *words
	// groups are looked for by automata; the first ones only in texts that have one of their words, the last ones, from early
	// on, find all they have in the first words of almost any text.
	groups       []*group
	gated, early int
	rooms        sync.Pool
}

// Options are for measurements; the zero value is what is best.
type Options struct {
	// Group is how many patterns share an automaton.
	Group int
	// Table is how many octets the states of an automaton may take.
	Table int
	// Worth is what texts must be worth for their patterns to be looked for by them.
	Worth int
}

// New prepares patterns. Their numbers are their places in the slice.
func New(patterns []*perlre.Regexp) *Set { return NewWith(patterns, Options{}) }

// NewWith is New with options.
func NewWith(patterns []*perlre.Regexp, o Options) *Set {
	trees := make([]*syntax.Tree, len(patterns))
	for i, re := range patterns {
		trees[i] = re.Tree()
	}
	return newSet(trees, o)
}

func newSet(trees []*syntax.Tree, o Options) *Set {
	o = o.defaults()
	s := &Set{count: len(trees)}
	s.rooms.New = func() any { return &room{} }
	texts := map[string][]int32{}
	var gated, open, early []single
	for i, tree := range trees {
		n := need(tree.Root)
		oneOf := better(n.oneOf, n.all)
		if worth(oneOf) >= o.Worth {
			for _, text := range oneOf {
				texts[text] = append(texts[text], int32(i))
			}
			continue
		}
		a := newNFA([]*syntax.Tree{tree})
		p := single{int32(i), tree, oneOf, a.hunger, len(a.steps)}
		switch {
		case blank(a):
			s.always = append(s.always, int32(i))
		case usual(a, tree):
			early = append(early, p)
		case worth(oneOf) > worthCommon && shortest(oneOf) >= minGate:
			gated = append(gated, p)
		default:
			open = append(open, p)
		}
	}
	s.share(gated, o)
	s.gated = len(s.groups)
	s.share(open, o)
	s.early = len(s.groups)
	s.share(early, o)
	for i, g := range s.groups[:s.gated] {
		gate := int32(s.gate(i))
		for _, text := range g.gate {
			texts[text] = append(texts[text], gate)
		}
	}
	if len(texts) > 0 {
		s.words = newWords(texts)
	}
	return s
}

// minGate is how long texts must be for a group to wait for one of them.
const minGate = 3

func shortest(texts []string) int {
	n := maxLength
	for _, t := range texts {
		n = min(n, len(t))
	}
	return n
}

// gate is the bit that says that a text is there for which a group waits.
func (s *Set) gate(group int) int { return (s.count+63)/64*64 + group }

func (o Options) defaults() Options {
	if o.Group == 0 {
		o.Group = 8
	}
	if o.Table == 0 {
		o.Table = 512 << 10
	}
	if o.Worth == 0 {
		o.Worth = 10
	}
	return o
}

// blank says that a pattern matches everywhere.
func blank(a *nfa) bool {
	g := &group{nfa: a}
	for _, s := range a.start {
		for _, reached := range g.follow(nil, s) {
			if a.steps[reached].kind == kindMatch {
				return true
			}
		}
	}
	return false
}

// sentence is what almost any text is like.
const sentence = "Dear Ann, thank you for the two letters of last week. Best regards, Bob\n"

// usual says that next to any text has a match of a pattern: of one octet, or so large that it says next to nothing.
func usual(a *nfa, tree *syntax.Tree) bool {
	if least, _ := tree.Root.Widths(); least > 1 && !a.cut {
		return false
	}
	w := &walker{}
	w.begin(newGroup(a, []int32{0}, 1<<20), sentence)
	found, _ := w.finish(w.run(sentence))
	return found != 0
}

// single is a pattern that is looked for by an automaton.
type single struct {
	number int32
	tree   *syntax.Tree
	gate   []string
	hunger int
	size   int
}

// share puts patterns into groups, those that need few states in large ones.
func (s *Set) share(rest []single, o Options) {
	slices.SortStableFunc(rest, func(a, b single) int {
		if a.hunger != b.hunger {
			return a.hunger - b.hunger
		}
		return a.size - b.size
	})
	for len(rest) > 0 {
		n, hunger, size := 0, 0, 0
		for n < len(rest) && n < min(64, 2*o.Group) {
			hunger += rest[n].hunger
			size += rest[n].size
			if n > 0 && (hunger > 4*o.Group || size > 120*o.Group || n >= o.Group && hunger > o.Group) {
				break
			}
			n++
		}
		s.group(rest[:n], o)
		rest = rest[n:]
	}
}

func (s *Set) group(members []single, o Options) {
	var trees []*syntax.Tree
	var numbers []int32
	var gate []string
	for _, m := range members {
		trees = append(trees, m.tree)
		numbers = append(numbers, m.number)
		gate = append(gate, m.gate...)
	}
	a := newNFA(trees)
	g := newGroup(a, numbers, o.Table)
	slices.Sort(gate)
	g.gate = slices.Compact(gate)
	s.groups = append(s.groups, g)
}

// NewFound makes room for the patterns of the set.
func (s *Set) NewFound() *Found {
	n := (s.count + 63) / 64
	return &Found{make([]uint64, n), make([]uint64, n)}
}

// NewFounds makes room for as many texts.
func (s *Set) NewFounds(texts int) []Found {
	n := (s.count + 63) / 64
	words := make([]uint64, 2*n*texts)
	all := make([]Found, texts)
	for i := range all {
		at := 2 * n * i
		all[i] = Found{words[at : at+n : at+n], words[at+n : at+2*n : at+2*n]}
	}
	return all
}

// Candidates adds the patterns that may match a text.
func (s *Set) Candidates(text string, found *Found) { s.CandidatesOf([]string{text}, []*Found{found}) }

// CandidatesOf adds the patterns that may match each of some texts. A group looks at one text after the other, so that what
// it needs of its table stays near the processor.
func (s *Set) CandidatesOf(texts []string, found []*Found) {
	r := s.rooms.Get().(*room)
	for i, text := range texts {
		for _, p := range s.always {
			found[i].add(p, false)
		}
		if s.words != nil {
			r.look(s, text)
			for j := range found[i].may {
				found[i].may[j] |= r.hits[j]
			}
			s.opened(r, text, found[i])
		}
	}
	open := s.groups[s.gated:s.early]
	for ; len(open) >= len(r.walkers); open = open[len(r.walkers):] {
		for i, text := range texts {
			for j := range r.walkers {
				r.walkers[j].begin(open[j], text)
			}
			read := together(text, &r.walkers)
			for j := range r.walkers {
				r.walkers[j].tell(found[i], read[j])
			}
		}
	}
	r.alone(open, texts, found)
	r.alone(s.groups[s.early:], texts, found)
	s.rooms.Put(r)
}

// alone looks for one group after the other.
func (r *room) alone(groups []*group, texts []string, found []*Found) {
	w := &r.walkers[0]
	for _, g := range groups {
		for i, text := range texts {
			w.begin(g, text)
			w.tell(found[i], w.run(text))
		}
	}
}

// opened looks for the groups that wait for a word which stands in a text.
func (s *Set) opened(r *room, text string, found *Found) {
	w := &r.walkers[0]
	for i, g := range s.groups[:s.gated] {
		if at := s.gate(i); r.hits[at>>6]>>(at&63)&1 != 0 {
			w.begin(g, text)
			w.tell(found, w.run(text))
		}
	}
}

// tell adds what a walker found.
func (w *walker) tell(found *Found, read bool) {
	hits, read := w.finish(read)
	for ; hits != 0; hits &= hits - 1 {
		i := bits.TrailingZeros64(hits)
		found.add(w.g.patterns[i], read && w.g.nfa.exact[i])
	}
}

// look looks for the words of a set.
func (r *room) look(s *Set, text string) {
	n := s.gate(s.gated)/64 + 1
	if cap(r.hits) < n {
		r.hits = make([]uint64, n)
	}
	r.hits = r.hits[:n]
	clear(r.hits)
	s.words.scan(text, r.hits)
}

// Stats says how a set is doing.
type Stats struct {
	Patterns, Words, Always, Groups, Exact int
	States                                 int
	Bytes                                  int   // of all tables
	Flushes                                int64 // of tables that grew too large
	GaveUp                                 int64 // passes that would have taken too much
}

// Stats gives what the tables hold now.
func (s *Set) Stats() Stats {
	st := Stats{Patterns: s.count, Always: len(s.always), Groups: len(s.groups)}
	st.Words = s.count - st.Always
	for _, g := range s.groups {
		st.Words -= len(g.patterns)
		for _, exact := range g.nfa.exact {
			if exact {
				st.Exact++
			}
		}
		c := g.core.Load()
		c.Lock()
		st.States += len(c.known)
		st.Bytes += c.size
		c.Unlock()
		st.Bytes += 120 * len(g.nfa.steps)
		st.Flushes += g.flushes.Load()
		st.GaveUp += g.gaveUp.Load()
	}
	if s.words != nil {
		st.Bytes += 4*len(s.words.table) + 24*len(s.words.ends)
	}
	return st
}
