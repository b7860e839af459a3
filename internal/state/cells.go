package state

import (
	"math"
	"slices"
	"time"
)

// A cell is what is kept under one key. Times are nanoseconds since 1970 by the caller's clock.
type cell interface {
	due() int64   // when it may be forgotten
	payload() int // octets beyond the cell itself
}

// rateCell is the time at which a key would be idle again: the one number of the generic cell rate algorithm.
type rateCell int64

func (c rateCell) due() int64   { return int64(c) }
func (c rateCell) payload() int { return 0 }

// cost is what some events of a rate take, and the room that the rate gives, in nanoseconds.
type cost struct{ events, room int64 }

// longest bounds times that are computed, so that sums of them can't overflow: 30 years.
const longest = int64(30 * 365 * 24 * time.Hour)

func costOf(r Rate, n int) cost {
	step := max(int64(r.Per)/int64(max(r.Count, 1)), 1)
	times := func(n int) int64 {
		if int64(n) > longest/step {
			return longest
		}
		return step * int64(n)
	}
	return cost{events: times(max(n, 0)), room: times(max(r.Burst, 1))}
}

// take is the algorithm itself. A clock that was set back, or a rate that was made smaller, counts as a full bucket.
func (c rateCell) take(now int64, k cost) (next rateCell, ok bool, retry time.Duration) {
	idle := min(max(int64(c), now), now+k.room)
	if wait := idle + k.events - now - k.room; wait > 0 {
		return rateCell(idle), false, time.Duration(wait)
	}
	return rateCell(idle + k.events), true, 0
}

// tallyCell is two sums as they were at a time.
type tallyCell struct {
	sums        Tally
	at, expires int64
}

func (c tallyCell) due() int64   { return c.expires }
func (c tallyCell) payload() int { return 0 }

// biggest bounds a sum.
const biggest = 1e15

func (t Tally) clean() Tally {
	for i, v := range t {
		if !(v > 0) { // NaN too
			t[i] = 0
		}
		t[i] = min(t[i], biggest)
	}
	return t
}

// decayed is a tally after a time. Time that runs backwards, as between nodes, counts as none.
func (c tallyCell) decayed(now int64, half time.Duration) Tally {
	if c.at == 0 || now <= c.at {
		return c.sums
	}
	left := math.Exp2(-float64(now-c.at) / float64(half))
	return Tally{c.sums[0] * left, c.sums[1] * left}
}

// plus is the tally with more added now.
func (c tallyCell) plus(add Tally, now int64, half time.Duration) tallyCell {
	sums := c.decayed(now, half)
	for i := range sums {
		sums[i] = min(sums[i]+add[i], biggest)
	}
	return newTally(sums, max(now, c.at), half)
}

// newTally expires when both sums are below a thousandth.
func newTally(sums Tally, at int64, half time.Duration) tallyCell {
	halves := 10 + math.Log2(max(sums[0], sums[1], 1))
	keep := min(halves*float64(half), float64(longest))
	return tallyCell{sums: sums, at: at, expires: at + int64(keep)}
}

// atLeast is the greater of two states of the same sums: sums only grow by what is added.
func (t Tally) atLeast(other Tally) Tally {
	return Tally{max(t[0], other[0]), max(t[1], other[1])}
}

// setCell is a set of hashes in order. In the shadow of Redis, extra is how many more members are known to be there.
type setCell struct {
	members []uint64
	extra   int
	expires int64
}

func (c setCell) due() int64   { return c.expires }
func (c setCell) payload() int { return cap(c.members) * 8 }
func (c setCell) size() int    { return min(len(c.members)+c.extra, maxMembers) }

func (c *setCell) add(member uint64) (fresh bool) {
	i, found := slices.BinarySearch(c.members, member)
	if found {
		return false
	}
	if c.size() < maxMembers {
		c.members = slices.Insert(c.members, i, member)
	}
	return true
}

// valueCell is a value, when it was put and until when it is kept.
type valueCell struct {
	octets       string
	put, expires int64
}

func (c valueCell) due() int64   { return c.expires }
func (c valueCell) payload() int { return len(c.octets) }

// later is a time from now on that can't overflow.
func later(now int64, d time.Duration) int64 { return now + min(int64(d), longest) }
