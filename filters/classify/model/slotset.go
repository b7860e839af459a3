package model

import "math/bits"

// slotSet collects slots, each once. Taken out they are in ascending order, which costs one walk over its words: less than
// sorting, since a message sets thousands.
type slotSet struct {
	words  [Slots / 64]uint64
	groups [Slots / 64 / 64]uint64 // a bit for each word with a bit
	n      int
}

// clear empties the set.
func (s *slotSet) clear() {
	if s.n > 0 {
		s.take()
	}
}

func (s *slotSet) add(slot uint32) {
	w, bit := slot/64, uint64(1)<<(slot%64)
	if s.words[w]&bit != 0 {
		return
	}
	s.words[w] |= bit
	s.groups[w/64] |= 1 << (w % 64)
	s.n++
}

// take gives the slots in ascending order and empties the set.
func (s *slotSet) take() []uint32 {
	if s.n == 0 {
		return nil
	}
	all := make([]uint32, 0, s.n)
	for g, group := range s.groups {
		for group != 0 {
			w := g*64 + bits.TrailingZeros64(group)
			group &= group - 1
			for word := s.words[w]; word != 0; word &= word - 1 {
				all = append(all, uint32(w*64+bits.TrailingZeros64(word)))
			}
			s.words[w] = 0
		}
		s.groups[g] = 0
	}
	s.n = 0

	return all
}

// union joins lists of slots, by way of an empty set.
func (s *slotSet) union(lists [][]uint32) []uint32 {
	for _, list := range lists {
		for _, slot := range list {
			s.add(slot)
		}
	}

	return s.take()
}
