package state

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
)

// The sorts of cells in a snapshot.
const (
	rateSort  = 'r'
	tallySort = 't'
	setSort   = 's'
	valueSort = 'v'
)

// blocks are cells one after the other, and where a block may end.
type blocks struct {
	octets []byte
	ends   []int
	cells  uint64
}

// begin writes what all cells begin with.
func (b *blocks) begin(sort byte, key string, expires int64) {
	b.octets = append(b.octets, sort)
	b.text(key)
	b.number(uint64(expires))
}

func (b *blocks) number(n uint64) { b.octets = binary.BigEndian.AppendUint64(b.octets, n) }

func (b *blocks) text(s string) {
	b.octets = binary.BigEndian.AppendUint16(b.octets, uint16(len(s)))
	b.octets = append(b.octets, s...)
}

func (b *blocks) end() {
	b.cells++
	start := 0
	if len(b.ends) > 0 {
		start = b.ends[len(b.ends)-1]
	}
	if len(b.octets)-start >= blockAim {
		b.ends = append(b.ends, len(b.octets))
	}
}

// copyTo copies what has not expired.
func (s *shard) copyTo(b *blocks, now int64) {
	s.mu.Lock()
	for _, k := range s.kinds {
		k.copyTo(b, now)
	}
	s.mu.Unlock()
	if n := len(b.octets); n > 0 && (len(b.ends) == 0 || b.ends[len(b.ends)-1] < n) {
		b.ends = append(b.ends, n)
	}
}

func (k *kind) copyTo(b *blocks, now int64) {
	for key, c := range k.rates {
		if c.due() > now {
			b.begin(rateSort, key, c.due())
			b.end()
		}
	}
	for key, c := range k.tallies {
		if c.due() > now {
			b.begin(tallySort, key, c.expires)
			b.number(uint64(c.at))
			b.number(math.Float64bits(c.sums[0]))
			b.number(math.Float64bits(c.sums[1]))
			b.end()
		}
	}
	for key, c := range k.sets {
		if c.due() > now {
			b.begin(setSort, key, c.expires)
			b.number(uint64(c.extra))
			b.number(uint64(len(c.members)))
			for _, m := range c.members {
				b.number(m)
			}
			b.end()
		}
	}
	for key, c := range k.values {
		if c.due() > now {
			b.begin(valueSort, key, c.expires)
			b.number(uint64(c.put))
			b.text(c.octets)
			b.end()
		}
	}
}

// cellReader reads cells of a block; once it lacks octets, all it gives is zero and bad is set.
type cellReader struct {
	left []byte
	bad  bool
}

func (r *cellReader) take(n int) []byte {
	if n > len(r.left) {
		r.left, r.bad = nil, true
		return nil
	}
	taken := r.left[:n]
	r.left = r.left[n:]
	return taken
}

func (r *cellReader) number() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *cellReader) text(limit int) string {
	b := r.take(2)
	if b == nil {
		return ""
	}
	n := int(binary.BigEndian.Uint16(b))
	if n > limit {
		r.bad = true
		return ""
	}
	return strings.Clone(string(r.take(n)))
}

// readCells keeps the cells of a block, but for those that have expired.
func (m *memory) readCells(octets []byte, now int64) (n uint64, err error) {
	r := cellReader{left: octets}
	for len(r.left) > 0 {
		sort := r.take(1)[0]
		key, expires := r.text(maxKey), int64(r.number())
		s, k := m.at(key)
		switch sort {
		case rateSort:
			restore(s, k, k.rates, key, rateCell(expires), now, &r)
		case tallySort:
			restore(s, k, k.tallies, key, r.tally(expires), now, &r)
		case setSort:
			restore(s, k, k.sets, key, r.set(expires), now, &r)
		case valueSort:
			put := int64(r.number())
			restore(s, k, k.values, key, valueCell{put: put, expires: expires, octets: r.text(maxValue)}, now, &r)
		default:
			r.bad = true
		}
		s.mu.Unlock()
		if r.bad {
			return 0, errors.New("a cell that is none")
		}
		n++
	}
	return n, nil
}

func restore[C cell](s *shard, k *kind, cells map[string]C, key string, c C, now int64, r *cellReader) {
	if !r.bad && c.due() > now {
		keep(s, k, cells, key, c, now)
	}
}

func (r *cellReader) tally(expires int64) tallyCell {
	at := int64(r.number())
	sums := Tally{math.Float64frombits(r.number()), math.Float64frombits(r.number())}
	return tallyCell{sums: sums.clean(), at: at, expires: expires}
}

func (r *cellReader) set(expires int64) setCell {
	extra, n := r.number(), r.number()
	if extra > maxMembers || n > maxMembers {
		r.bad = true
		return setCell{}
	}
	c := setCell{extra: int(extra), expires: expires}
	octets := r.take(int(n) * 8)
	c.members = make([]uint64, 0, len(octets)/8)
	for len(octets) > 0 {
		c.members = append(c.members, binary.BigEndian.Uint64(octets))
		octets = octets[8:]
	}
	slices.Sort(c.members)
	c.members = slices.Compact(c.members)
	return c
}
