package model

import (
	"cmp"
	"slices"
	"strings"

	"postern/internal/mimeview"
)

// Token is a token of a message and its part in the verdict, in log-odds: positive is towards spam.
type Token struct {
	Text string
	Odds float64
}

// Named gives the text of each token of a message by its slot.
func (e *Extractor) Named(v *mimeview.View, facts []string) map[uint32]string {
	x := e.begin()
	defer e.end(x)
	x.named = map[uint32]string{}
	x.all(v, facts)

	return x.named
}

// name remembers the text of a token. The first of several in one slot keeps it.
func (x *extractor) name(h uint64, p prefix, text string) {
	s := slot(h)
	if _, taken := x.named[s]; !taken {
		x.named[s] = p.String() + text
	}
}

// String is what stands before a token's text where it is shown.
func (p prefix) String() string {
	switch p {
	case prefixFact:
		return ""
	case prefixName:
		return "field "
	case prefixWord, prefixPair:
		return ""
	case prefixType:
		return "part "
	case prefixHost:
		return "link "
	case prefixPath:
		return "link path "
	case prefixTag:
		return "html "
	case prefixFile:
		return "file "
	}
	name, _, _ := strings.Cut(fields[min(max(0, int(p-prefixField)+1), len(fields)):], " ")

	return name + ": "
}

// Strongest gives the tokens that speak most for spam and most against it, so many of each, the strongest first.
func (m *Model) Strongest(f *Features, named map[uint32]string, n int) (spam, ham []Token) {
	var all []Token
	share := norm(len(f[Tokens]))
	for _, s := range f[Tokens] {
		if text, ok := named[s]; ok {
			all = append(all, Token{text, float64(m.views[Tokens].weight[s]) * share})
		}
	}
	slices.SortFunc(all, func(a, b Token) int { return cmp.Or(cmp.Compare(b.Odds, a.Odds), cmp.Compare(a.Text, b.Text)) })
	for i := 0; i < min(n, len(all)) && all[i].Odds > 0; i++ {
		spam = append(spam, all[i])
	}
	for i := len(all) - 1; i >= max(0, len(all)-n) && all[i].Odds < 0; i-- {
		ham = append(ham, all[i])
	}

	return spam, ham
}
