package lures

import (
	"bytes"
	"slices"
)

// trie holds the phrases, octet by octet. The children of a node stand side by side, in the order of their octets.
type trie struct {
	labels []byte  // of each node: the octet that leads to it
	first  []int32 // of each node: its first child
	count  []uint8 // of each node: how many children, less one where there are 256
	ends   []int32 // of each node: 1 + the place in outs, 0 for none
	outs   [][]out
	root   [256]int32
}

// out is a slot that a phrase belongs to. A stem may be the beginning of a longer word.
type out struct {
	slot   slot
	tongue language
	stem   bool
}

// phrase is a phrase in the form of package text.
type phrase struct {
	text string
	out  out
}

// newTrie builds the trie breadth first, so that children stand side by side.
func newTrie(all []phrase) *trie {
	slices.SortFunc(all, func(a, b phrase) int { return bytes.Compare([]byte(a.text), []byte(b.text)) })
	t := &trie{labels: []byte{0}, first: []int32{0}, count: []uint8{0}, ends: []int32{0}}
	type span struct{ from, to, depth int }
	level := []span{{0, len(all), 0}}
	for node := 0; node < len(level); node++ {
		s := level[node]
		for s.from < s.to && len(all[s.from].text) == s.depth {
			t.end(node, all[s.from].out)
			s.from++
		}
		t.first[node] = int32(len(t.labels))
		for s.from < s.to {
			c, begin := all[s.from].text[s.depth], s.from
			for s.from < s.to && all[s.from].text[s.depth] == c {
				s.from++
			}
			t.labels, t.first, t.count, t.ends = append(t.labels, c), append(t.first, 0), append(t.count, 0), append(t.ends, 0)
			t.count[node]++
			level = append(level, span{begin, s.from, s.depth + 1})
		}
	}
	for i := range int32(t.count[0]) {
		t.root[t.labels[t.first[0]+i]] = t.first[0] + i
	}

	return t
}

// end notes that a phrase ends at a node.
func (t *trie) end(node int, o out) {
	if t.ends[node] == 0 {
		t.outs = append(t.outs, nil)
		t.ends[node] = int32(len(t.outs))
	}
	at := t.ends[node] - 1
	if !slices.Contains(t.outs[at], o) {
		t.outs[at] = append(t.outs[at], o)
	}
}

// walk calls found for each phrase that begins where the text does.
func (t *trie) walk(text []byte, found func(o out, length int)) {
	node := t.root[text[0]]
	for i := 1; node != 0; i++ {
		if end := t.ends[node]; end != 0 {
			whole := i == len(text) || text[i] == ' ' || isIdeograph(text[i-1], text, i-1)
			for _, o := range t.outs[end-1] {
				if o.stem || whole {
					found(o, i)
				}
			}
		}
		if i == len(text) {
			return
		}
		first := t.first[node]
		at := bytes.IndexByte(t.labels[first:first+int32(t.count[node])], text[i])
		if at < 0 {
			return
		}
		node = first + int32(at)
	}
}

// isIdeograph says whether the character whose last octet stands at a place is of a script without spaces. In UTF-8 these
// have three octets, the first of E3 to E9.
func isIdeograph(last byte, text []byte, at int) bool {
	return last >= 0x80 && last < 0xc0 && at >= 2 && leadsIdeograph(text[at-2])
}

func leadsIdeograph(c byte) bool { return c >= 0xe3 && c <= 0xe9 }
