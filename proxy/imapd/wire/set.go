package wire

import (
	"strconv"
	"strings"
)

// Star is "*" in a Set: the largest number in use.
const Star = 0

// Range is From:To of a set; one number has both the same.
type Range struct{ From, To uint32 }

// Set is a sequence-set of RFC 9051 section 9. Saved says that it is "$" (RFC 5182): the result of the last search.
type Set struct {
	Ranges []Range
	Saved  bool
}

// ParseSet reads a set of at most 16,384 ranges.
func ParseSet(text string) (Set, bool) {
	if text == "$" {
		return Set{Saved: true}, true
	}
	var s Set
	for one := range strings.SplitSeq(text, ",") {
		from, to, pair := strings.Cut(one, ":")
		if !pair {
			to = from
		}
		f, ok := setNumber(from)
		t, ok2 := setNumber(to)
		if !ok || !ok2 || len(s.Ranges) == 16384 {
			return Set{}, false
		}
		s.Ranges = append(s.Ranges, Range{f, t})
	}
	return s, true
}

func setNumber(text string) (uint32, bool) {
	if text == "*" {
		return Star, true
	}
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil && n > 0 && text[0] != '+' && text[0] != '0'
}

// Until gives the set with no number above most, "*" included: what it means at a moment, when most is the largest in use.
func (s Set) Until(limit uint32) Set {
	out := Set{Saved: s.Saved}
	clamp := func(n uint32) uint32 {
		if n == Star || n > limit {
			return limit
		}
		return n
	}
	for _, r := range s.Ranges {
		out.Ranges = append(out.Ranges, Range{clamp(r.From), clamp(r.To)})
	}
	return out
}

// Open says whether the set has no fixed end: "*", or a number above most.
func (s Set) Open(limit uint32) bool {
	for _, r := range s.Ranges {
		if min(r.From, r.To) == Star || max(r.From, r.To) > limit {
			return true
		}
	}
	return false
}

// has says whether a number may be in the range: "n:*" has all from n on.
func (r Range) has(n uint32) bool {
	from, to := min(r.From, r.To), max(r.From, r.To)
	if from == Star {
		return to == Star || n >= to
	}
	return n >= from && n <= to
}

// Has says whether a number is in the set, as far as can be told: "*" and "$" may be any.
func (s Set) Has(n uint32) bool {
	for _, r := range s.Ranges {
		if r.has(n) {
			return true
		}
	}
	return s.Saved
}

// Of gives the set of numbers, which ascend.
func Of(numbers []uint32) Set {
	var s Set
	for _, n := range numbers {
		if last := len(s.Ranges) - 1; last >= 0 && s.Ranges[last].To+1 == n {
			s.Ranges[last].To = n
		} else {
			s.Ranges = append(s.Ranges, Range{n, n})
		}
	}
	return s
}

// String writes the set.
func (s Set) String() string {
	if s.Saved {
		return "$"
	}
	var b []byte
	number := func(n uint32) {
		if n == Star {
			b = append(b, '*')
		} else {
			b = strconv.AppendUint(b, uint64(n), 10)
		}
	}
	for i, r := range s.Ranges {
		if i > 0 {
			b = append(b, ',')
		}
		number(r.From)
		if r.To != r.From {
			b = append(b, ':')
			number(r.To)
		}
	}
	return string(b)
}

// Numbers gives the numbers of a set in its order, at most limit of them. "*" has none.
func (s Set) Numbers(limit int) []uint32 {
	var all []uint32
	for _, r := range s.Ranges {
		from, to := min(r.From, r.To), max(r.From, r.To)
		if from == Star {
			continue
		}
		for n := from; ; n++ {
			if len(all) == limit {
				return all
			}
			all = append(all, n)
			if n == to {
				break
			}
		}
	}
	return all
}
