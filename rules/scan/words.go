package scan

// words finds texts in a text, whatever their case (Aho and Corasick, 1975). Its states are the beginnings of the texts;
// there is a row of cells for each, so that one octet is one step.
type words struct {
	classes [256]uint8
	stride  uint32
	// table holds offsets of rows; with flagged, texts end there.
	table []uint32
	// ends are the patterns whose texts end in the state of a row.
	ends [][]int32
}

func newWords(texts map[string][]int32) *words {
	w := &words{}
	used := 0
	for c := range 256 {
		w.classes[c] = 0
	}
	for text := range texts {
		for i := range len(text) {
			if w.classes[text[i]] == 0 {
				used++
				w.classes[text[i]] = uint8(min(used, 255))
			}
		}
	}
	for c := byte('A'); c <= 'Z'; c++ {
		w.classes[c] = w.classes[c+32]
	}
	w.stride = uint32(used) + 1
	w.grow()
	for text, patterns := range texts {
		w.insert(text, patterns)
	}
	w.link()
	return w
}

func (w *words) grow() uint32 {
	at := uint32(len(w.table))
	w.table = append(w.table, make([]uint32, w.stride)...)
	w.ends = append(w.ends, nil)
	return at
}

func (w *words) insert(text string, patterns []int32) {
	at := uint32(0)
	for i := range len(text) {
		cell := at + uint32(w.classes[text[i]])
		if w.table[cell] == 0 {
			row := w.grow()
			w.table[cell] = row
		}
		at = w.table[cell]
	}
	w.ends[at/w.stride] = append(w.ends[at/w.stride], patterns...)
}

// link fills in where to go on when a text does not go on.
func (w *words) link() {
	fail := make([]uint32, len(w.ends))
	var queue []uint32
	for c := range w.stride {
		if next := w.table[c]; next != 0 {
			queue = append(queue, next)
		}
	}
	for i := 0; i < len(queue); i++ {
		at := queue[i]
		back := fail[at/w.stride]
		w.ends[at/w.stride] = append(w.ends[at/w.stride], w.ends[back/w.stride]...)
		for c := range w.stride {
			next := w.table[at+c]
			if next == 0 {
				w.table[at+c] = w.table[back+c]
				continue
			}
			fail[next/w.stride] = w.table[back+c]
			queue = append(queue, next)
		}
	}
	for i, next := range w.table {
		if w.ends[next/w.stride] != nil {
			w.table[i] = next | flagged
		}
	}
}

// scan notes whose texts are there, by their bits.
func (w *words) scan(text string, hits []uint64) {
	at := uint32(0)
	table, classes := w.table, &w.classes
	for i := range len(text) {
		at = table[at+uint32(classes[text[i]])]
		if at < flagged {
			continue
		}
		at &^= flagged
		for _, p := range w.ends[at/w.stride] {
			hits[p>>6] |= 1 << (p & 63)
		}
	}
}
