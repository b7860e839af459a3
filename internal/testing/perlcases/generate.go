package perlcases

import (
	"math/rand/v2"
	"strings"

	"postern/rules/perlre/syntax"
)

// maxText is how long a made text may get.
const maxText = 3000

// Make gives n texts for an expression, made from what it says: as it stands, between other text, with one octet changed,
// with one left out, and with the case of one letter changed.
func Make(tree *syntax.Tree, n int, seed uint64) []Case {
	r := rand.New(rand.NewPCG(seed, 7))
	all := make([]Case, 0, n)
	for i := range n {
		g := &maker{r: r, caps: map[int]string{}}
		g.node(tree.Root)
		text := g.b.String()
		switch i % 8 {
		case 0:
		case 1:
			text = pick(r, befores) + text + pick(r, behinds)
		case 2, 3:
			text = change(r, text)
		case 4:
			text = drop(r, text)
		case 5:
			text = swap(r, text)
		case 6:
			text = pick(r, befores) + change(r, text) + pick(r, behinds)
		case 7:
			text = drop(r, text) + text + "\n"
		}
		all = append(all, Case{Text: text[:min(len(text), maxText)]})
	}
	return all
}

var befores = []string{"foo ", "x", "\n", "a b\n", " ", "\xc3\xa9", "Re: ", "1", "\v", "_", "\x85"}

var behinds = []string{" bar\n", "y", "\n", "\n\n", " ", "\xe2\x82\xac", "\nz", ".", "0", "\v", "\xa0\n"}

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

const odd = "aA1_ .-\n\v\r\t\x00\x7f\x80\x85\xa0\xb5\xc3\xdf\xe9\xff<>@/kKsS"

func oddOctet(r *rand.Rand) byte {
	if r.IntN(3) == 0 {
		return byte(r.IntN(256))
	}
	return odd[r.IntN(len(odd))]
}

func change(r *rand.Rand, text string) string {
	if text == "" {
		return string([]byte{oddOctet(r)})
	}
	b := []byte(text)
	b[r.IntN(len(b))] = oddOctet(r)
	return string(b)
}

func drop(r *rand.Rand, text string) string {
	if text == "" {
		return ""
	}
	i := r.IntN(len(text))
	return text[:i] + text[i+1:]
}

func swap(r *rand.Rand, text string) string {
	b := []byte(text)
	for range 1 + r.IntN(5) {
		if len(b) == 0 {
			break
		}
		if i := r.IntN(len(b)); b[i]|32 >= 'a' && b[i]|32 <= 'z' || b[i] >= 0xc0 {
			b[i] ^= 32
		}
	}
	return string(b)
}

// maker writes a text that an expression may match.
type maker struct {
	r    *rand.Rand
	b    strings.Builder
	caps map[int]string
}

func (g *maker) node(n *syntax.Node) {
	if g.b.Len() > maxText {
		return
	}
	switch n.Op {
	case syntax.OpSet:
		g.set(n.Set)
	case syntax.OpAlt, syntax.OpCond:
		g.node(n.Sub[g.r.IntN(len(n.Sub))])
	case syntax.OpRepeat:
		for range min(g.times(n), maxText) {
			g.node(n.Sub[0])
		}
	case syntax.OpGroup:
		at := g.b.Len()
		g.node(n.Sub[0])
		g.caps[n.N] = g.b.String()[at:]
	case syntax.OpBackref:
		g.b.WriteString(g.caps[n.N])
	case syntax.OpLook:
		odds := 2
		if n.Negative {
			odds = 6
		}
		if g.r.IntN(odds) == 0 {
			g.node(n.Sub[0])
		}
	case syntax.OpAssert:
		g.assert(n.Assert)
	default:
		for _, s := range n.Sub {
			g.node(s)
		}
	}
}

// times is how often a repeat is made.
func (g *maker) times(n *syntax.Node) int {
	if n.Max != syntax.Unlimited && n.Max <= n.Min+4 {
		return n.Min + g.r.IntN(n.Max-n.Min+1)
	}
	if g.r.IntN(8) == 0 && n.Max > 0 {
		return n.Max - g.r.IntN(2)
	}
	return n.Min + g.r.IntN(4)
}

func (g *maker) assert(a syntax.Assert) {
	switch {
	case g.r.IntN(4) != 0:
	case a == syntax.WordBoundary:
		g.b.WriteString(" ")
	case a == syntax.BeginLine || a == syntax.EndLine || a == syntax.EndTextLine:
		g.b.WriteString("\n")
	}
}

// set writes one octet, a readable one more often.
func (g *maker) set(s syntax.Set) {
	all := s.Bytes()
	if len(all) == 0 {
		return
	}
	for range 4 {
		c := all[g.r.IntN(len(all))]
		if c >= 32 && c < 127 || len(all) < 8 || g.r.IntN(8) == 0 {
			g.b.WriteByte(c)
			return
		}
	}
	g.b.WriteByte(all[g.r.IntN(len(all))])
}
