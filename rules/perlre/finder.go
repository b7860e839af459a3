package perlre

import (
	"strings"

	"postern/rules/perlre/syntax"
)

// finder knows where a match can begin.
type finder struct {
	atText bool // at the beginning of the text only
	atLine bool // at the beginning of a line only
	least  int  // octets that a match has at least
	// sets are what stands at the first places of a match; text is their spelling if each is one octet.
	sets []syntax.Set
	text string
	// rare is the place whose set tells most, and its table.
	rare  int
	one   bool // the set is one octet
	octet byte
	table *[256]bool
}

// maxPrefix is how many places are looked at.
const maxPrefix = 8

func newFinder(t *syntax.Tree, begin *syntax.Set) finder {
	f := finder{}
	f.least, _ = t.Root.Widths()
	f.atText = begins(t.Root, syntax.BeginText)
	f.atLine = begins(t.Root, syntax.BeginLine)
	if f.sets, _ = prefix(t.Root); len(f.sets) == 0 && begin != nil {
		f.sets = []syntax.Set{*begin}
	}
	var b []byte
	for _, s := range f.sets {
		if s.Len() != 1 {
			break
		}
		b = append(b, s.Min())
	}
	if len(b) > 1 {
		f.text = string(b)
	}
	best := 0
	for i, s := range f.sets {
		if cost := commonness(s); i == 0 || cost < best {
			f.rare, best = i, cost
		}
	}
	if len(f.sets) > 0 {
		f.choose()
	}
	return f
}

func (f *finder) choose() {
	s := f.sets[f.rare]
	if s.Len() == 1 {
		f.one, f.octet = true, s.Min()
		return
	}
	f.table = new([256]bool)
	for _, c := range s.Bytes() {
		f.table[c] = true
	}
}

// commonness is how much of a usual text is in a set, about.
func commonness(s syntax.Set) int {
	n := s.Len()
	for _, c := range []byte(" etaoinsrhldcumfpgwyb\nETAOINS") {
		if s.Has(c) {
			n += 12
		}
	}
	return n
}

// begins says that a node matches behind an assertion only.
func begins(n *syntax.Node, a syntax.Assert) bool {
	switch n.Op {
	case syntax.OpAssert:
		return n.Assert == a
	case syntax.OpConcat:
		for _, s := range n.Sub {
			if begins(s, a) {
				return true
			}
			if _, hi := s.Widths(); hi != 0 {
				return false
			}
		}
	case syntax.OpAlt:
		for _, s := range n.Sub {
			if !begins(s, a) {
				return false
			}
		}
		return true
	case syntax.OpGroup, syntax.OpAtomic:
		return begins(n.Sub[0], a)
	case syntax.OpRepeat:
		return n.Min > 0 && begins(n.Sub[0], a)
	}
	return false
}

// prefix gives what stands at the first places of a match, and whether what follows the node stands right behind.
func prefix(n *syntax.Node) (sets []syntax.Set, whole bool) {
	switch n.Op {
	case syntax.OpSet:
		return []syntax.Set{n.Set}, true
	case syntax.OpEmpty, syntax.OpAssert, syntax.OpLook, syntax.OpKeep:
		return nil, true
	case syntax.OpGroup, syntax.OpAtomic:
		return prefix(n.Sub[0])
	case syntax.OpConcat:
		for _, s := range n.Sub {
			more, whole := prefix(s)
			sets = append(sets, more...)
			if !whole || len(sets) >= maxPrefix {
				return sets[:min(len(sets), maxPrefix)], false
			}
		}
		return sets, true
	case syntax.OpAlt:
		return together(n.Sub)
	case syntax.OpRepeat:
		sub, whole := prefix(n.Sub[0])
		for i := 0; i < n.Min && len(sets) < maxPrefix; i++ {
			sets = append(sets, sub...)
			if !whole || len(sub) == 0 {
				return sets, false
			}
		}
		return sets[:min(len(sets), maxPrefix)], n.Min == n.Max && len(sets) == n.Min*len(sub)
	}
	return nil, false
}

// together joins alternatives place by place, as far as the shortest goes.
func together(all []*syntax.Node) (sets []syntax.Set, whole bool) {
	whole = true
	for i, n := range all {
		more, w := prefix(n)
		if i == 0 {
			sets, whole = append(sets, more...), w
			continue
		}
		whole = whole && w && len(more) == len(sets)
		sets = sets[:min(len(sets), len(more))]
		for j := range sets {
			sets[j] = sets[j].Or(more[j])
		}
	}
	return sets, whole
}

// possible says whether there can be a match at all.
func (f *finder) possible(text string, from int) bool {
	return len(text)-from >= f.least && !(f.atText && from > 0)
}

// next gives the first place from at where a match can begin, -1 if there is none, and how many were looked at closely.
func (f *finder) next(text string, at int) (place, looked int) {
	for ; len(text)-at >= f.least; looked++ {
		switch {
		case f.atText && at > 0:
			return -1, looked
		case f.atText:
		case f.atLine && at > 0 && text[at-1] != '\n':
			i := strings.IndexByte(text[at:], '\n')
			if i < 0 {
				return -1, looked
			}
			at += i + 1
			continue
		case f.atLine:
		case f.text != "":
			i := strings.Index(text[at:], f.text)
			if i < 0 {
				return -1, looked
			}
			at += i
		case len(f.sets) > 0:
			i := f.scan(text, at+f.rare)
			if i < 0 {
				return -1, looked
			}
			at = i - f.rare
		}
		if f.fits(text, at) {
			return at, looked
		}
		at++
	}
	return -1, looked
}

// scan finds the next octet of the set that tells most.
func (f *finder) scan(text string, at int) int {
	if f.one {
		i := strings.IndexByte(text[min(at, len(text)):], f.octet)
		if i < 0 {
			return -1
		}
		return at + i
	}
	table := f.table
	for ; at < len(text); at++ {
		if table[text[at]] {
			return at
		}
	}
	return -1
}

// fits checks the first places of a match.
func (f *finder) fits(text string, at int) bool {
	if len(text)-at < len(f.sets) {
		return false
	}
	for i := range f.sets {
		if !f.sets[i].Has(text[at+i]) {
			return false
		}
	}
	return true
}
