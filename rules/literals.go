package rules

// literals finds which of many strings stand in a text, in one pass without regard to ASCII case: the automaton of Aho
// and Corasick, with all its transitions laid out. Octets that no string has share one class, so that tables stay small.
type literals struct {
	ids     map[string]int
	words   []string
	size    int
	class   [256]uint8
	classes int
	next    []int32 // state*classes + class
	// ends are the strings that end in a state, link the next state with ends on the way back to the root, 0 for none.
	ends [][]int
	link []int32
}

// maxLiterals bounds the strings, in octets all together: the tables grow with them.
const maxLiterals = 200_000

// add gives the number of a string in lower case, -1 if there is no room for it.
func (l *literals) add(word string) int {
	if l.ids == nil {
		l.ids = map[string]int{}
	}
	id, known := l.ids[word]
	if !known {
		if l.size += len(word); l.size > maxLiterals {
			return -1
		}
		id = len(l.words)
		l.ids[word] = id
		l.words = append(l.words, word)
	}
	return id
}

// build lays out the automaton once all strings are known.
func (l *literals) build() {
	l.classes = 1
	states := 1
	for _, w := range l.words {
		states += len(w)
		for i := range len(w) {
			if l.class[w[i]] == 0 {
				l.class[w[i]] = uint8(l.classes)
				l.classes++
			}
		}
	}
	for c := 'A'; c <= 'Z'; c++ {
		l.class[c] = l.class[c+'a'-'A']
	}
	l.next = make([]int32, l.classes, states*l.classes)
	l.ends, l.link = make([][]int, 1, states), make([]int32, 1, states)
	for id, w := range l.words {
		at := int32(0)
		for i := range len(w) {
			slot := int(at)*l.classes + int(l.class[w[i]])
			if l.next[slot] == 0 {
				l.next[slot] = int32(len(l.ends))
				l.next = append(l.next, make([]int32, l.classes)...)
				l.ends, l.link = append(l.ends, nil), append(l.link, 0)
			}
			at = l.next[slot]
		}
		l.ends[at] = append(l.ends[at], id)
	}
	l.complete()
}

// complete gives each state a transition for each class, breadth first, so that a state's shorter relatives are done
// before it.
func (l *literals) complete() {
	fail := make([]int32, len(l.ends))
	var queue []int32
	for c := range l.classes {
		if s := l.next[c]; s != 0 {
			queue = append(queue, s)
		}
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		back := fail[at]
		if l.link[at] = l.link[back]; l.ends[back] != nil {
			l.link[at] = back
		}
		for c := range l.classes {
			slot := int(at)*l.classes + c
			over := l.next[int(back)*l.classes+c]
			if s := l.next[slot]; s != 0 {
				fail[s] = over
				queue = append(queue, s)
			} else {
				l.next[slot] = over
			}
		}
	}
}

// bits is a set of literals by their numbers.
type bits []uint64

func (b bits) has(id int) bool { return b[id/64]&(1<<(id%64)) != 0 }

// scan gives the strings that stand in a text.
func (l *literals) scan(text string) bits {
	seen := make(bits, len(l.words)/64+1)
	at := 0
	for i := range len(text) {
		s := l.next[at+int(l.class[text[i]])]
		at = int(s) * l.classes
		if s == 0 || l.ends[s] == nil && l.link[s] == 0 {
			continue
		}
		for ; s != 0; s = l.link[s] {
			for _, id := range l.ends[s] {
				seen[id/64] |= 1 << (id % 64)
			}
		}
	}
	return seen
}
