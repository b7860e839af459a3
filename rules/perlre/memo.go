package perlre

// memo remembers which instructions were tried at which places, with what count where one counts: a second time they fail
// as they did the first time. It is a table with open addressing.
type memo struct {
	keys []uint64 // 0 for none
	used []uint32 // the cells that are not 0
	full bool
}

// Sizes of the table, in keys.
const (
	minMemo   = 1 << 10
	smallMemo = 1 << 14
	maxMemo   = 1 << 19
)

// maxCount is the highest count that a key has room for; instructions have 16 bits of it, places 30.
const maxCount = 1 << 16

// worthMemo is how many steps a text is worth before anything is remembered: most attempts are over sooner.
const worthMemo = 4

// remembered says that an instruction was tried at a place before, and notes that it is now.
func (m *machine) remembered(in *inst, pos int) bool {
	if m.depth > 0 || !m.prog.pure || m.prog.captures { // with groups, a last empty turn that changes no place counts
		return false
	}
	if len(m.memo.used) == 0 && m.began-m.steps < worthMemo*len(m.text)+500 {
		return false
	}
	key := uint64(in.memo)<<30 | uint64(pos) + 1<<63
	if in.counter >= 0 {
		key |= uint64(m.slots[in.counter]) << 46
	}
	if m.memo.had(key) {
		return true
	}
	m.steps-- // what is noted costs more than a step, and more in a table that no cache holds
	if len(m.memo.keys) > smallMemo {
		m.steps -= 3
	}
	return false
}

// had says whether a key is there, and puts it in.
func (t *memo) had(key uint64) bool {
	if 2*len(t.used) >= len(t.keys) && !t.full {
		t.grow()
	}
	mask := uint64(len(t.keys) - 1)
	at := hash(key) & mask
	for t.keys[at] != 0 {
		if t.keys[at] == key {
			return true
		}
		at = (at + 1) & mask
	}
	if 2*len(t.used) < len(t.keys) {
		t.keys[at] = key
		t.used = append(t.used, uint32(at))
	}
	return false
}

func hash(key uint64) uint64 {
	key *= 0x9e3779b97f4a7c15
	return key ^ key>>32
}

func (t *memo) grow() {
	size := max(minMemo, 4*len(t.keys))
	if t.full = size > maxMemo; t.full {
		return
	}
	old := t.keys
	t.keys = make([]uint64, size)
	mask := uint64(size - 1)
	for i, cell := range t.used {
		key := old[cell]
		at := hash(key) & mask
		for t.keys[at] != 0 {
			at = (at + 1) & mask
		}
		t.keys[at] = key
		t.used[i] = uint32(at)
	}
}

// reset forgets all.
func (t *memo) reset() {
	if len(t.used) > len(t.keys)/8 {
		clear(t.keys)
	} else {
		for _, at := range t.used {
			t.keys[at] = 0
		}
	}
	t.used, t.full = t.used[:0], false
}
