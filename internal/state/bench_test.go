package state_test

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"postern/internal/state"
	"postern/internal/testing/redistest"
)

// benchmarks are run as they are for memory, and through Redis.
func benchmarks(b *testing.B, s *state.State) {
	keys := make([]string, 4096)
	for i := range keys {
		keys[i] = state.Key("bench", fmt.Sprint("192.0.", i/256, ".", i%256))
		s.Put(b.Context(), keys[i], []byte("value"), time.Hour)
	}
	r := state.Rate{Count: 1_000_000, Per: time.Second, Burst: 1_000_000}
	for _, call := range []struct {
		name string
		call func(key string)
	}{
		{"Take", func(key string) { s.Take(b.Context(), key, r, 1) }},
		{"Tally", func(key string) { s.Tally(b.Context(), key, state.Tally{1, 0}, time.Hour) }},
		{"AddTo", func(key string) { s.AddTo(b.Context(), key, "a@example.com", time.Hour) }},
		{"Get", func(key string) { s.Get(b.Context(), key) }},
		{"Put", func(key string) { s.Put(b.Context(), key, []byte("value"), time.Hour) }},
	} {
		b.Run(call.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for i := 0; p.Next(); i++ {
					call.call(keys[i%len(keys)])
				}
			})
		})
	}
}

func BenchmarkMemory(b *testing.B) { benchmarks(b, openMemory(b, state.MemoryOptions{})) }

func BenchmarkRedis(b *testing.B) {
	server := redistest.Start(b)
	benchmarks(b, openRedis(b, state.RedisOptions{Addresses: []string{server.Addr}, Timeout: time.Second}))
}

func BenchmarkKey(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		state.Key("rate", "192.0.2.1", "alice@example.com")
	}
}

// TestMemoryOfManyKeys measures what a key takes. With more keys, as for the numbers in docs:
//
//	POSTERN_STATE_KEYS=5000000 go test -run ManyKeys -v ./internal/state
func TestMemoryOfManyKeys(t *testing.T) {
	n := 200_000
	if text := os.Getenv("POSTERN_STATE_KEYS"); text != "" {
		n, _ = strconv.Atoi(text)
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	ctx, r := t.Context(), state.Rate{Count: 10, Per: time.Hour, Burst: 10}
	for _, sort := range []struct {
		name  string
		limit float64 // octets
		add   func(s *state.State, i int)
	}{
		{"rate", 150, func(s *state.State, i int) { s.Take(ctx, address("rate", i), r, 1) }},
		{"tally", 200, func(s *state.State, i int) { s.Tally(ctx, address("rep", i), state.Tally{1, 0}, time.Hour) }},
		{"value of 20 octets", 250, func(s *state.State, i int) {
			s.Put(ctx, address("grey", i), []byte("12345678901234567890"), time.Hour)
		}},
	} {
		before := heap()
		s := openMemory(t, state.MemoryOptions{})
		start := time.Now()
		for i := range n {
			sort.add(s, i)
		}
		took := time.Since(start)
		keys := s.Health().Keys
		each := float64(heap()-before) / float64(keys)
		t.Logf("%d keys of a %s: %.0f octets each, %v for each to add", keys, sort.name, each, took/time.Duration(n))
		if each > sort.limit {
			t.Errorf("a %s takes %.0f octets, %.0f are the aim", sort.name, each, sort.limit)
		}
		if keys > 5_000_000 || keys < min(n, 4_900_000) {
			t.Errorf("%d keys of %d are remembered", keys, n)
		}
		_ = s.Close()
		runtime.KeepAlive(s)
	}
}

func address(kind string, i int) string {
	return state.Key(kind, fmt.Sprintf("%d.%d.%d.%d", 1+i>>24, i>>16&255, i>>8&255, i&255))
}
