// Package syntax reads Perl regular expressions into a tree whose letters are sets of octets.
package syntax

import "math/bits"

// Set is a set of octets.
type Set [4]uint64

// Single is the set of one octet.
func Single(c byte) Set {
	var s Set
	s.Add(c)
	return s
}

// Span is the set of the octets from lo to hi.
func Span(lo, hi byte) Set {
	var s Set
	for c := int(lo); c <= int(hi); c++ {
		s.Add(byte(c))
	}
	return s
}

// Of is the set of the octets of a text.
func Of(text string) Set {
	var s Set
	for i := range len(text) {
		s.Add(text[i])
	}
	return s
}

// All is the set of all octets.
func All() Set { return Set{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)} }

// Add puts an octet in.
func (s *Set) Add(c byte) { s[c>>6] |= 1 << (c & 63) }

// Has says whether an octet is in the set.
func (s *Set) Has(c byte) bool { return s[c>>6]>>(c&63)&1 != 0 }

// Or is what is in one of two sets.
func (s Set) Or(t Set) Set { return Set{s[0] | t[0], s[1] | t[1], s[2] | t[2], s[3] | t[3]} }

// And is what is in both sets.
func (s Set) And(t Set) Set { return Set{s[0] & t[0], s[1] & t[1], s[2] & t[2], s[3] & t[3]} }

// Not is what is not in the set.
func (s Set) Not() Set { return Set{^s[0], ^s[1], ^s[2], ^s[3]} }

// Empty says that nothing is in the set.
func (s Set) Empty() bool { return s == Set{} }

// Len counts the octets.
func (s Set) Len() int {
	return bits.OnesCount64(s[0]) + bits.OnesCount64(s[1]) + bits.OnesCount64(s[2]) + bits.OnesCount64(s[3])
}

// Min is the lowest octet of a set that has one.
func (s Set) Min() byte {
	for i, w := range s {
		if w != 0 {
			return byte(i<<6 + bits.TrailingZeros64(w))
		}
	}
	return 0
}

// Bytes are the octets in order.
func (s Set) Bytes() []byte {
	all := make([]byte, 0, s.Len())
	for c := range 256 {
		if s.Has(byte(c)) {
			all = append(all, byte(c))
		}
	}
	return all
}

// Folded is the set with both cases of each ASCII letter in it.
func (s Set) Folded() Set {
	const letters = 0x07fffffe // A-Z and a-z, in the second word at bits 1-26 and 33-58
	low, high := s[1]&letters, s[1]>>32&letters
	s[1] |= low<<32 | high
	return s
}

// FoldedLatin is the set with both cases of each letter of ISO 8859-1 in it, but for those whose other case is not in it.
func (s Set) FoldedLatin() Set {
	const letters = 0x7f7fffff // C0-DE without D7, and E0-FE without F7, in the last word at bits 0-30 and 32-62
	s = s.Folded()
	low, high := s[3]&letters, s[3]>>32&letters
	s[3] |= low<<32 | high
	return s
}

// The classes, for octets and ASCII letters only (perlrecharclass, "/d" on a string without the UTF-8 flag).

// Digits is \d.
func Digits() Set { return Span('0', '9') }

// Word is \w.
func Word() Set { return Span('0', '9').Or(Span('A', 'Z')).Or(Span('a', 'z')).Or(Single('_')) }

// Space is \s, which has the vertical tab since Perl 5.18.
func Space() Set { return Of("\t\n\v\f\r ") }

// Horizontal is \h: it has the no-break space, 0xA0, for strings of octets too.
func Horizontal() Set { return Of("\t \xa0") }

// Vertical is \v: it has NEL, 0x85, for strings of octets too.
func Vertical() Set { return Of("\n\v\f\r\x85") }

// posix gives a POSIX class by its name.
func posix(name string) (Set, bool) {
	switch name {
	case "alpha":
		return Span('A', 'Z').Or(Span('a', 'z')), true
	case "alnum":
		return Span('0', '9').Or(Span('A', 'Z')).Or(Span('a', 'z')), true
	case "ascii":
		return Span(0, 127), true
	case "blank":
		return Of("\t "), true
	case "cntrl":
		return Span(0, 31).Or(Single(127)), true
	case "digit":
		return Digits(), true
	case "graph":
		return Span(33, 126), true
	case "lower":
		return Span('a', 'z'), true
	case "print":
		return Span(32, 126), true
	case "punct":
		return Span(33, 47).Or(Span(58, 64)).Or(Span(91, 96)).Or(Span(123, 126)), true
	case "space":
		return Space(), true
	case "upper":
		return Span('A', 'Z'), true
	case "word":
		return Word(), true
	case "xdigit":
		return Digits().Or(Span('A', 'F')).Or(Span('a', 'f')), true
	}
	return Set{}, false
}
