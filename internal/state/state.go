// Package state holds what the gateway remembers for a while: rates, decaying tallies, sets of distinct members, and
// values such as bans and greylist passes. One node keeps them in its memory, many nodes share them in Redis. What is
// remembered is soft: it is bounded, it expires, and the loss of Redis costs precision, never mail.
package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Bounds of what one call may bring. A longer key is hashed (see Key), a longer value is not kept.
const (
	maxKey     = 200
	maxValue   = 4096
	maxMembers = 10_000
)

// Tally is two sums that decay together, such as {bad, good}.
type Tally [2]float64

// Entry is one value as the console shows it.
type Entry struct {
	Key     string
	Value   []byte
	Expires time.Time
}

// Health says where the state lives and whether it is shared at the moment.
type Health struct {
	Backend  string    // "memory" or "redis"
	Degraded bool      // Redis is away: this node answers from its own memory
	Since    time.Time // of Degraded as it is
	Why      string    // the error that made it so, "" when all is well
	Keys     int       // in this node's memory; with Redis that is its shadow, not all there is
}

// State is what the gateway remembers. Its calls return no error: where Redis does not answer within its time-out
// (100 ms by default), the node's own memory does, and what it counted is merged when Redis is back.
type State struct {
	local  *memory
	shared *remote // nil without Redis
}

// remote is the state in Redis by what it can do. It names no type of the Redis client, whose thousand types every package
// that uses State would otherwise have to be compiled with.
type remote struct {
	rates interface {
		take(context.Context, string, cost) (bool, time.Duration)
	}
	tallies interface {
		tally(context.Context, string, Tally, time.Duration) Tally
	}
	sets interface {
		addTo(context.Context, string, uint64, time.Duration) (int, bool)
		size(context.Context, string) int
	}
	values interface {
		get(context.Context, string) ([]byte, bool)
		put(context.Context, string, valueCell)
		putNew(context.Context, string, valueCell) ([]byte, bool)
	}
	all interface {
		delete(context.Context, string)
		list(context.Context, string, int) []Entry
		close()
	}
	outage interface {
		now() (degraded bool, since time.Time, why string)
		ping(context.Context) error
	}
}

// MemoryOptions are the options of a State in memory.
type MemoryOptions struct {
	Now      func() time.Time // the clock of all decisions; time.Now by default
	MaxKeys  int              // about as many keys of usual size; 5,000,000 by default
	Snapshot string           // the file that survives a restart, "" for none
	Every    time.Duration    // between snapshots, 30 s by default
	Log      *slog.Logger
}

// NewMemory makes a State in memory and reads its last snapshot. A snapshot that can't be read is logged and kept
// aside. The error is of a snapshot's folder that can't be written.
func NewMemory(o MemoryOptions) (*State, error) {
	m, err := openMemory(o)
	if err != nil {
		return nil, err
	}
	return &State{local: m}, nil
}

// Take counts n events of a key if they are within the rate, else none, so that who waits is let in. Beyond the rate,
// retry says when they would be within. More events at once than the rate's burst are never within.
func (s *State) Take(ctx context.Context, key string, r Rate, n int) (ok bool, retry time.Duration) {
	key, c := bounded(key), costOf(r, n)
	if s.shared != nil {
		return s.shared.rates.take(ctx, key, c)
	}
	ok, _, retry = s.local.take(key, c)
	return ok, retry
}

// Tally adds to the two sums of a key, which halve in each half-life, and returns them as they are now. Adding zero
// reads and makes no key. Sums only grow by what is added: a negative number or NaN counts as zero.
func (s *State) Tally(ctx context.Context, key string, add Tally, half time.Duration) Tally {
	key, add, half = bounded(key), add.clean(), max(half, time.Millisecond)
	if s.shared != nil {
		return s.shared.tallies.tally(ctx, key, add, half)
	}
	return s.local.tally(key, add, half)
}

// AddTo adds a member to the set of a key and returns how many distinct members it has, and whether this one is new.
// The whole set expires when nothing was added for the time keep. It holds 10,000 members; those beyond count as new and
// are not kept. Members are kept as hashes of 8 octets.
func (s *State) AddTo(ctx context.Context, key, member string, keep time.Duration) (size int, fresh bool) {
	key, m := bounded(key), hashMember(member)
	if s.shared != nil {
		return s.shared.sets.addTo(ctx, key, m, keep)
	}
	return s.local.addTo(key, m, keep)
}

// Size is the number of distinct members in the set of a key.
func (s *State) Size(ctx context.Context, key string) int {
	key = bounded(key)
	if s.shared != nil {
		return s.shared.sets.size(ctx, key)
	}
	return s.local.size(key)
}

// Get returns a value that was put and has not expired.
func (s *State) Get(ctx context.Context, key string) ([]byte, bool) {
	key = bounded(key)
	if s.shared != nil {
		return s.shared.values.get(ctx, key)
	}
	v, ok := s.local.get(key)
	return []byte(v.octets), ok
}

// Put keeps a value of up to 4096 octets for a time. A longer one is not kept, nor is one for no time.
func (s *State) Put(ctx context.Context, key string, value []byte, keep time.Duration) {
	if len(value) > maxValue || keep <= 0 {
		return
	}
	key, v := bounded(key), s.local.newValue(value, keep)
	if s.shared != nil {
		s.shared.values.put(ctx, key, v)
		return
	}
	s.local.put(key, v)
}

// PutNew keeps a value unless the key has one: then it returns the old one. Of any number of callers on any number of
// nodes, one stores.
func (s *State) PutNew(ctx context.Context, key string, value []byte, keep time.Duration) (old []byte, stored bool) {
	key = bounded(key)
	if len(value) > maxValue || keep <= 0 {
		old, _ = s.Get(ctx, key)
		return old, false
	}
	v := s.local.newValue(value, keep)
	if s.shared != nil {
		return s.shared.values.putNew(ctx, key, v)
	}
	was, stored := s.local.putNew(key, v)
	if stored {
		return nil, true
	}
	return []byte(was.octets), false
}

// Delete forgets all that is kept under a key: its value, rate, tally and set.
func (s *State) Delete(ctx context.Context, key string) {
	key = bounded(key)
	if s.shared != nil {
		s.shared.all.delete(ctx, key)
		return
	}
	s.local.delete(key)
}

// List returns values whose keys begin with a prefix, at most so many, in the order of their keys. It is for the eyes of
// an admin: it walks over all keys and may take two seconds with Redis.
func (s *State) List(ctx context.Context, prefix string, limit int) []Entry {
	if s.shared != nil {
		return s.shared.all.list(ctx, prefix, limit)
	}
	return s.local.list(prefix, limit)
}

// Health says how the state is at the moment.
func (s *State) Health() Health {
	h := Health{Backend: "memory", Keys: s.local.len()}
	if s.shared != nil {
		h.Backend = "redis"
		h.Degraded, h.Since, h.Why = s.shared.outage.now()
	}
	return h
}

// ErrSlow says that Redis answers, but later than a question waits: this node answers from its own memory meanwhile.
var ErrSlow = errors.New("it answers too late")

// Ping asks Redis for a sign of life, past the time that a question has. Without Redis there is nothing to ask.
func (s *State) Ping(ctx context.Context) error {
	if s.shared == nil {
		return nil
	}
	return s.shared.outage.ping(ctx)
}

// Close ends the work in the background and writes the last snapshot, if there is one.
func (s *State) Close() error {
	if s.shared != nil {
		s.shared.all.close()
	}
	if err := s.local.close(); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}
