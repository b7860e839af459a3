package model

import (
	"slices"
	"strings"

	"postern/internal/mimeview"
)

// Token is a token of a message and its part in the verdict, in log-odds: positive is towards spam.
type Token struct {
	Text string
	Odds float64
}

// Strongest gives the tokens that speak most for spam and most against it, up to so many of each, the strongest first. The
// message is gone through once more for the texts of those few.
func (m *Model) Strongest(e *Extractor, v *mimeview.View, facts []string, f *Features, n int) (spam, ham []Token) {
	high, low := m.extremes(f[Tokens], candidates)
	x := e.begin()
	defer e.end(x)
	x.named = make(map[uint32]string, 2*candidates)
	for _, s := range slices.Concat(high, low) {
		x.named[s] = ""
	}
	x.all(v, facts)

	share := norm(len(f[Tokens]))
	texts := func(slots []uint32) (all []Token) {
		for _, s := range slots {
			if text := x.named[s]; text != "" && len(all) < n {
				all = append(all, Token{text, float64(m.views[Tokens].weight[s]) * share})
			}
		}

		return all
	}

	return texts(high), texts(low)
}

// candidates is how many of the strongest features are looked at: some are runs of octets, which have no text.
const candidates = 32

// extremes are the slots with the highest and the lowest weights, the strongest first.
func (m *Model) extremes(slots []uint32, n int) (high, low []uint32) {
	weight := m.views[Tokens].weight
	keep := func(list []uint32, s uint32, sign float32) []uint32 {
		w := sign * weight[s]
		if w <= 0 || len(list) == n && w <= sign*weight[list[n-1]] {
			return list
		}
		at := len(list)
		for at > 0 && sign*weight[list[at-1]] < w {
			at--
		}
		if len(list) == n {
			list = list[:n-1]
		}

		return slices.Insert(list, at, s)
	}
	for _, s := range slots {
		high, low = keep(high, s, 1), keep(low, s, -1)
	}

	return high, low
}

// name gives a token its text, if it is asked for. The first of several in one slot keeps it.
func (x *extractor) name(h uint64, p prefix, text string) {
	s := slot(h)
	if named, wanted := x.named[s]; wanted && named == "" {
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

func (x *extractor) namePair(h uint64, p prefix, first, second string) {
	if _, wanted := x.named[slot(h)]; wanted {
		x.name(h, p, first+" "+second)
	}
}
