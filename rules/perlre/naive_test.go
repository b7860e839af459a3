package perlre_test

import (
	"strings"
	"testing"
	"time"

	"postern/internal/testing/perlcases"
	"postern/rules/perlre"
	"postern/rules/perlre/syntax"
)

// naive matches a tree in the plainest way there is: each node is told what to do behind it.
type naive struct {
	text  string
	from  int
	caps  []int
	kept  int
	steps int
}

// naiveFind gives the first match; done is false if it took too much.
func naiveFind(tree *syntax.Tree, text string) (start, end int, ok, done bool) {
	n := &naive{text: text, steps: 200000}
	for at := 0; at <= len(text); at++ {
		n.caps = make([]int, 2*(tree.Groups+1))
		for i := range n.caps {
			n.caps[i] = -1
		}
		n.kept = at
		if n.node(tree.Root, at, func(pos int) bool { end = pos; return true }) {
			return min(n.kept, end), end, n.steps > 0, n.steps > 0
		}
		if n.steps <= 0 {
			return 0, 0, false, false
		}
	}
	return 0, 0, false, true
}

func (n *naive) node(x *syntax.Node, pos int, then func(int) bool) bool {
	if n.steps--; n.steps <= 0 {
		return true // out of everything; the caller sees why
	}
	switch x.Op {
	case syntax.OpEmpty:
		return then(pos)
	case syntax.OpSet:
		return pos < len(n.text) && x.Set.Has(n.text[pos]) && then(pos+1)
	case syntax.OpConcat:
		return n.all(x.Sub, pos, then)
	case syntax.OpAlt:
		for _, s := range x.Sub {
			if n.node(s, pos, then) {
				return true
			}
		}
	case syntax.OpRepeat:
		if x.Mode == syntax.Possessive {
			greedy := *x
			greedy.Mode = syntax.Greedy
			return n.alone(&greedy, pos, then)
		}
		return n.repeat(x, 0, -1, pos, then)
	case syntax.OpGroup:
		return n.group(x, pos, then)
	case syntax.OpAtomic:
		return n.alone(x.Sub[0], pos, then)
	case syntax.OpLook:
		return n.look(x, pos) && then(pos)
	case syntax.OpBackref:
		return n.backref(x, pos, then)
	case syntax.OpAssert:
		return n.assert(x.Assert, pos) && then(pos)
	case syntax.OpKeep:
		old := n.kept
		n.kept = pos
		if then(pos) {
			return true
		}
		n.kept = old
	case syntax.OpCond:
		return n.cond(x, pos, then)
	}
	return false
}

func (n *naive) all(subs []*syntax.Node, pos int, then func(int) bool) bool {
	if len(subs) == 0 {
		return then(pos)
	}
	return n.node(subs[0], pos, func(p int) bool { return n.all(subs[1:], p, then) })
}

func (n *naive) repeat(x *syntax.Node, count, last, pos int, then func(int) bool) bool {
	more := func() bool {
		if x.Max >= 0 && count >= x.Max || count >= x.Min && last == pos {
			return false
		}
		return n.node(x.Sub[0], pos, func(p int) bool { return n.repeat(x, count+1, pos, p, then) })
	}
	if count < x.Min {
		return more()
	}
	if x.Mode == syntax.Lazy {
		return then(pos) || more()
	}
	return more() || then(pos)
}

func (n *naive) group(x *syntax.Node, pos int, then func(int) bool) bool {
	return n.node(x.Sub[0], pos, func(p int) bool {
		a, b := n.caps[2*x.N], n.caps[2*x.N+1]
		n.caps[2*x.N], n.caps[2*x.N+1] = pos, p
		if then(p) {
			return true
		}
		n.caps[2*x.N], n.caps[2*x.N+1] = a, b
		return false
	})
}

func (n *naive) alone(x *syntax.Node, pos int, then func(int) bool) bool {
	end, caps, kept := 0, append([]int(nil), n.caps...), n.kept
	if n.node(x, pos, func(p int) bool { end = p; return true }) && then(end) {
		return true
	}
	n.caps, n.kept = caps, kept
	return false
}

