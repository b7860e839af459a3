package lures

import (
	"bytes"
	"slices"
)

// trie holds the phrases, octet by octet. The children of a node stand side by side, in the order of their octets.
type trie struct {
	labels []byte // of each node: the octet that leads to it
	nodes  []node
	outs   [][]out
	root   [256]int32
	begins *prefixes4
}

// node is its first child, how many children there are, and 1 + the place in outs of the phrases that end at it, 0 for none. By
// has a bit for the octet of each child: most walks end where there is none, which it tells at once.
type node struct {
	first, ends int32
	count       int32
	by          uint32
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
	t := &trie{labels: []byte{0}, nodes: []node{{}}, begins: newPrefixes(all)}
	type span struct{ from, to, depth int }
	level := []span{{0, len(all), 0}}
	for at := 0; at < len(level); at++ {
		s := level[at]
		for s.from < s.to && len(all[s.from].text) == s.depth {
			t.end(at, all[s.from].out)
			s.from++
		}
		t.nodes[at].first = int32(len(t.labels))
		for s.from < s.to {
			c, begin := all[s.from].text[s.depth], s.from
			for s.from < s.to && all[s.from].text[s.depth] == c {
				s.from++
			}
			t.labels, t.nodes = append(t.labels, c), append(t.nodes, node{})
			t.nodes[at].count++
			t.nodes[at].by |= 1 << (c & 31)
			level = append(level, span{begin, s.from, s.depth + 1})
		}
	}
	for i := range t.nodes[0].count {
		t.root[t.labels[t.nodes[0].first+i]] = t.nodes[0].first + i
	}

	return t
}

// end notes that a phrase ends at a node.
func (t *trie) end(place int, o out) {
	if t.nodes[place].ends == 0 {
		t.outs = append(t.outs, nil)
		t.nodes[place].ends = int32(len(t.outs))
	}
	at := t.nodes[place].ends - 1
	if !slices.Contains(t.outs[at], o) {
		t.outs[at] = append(t.outs[at], o)
	}
}

// walk calls found for each phrase that begins where the text does.
func (t *trie) walk(text []byte, found func(o out, length int)) {
	at := t.root[text[0]]
	for i := 1; at != 0; i++ {
		n := &t.nodes[at]
		if n.ends != 0 {
			whole := i == len(text) || text[i] == ' ' || isIdeograph(text[i-1], text, i-1)
			for _, o := range t.outs[n.ends-1] {
				if o.stem || whole {
					found(o, i)
				}
			}
		}
		if i == len(text) {
			return
		}
		at = t.child(n, text[i])
	}
}

// child is the child of a node that an octet leads to, 0 for none: no child is the root.
func (t *trie) child(n *node, c byte) int32 {
	if n.by>>(c&31)&1 == 0 {
		return 0
	}
	if n.count == 1 {
		if t.labels[n.first] == c {
			return n.first
		}

		return 0
	}
	at := bytes.IndexByte(t.labels[n.first:n.first+n.count], c)
	if at < 0 {
		return 0
	}

	return n.first + int32(at)
}

// isIdeograph says whether the character whose last octet stands at a place is of a script without spaces. In UTF-8 these
// have three octets, the first of E3 to E9.
func isIdeograph(last byte, text []byte, at int) bool {
	return last >= 0x80 && last < 0xc0 && at >= 2 && leadsIdeograph(text[at-2])
}

func leadsIdeograph(c byte) bool { return c >= 0xe3 && c <= 0xe9 }
