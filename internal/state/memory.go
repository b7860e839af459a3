package state

import (
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxShards   = 256
	shardWeight = 1024 // the least a shard may hold, so that the largest set fits
	maxKinds    = 32
	sample      = 16          // cells looked at to find one to forget
	sweepTurn   = 64          // steps in which a sweep goes around all shards
	sweepEvery  = time.Second // between two steps
	snapEvery   = 30 * time.Second
)

// memory is a node's own state, in shards of a lock each.
type memory struct {
	clock    func() time.Time
	log      *slog.Logger
	seed     maphash.Seed
	shards   []shard
	snapshot snapshotFile
	stop     chan struct{}
	closed   atomic.Bool
	done     sync.WaitGroup
}

// shard weighs what it holds in units of about one small key.
type shard struct {
	mu            sync.Mutex
	kinds         map[string]*kind
	weight, limit int
	writes        uint64
}

// kind is what a shard holds of one kind of keys. When a shard is full, a kind beyond its fair share gives way: a flood
// of new rate keys pushes out rate keys, not bans.
type kind struct {
	weight  int
	rates   map[string]rateCell
	tallies map[string]tallyCell
	sets    map[string]setCell
	values  map[string]valueCell
}

func openMemory(o MemoryOptions) (*memory, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxKeys <= 0 {
		o.MaxKeys = 5_000_000
	}
	if o.Every <= 0 {
		o.Every = snapEvery
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	n := 1
	for n < maxShards && o.MaxKeys/(2*n) >= shardWeight {
		n *= 2
	}
	m := &memory{clock: o.Now, log: o.Log, seed: maphash.MakeSeed(), shards: make([]shard, n), stop: make(chan struct{})}
	for i := range m.shards {
		m.shards[i].kinds = map[string]*kind{}
		m.shards[i].limit = max(o.MaxKeys/n, 1)
	}
	if o.Snapshot != "" {
		m.snapshot = snapshotFile{path: o.Snapshot, memory: m}
		if err := m.snapshot.open(); err != nil {
			return nil, fmt.Errorf("state: %w", err)
		}
		m.done.Go(func() { m.each(o.Every, m.snapshot.writeIfChanged) })
	}
	m.done.Go(func() { m.each(sweepEvery, m.sweepStep()) })
	return m, nil
}

// each does something in the background until the memory is closed.
func (m *memory) each(every time.Duration, do func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-tick.C:
			do()
		}
	}
}

func (m *memory) close() error {
	if m.closed.Swap(true) {
		return nil
	}
	close(m.stop)
	m.done.Wait()
	if m.snapshot.path == "" {
		return nil
	}
	return m.snapshot.write()
}

func (m *memory) now() int64 { return m.clock().UnixNano() }

// at locks the shard of a key and gives what it holds of the key's kind.
func (m *memory) at(key string) (*shard, *kind) {
	s := &m.shards[maphash.String(m.seed, key)&uint64(len(m.shards)-1)]
	s.mu.Lock()
	name := kindOf(key)
	k := s.kinds[name]
	if k != nil {
		return s, k
	}
	if len(s.kinds) >= maxKinds {
		name = ""
	}
	if k = s.kinds[name]; k == nil {
		k = &kind{rates: map[string]rateCell{}, tallies: map[string]tallyCell{}, sets: map[string]setCell{}, values: map[string]valueCell{}}
		s.kinds[name] = k
	}
	return s, k
}

func (m *memory) len() int {
	n := 0
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		for _, k := range s.kinds {
			n += k.len()
		}
		s.mu.Unlock()
	}
	return n
}

func (k *kind) len() int { return len(k.rates) + len(k.tallies) + len(k.sets) + len(k.values) }

// weigh is what a cell counts for: one for most, more for what is long.
func weigh[C cell](key string, c C) int { return 1 + (len(key)+c.payload())/128 }

// keep stores a cell of a locked shard and makes room for it if that takes some.
func keep[C cell](s *shard, k *kind, cells map[string]C, key string, c C, now int64) {
	more := weigh(key, c)
	if old, known := cells[key]; known {
		more -= weigh(key, old)
	}
	if more > 0 && s.weight+more > s.limit {
		forget(s, k, cells, key) // it must not be what gives way
		more = weigh(key, c)
		s.makeRoom(k, more, now)
	}
	cells[key] = c
	s.weight += more
	k.weight += more
	s.writes++
}

// forget drops a cell of a locked shard.
func forget[C cell](s *shard, k *kind, cells map[string]C, key string) {
	if c, known := cells[key]; known {
		w := weigh(key, c)
		delete(cells, key)
		s.weight -= w
		k.weight -= w
		s.writes++
	}
}

// makeRoom forgets cells until there is room for so much more.
func (s *shard) makeRoom(own *kind, need int, now int64) {
	for range need + sample { // each round frees one or more
		if s.weight+need <= s.limit {
			return
		}
		k := own
		if own.weight <= s.limit/len(s.kinds) {
			k = s.heaviest()
		}
		k.forgetSome(s, now)
	}
}

func (s *shard) heaviest() *kind {
	var found *kind
	for _, k := range s.kinds {
		if found == nil || k.weight > found.weight {
			found = k
		}
	}
	return found
}

// forgetSome forgets what has expired of a small sample, or else what would expire first.
func (k *kind) forgetSome(s *shard, now int64) {
	switch limit := max(len(k.rates), len(k.tallies), len(k.sets), len(k.values)); limit {
	case len(k.rates):
		forgetFirst(s, k, k.rates, now)
	case len(k.values):
		forgetFirst(s, k, k.values, now)
	case len(k.tallies):
		forgetFirst(s, k, k.tallies, now)
	default:
		forgetFirst(s, k, k.sets, now)
	}
}

func forgetFirst[C cell](s *shard, k *kind, cells map[string]C, now int64) {
	looked, dropped := 0, false
	var first string
	var when int64
	for key, c := range cells { // a map begins anywhere: this is a sample
		switch due := c.due(); {
		case due <= now:
			forget(s, k, cells, key)
			dropped = true
		case looked == 0 || due < when:
			first, when = key, due
		}
		if looked++; looked >= sample {
			break
		}
	}
	if !dropped && looked > 0 {
		forget(s, k, cells, first)
	}
}

// sweepStep returns a function that forgets what has expired in the next few shards.
func (m *memory) sweepStep() func() {
	next := 0
	return func() {
		for range max(1, len(m.shards)/sweepTurn) {
			m.shards[next].sweep(m.now())
			next = (next + 1) % len(m.shards)
		}
	}
}

func (s *shard) sweep(now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.kinds {
		sweepCells(s, k, k.rates, now)
		sweepCells(s, k, k.tallies, now)
		sweepCells(s, k, k.sets, now)
		sweepCells(s, k, k.values, now)
	}
}

func sweepCells[C cell](s *shard, k *kind, cells map[string]C, now int64) {
	for key, c := range cells {
		if c.due() <= now {
			forget(s, k, cells, key)
		}
	}
}
