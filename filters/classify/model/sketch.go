package model

import "math"

// sketchSize is the number of hashes in a sketch.
const sketchSize = 32

// Sketch is a short form of a message's tokens (MinHash, Broder 1997): the share of equal numbers in two sketches is about the
// share of tokens that the messages have in common.
type Sketch [sketchSize]uint32

// Sketch makes the sketch of a message.
func (f *Features) Sketch() (s Sketch) {
	for i := range s {
		least := uint32(math.MaxUint32)
		for _, slot := range f[Tokens] {
			least = min(least, uint32(mix(uint64(slot)+uint64(i+1)<<32)))
		}
		s[i] = least
	}

	return s
}

// Alike is the share of tokens that two messages have in common, about.
func (s *Sketch) Alike(other *Sketch) float64 {
	n := 0
	for i := range s {
		if s[i] == other[i] {
			n++
		}
	}

	return float64(n) / sketchSize
}