func (n *naive) look(x *syntax.Node, pos int) bool {
	caps := append([]int(nil), n.caps...)
	ok := false
	if x.Behind {
		for from := pos; from >= 0 && !ok; from-- {
			ok = n.node(x.Sub[0], from, func(p int) bool { return p == pos })
		}
	} else {
		ok = n.node(x.Sub[0], pos, func(int) bool { return true })
	}
	if x.Negative || !ok {
		n.caps = caps
	}
	return ok != x.Negative
}

func (n *naive) backref(x *syntax.Node, pos int, then func(int) bool) bool {
	g := n.taken(x)
	if g < 0 {
		return false
	}
	text := n.text[n.caps[2*g]:n.caps[2*g+1]]
	if len(n.text)-pos < len(text) {
		return false
	}
	there := n.text[pos : pos+len(text)]
	for i := range len(text) {
		one := syntax.Single(text[i])
		switch x.Fold {
		case syntax.FoldASCII:
			one = one.Folded()
		case syntax.FoldLatin:
			one = one.FoldedLatin()
		}
		if !one.Has(there[i]) {
			return false
		}
	}
	return then(pos + len(text))
}

func (n *naive) taken(x *syntax.Node) int {
	refs := x.Refs
	if refs == nil {
		refs = []int{x.N}
	}
	for _, g := range refs {
		if n.caps[2*g] >= 0 {
			return g
		}
	}
	return -1
}

func (n *naive) cond(x *syntax.Node, pos int, then func(int) bool) bool {
	yes := false
	if x.Cond != nil {
		yes = n.look(x.Cond, pos)
	} else {
		yes = n.taken(x) >= 0
	}
	if yes {
		return n.node(x.Sub[0], pos, then)
	}
	return n.node(x.Sub[1], pos, then)
}

func (n *naive) assert(a syntax.Assert, pos int) bool {
	text, word := n.text, syntax.Word()
	w := func(i int) bool { return i >= 0 && i < len(text) && word.Has(text[i]) }
	switch a {
	case syntax.BeginText, syntax.LastMatch:
		return pos == 0
	case syntax.BeginLine:
		return pos == 0 || text[pos-1] == '\n' && pos < len(text)
	case syntax.EndText:
		return pos == len(text)
	case syntax.EndTextLine:
		return text[pos:] == "" || text[pos:] == "\n"
	case syntax.EndLine:
		return pos == len(text) || text[pos] == '\n'
	case syntax.WordBoundary:
		return w(pos-1) != w(pos)
	}
	return w(pos-1) == w(pos)
}

// FuzzFind compares with the plain matcher.
func FuzzFind(f *testing.F) {
	for _, p := range perlcases.Own(f, "testdata/patterns.txt") {
		re, err := perlre.Compile(p.Expr, p.Flags())
		if err != nil {
			f.Fatal(err)
		}
		for i, c := range perlcases.Make(re.Tree(), 3, 11) {
			if i > 0 {
				f.Add(p.Expr, uint8(p.Flags()), c.Text)
			}
		}
	}
	f.Fuzz(func(t *testing.T, expr string, flags uint8, text string) {
		if len(expr) > 200 || len(text) > 500 {
			return
		}
		began := time.Now()
		defer func() {
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("/%s/ (%d) on %q took %v", expr, flags, text, d)
			}
		}()
		re, err := perlre.Compile(expr, perlre.Flags(flags&31))
		if err != nil {
			if err.Error() == "" || strings.Contains(err.Error(), "%!") {
				t.Errorf("no reason: %v", err)
			}
			return
		}
		b := perlre.NewBudget(1 << 20)
		m, ok := re.Find(text, 0, b)
		start, end, wantOK, done := naiveFind(re.Tree(), text)
		if b.Exhausted() || !done {
			return
		}
		if ok != wantOK || ok && (m.Start != start || m.End != end) {
			t.Errorf("/%s/ (%d) on %q: %v %d-%d, plainly %v %d-%d", expr, flags, text, ok, m.Start, m.End, wantOK, start, end)
		}
		if !ok {
			return
		}
		for n := range min(re.Groups(), 3) + 1 {
			if s, e := m.Span(n); s > e || e > len(text) {
				t.Errorf("/%s/ on %q: group %d is %d-%d", expr, text, n, s, e)
			}
		}
		if next, ok := re.Next(text, m, b); ok && (next.End < m.End || next.End == m.End && next.Start == m.Start) {
			t.Errorf("/%s/ on %q: %d-%d behind %d-%d", expr, text, next.Start, next.End, m.Start, m.End)
		}
	})
}
