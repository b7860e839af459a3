package state_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"postern/internal/state"
	"postern/internal/testing/redistest"
)

// alarms are what an admin is told.
type alarms struct {
	mu  sync.Mutex
	all []bool
}

func (a *alarms) ring(degraded bool, _ string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, degraded)
}

func (a *alarms) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprint(a.all)
}

// stopwatch keeps the longest call.
type stopwatch struct{ longest time.Duration }

func (w *stopwatch) time(call func()) {
	start := time.Now()
	call()
	w.longest = max(w.longest, time.Since(start))
}

// TestOutages takes Redis away in every way it goes, counts on, brings it back, and looks whether all was counted.
func TestOutages(t *testing.T) {
	for _, loss := range []struct {
		name string
		away func(*redistest.Server)
		back func(*redistest.Server)
		last time.Duration
		// a call that was on its way as the server stood still is counted there too, once it goes on
		twice int
	}{
		{"killed and back empty", (*redistest.Server).Kill, (*redistest.Server).Restart, 2 * time.Second, 0},
		{"read-only", func(s *redistest.Server) { s.Do("REPLICAOF", "127.0.0.1", "1") }, func(s *redistest.Server) { s.Do("REPLICAOF", "NO", "ONE") }, 2 * time.Second, 0},
		{"full", func(s *redistest.Server) { s.Do("CONFIG", "SET", "maxmemory", "1mb") }, func(s *redistest.Server) { s.Do("CONFIG", "SET", "maxmemory", "0") }, 2 * time.Second, 0},
		{"stalled", (*redistest.Server).Stop, (*redistest.Server).Continue, 5 * time.Second, 1},
		{"paused", func(s *redistest.Server) { s.Do("CLIENT", "PAUSE", "5000", "ALL") }, func(*redistest.Server) {}, 5 * time.Second, 1},
	} {
		t.Run(loss.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, "--maxmemory-policy", "noeviction")
			var rung alarms
			o := state.RedisOptions{Addresses: []string{server.Addr}}
			other := openRedis(t, o)
			o.Alarm = rung.ring
			s := openRedis(t, o)
			before(t, s, other)
			loss.away(server)
			during(t, s)
			eventually(t, 5*time.Second, "the alarm", func() bool { return rung.String() == "[true]" })
			if h := s.Health(); !h.Degraded || h.Why == "" || h.Backend != "redis" {
				t.Errorf("%+v", h)
			}
			for start := time.Now(); time.Since(start) < loss.last; time.Sleep(10 * time.Millisecond) {
				var w stopwatch
				if w.time(func() { s.Take(t.Context(), "rate:b", slow(), 1) }); w.longest > 200*time.Millisecond {
					t.Errorf("a call took %v", w.longest)
				}
			}
			loss.back(server)
			eventually(t, 20*time.Second, "Redis is back", func() bool { return !s.Health().Degraded && !other.Health().Degraded })
			eventually(t, time.Second, "the alarm ends", func() bool { return rung.String() == "[true false]" })
			after(t, s, other, loss.twice)
		})
	}
}

// slow is a rate that gives nothing back during a test.
func slow() state.Rate { return state.Rate{Count: 10, Per: 1000 * time.Hour, Burst: 10} }

func before(t *testing.T, s, other *state.State) {
	ctx := t.Context()
	s.Take(ctx, "rate:a", slow(), 1)
	other.Take(ctx, "rate:a", slow(), 2) // what another node counts, the shadow learns with the next answer
	s.Take(ctx, "rate:a", slow(), 1)
	other.Tally(ctx, "tally:a", state.Tally{3, 1}, 1000*time.Hour)
	s.Tally(ctx, "tally:a", state.Tally{1, 0}, 1000*time.Hour)
	other.AddTo(ctx, "set:a", "a", time.Hour)
	s.AddTo(ctx, "set:a", "b", time.Hour)
	s.Put(ctx, "value:kept", []byte("kept"), time.Hour)
	s.Put(ctx, "value:changed", []byte("old"), time.Hour)
	s.Put(ctx, "value:deleted", []byte("old"), time.Hour)
}

func during(t *testing.T, s *state.State) {
	ctx := t.Context()
	var w stopwatch
	for i := range 3 {
		w.time(func() {
			if ok, _ := s.Take(ctx, "rate:a", slow(), 1); !ok {
				t.Errorf("away: event %d is refused", i)
			}
		})
	}
	w.time(func() {
		if ok, _ := s.Take(ctx, "rate:a", slow(), 4); ok {
			t.Error("away: the rate began anew: 4 more after 7 of 10")
		}
	})
	w.time(func() {
		if got := s.Tally(ctx, "tally:a", state.Tally{2, 0}, 1000*time.Hour); !near(got, state.Tally{6, 1}) {
			t.Errorf("away: tally %v, want 6 and 1", got)
		}
	})
	w.time(func() {
		if size, fresh := s.AddTo(ctx, "set:a", "c", time.Hour); size != 3 || !fresh {
			t.Errorf("away: set %d, %v, want 3", size, fresh)
		}
	})
	w.time(func() {
		if v, _ := s.Get(ctx, "value:kept"); string(v) != "kept" {
			t.Errorf("away: value %q", v)
		}
	})
	w.time(func() { s.Put(ctx, "value:changed", []byte("new"), time.Hour) })
	w.time(func() { s.Delete(ctx, "value:deleted") })
	w.time(func() {
		if _, stored := s.PutNew(ctx, "value:fresh", []byte("fresh"), time.Hour); !stored {
			t.Error("away: a new value is not stored")
		}
	})
	if w.longest > 200*time.Millisecond {
		t.Errorf("a call took %v while Redis was away", w.longest)
	}
	start := time.Now()
	for range 1000 {
		s.Size(ctx, "set:a")
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("1000 calls take %v once it is known", took)
	}
}

func after(t *testing.T, s, other *state.State, twice int) {
	ctx := t.Context()
	for name, node := range map[string]*state.State{"this": s, "the other": other} {
		if ok, _ := node.Take(ctx, "rate:a", slow(), 4); ok {
			t.Errorf("back, %s node: the rate lost count: 4 more after 7 of 10", name)
		}
		if ok, _ := node.Take(ctx, "rate:a", slow(), 0); !ok {
			t.Errorf("back, %s node: nothing at all is refused", name)
		}
		if got := node.Tally(ctx, "tally:a", state.Tally{}, 1000*time.Hour); !near(got, state.Tally{6, 1}) {
			t.Errorf("back, %s node: tally %v, want 6 and 1", name, got)
		}
		eventually(t, 5*time.Second, "a set of 3, at "+name+" node", func() bool { return node.Size(ctx, "set:a") == 3 })
		for key, want := range map[string]string{"value:changed": "new", "value:deleted": "", "value:fresh": "fresh"} {
			if v, _ := node.Get(ctx, key); string(v) != want {
				t.Errorf("back, %s node: %s is %q, want %q", name, key, v, want)
			}
		}
	}
	if v, _ := s.Get(ctx, "value:kept"); string(v) != "kept" {
		t.Errorf("back: a value that nobody touched is %q", v)
	}
	if ok, _ := s.Take(ctx, "rate:a", slow(), 3-twice); !ok {
		t.Errorf("back: %d more of 10 are refused", 3-twice)
	}
	if ok, _ := other.Take(ctx, "rate:a", slow(), 1+twice); ok {
		t.Error("back: more than 10 of 10")
	}
}

// A State begins without Redis, and finds it later.
func TestRedisIsThereLater(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	var rung alarms
	var w stopwatch
	s := openRedis(t, state.RedisOptions{Addresses: []string{server.Addr}, Alarm: rung.ring})
	w.time(func() { s.Put(t.Context(), "value:a", []byte("a"), time.Hour) })
	if w.longest > 200*time.Millisecond || rung.String() != "[true]" {
		t.Errorf("%v, alarms %v", w.longest, &rung)
	}
	server.Restart()
	eventually(t, 20*time.Second, "Redis is found", func() bool { return !s.Health().Degraded })
	other := openRedis(t, state.RedisOptions{Addresses: []string{server.Addr}})
	if v, _ := other.Get(t.Context(), "value:a"); string(v) != "a" {
		t.Errorf("another node gets %q", v)
	}
}

// What very many keys counted is merged, in bounded time.
func TestManyKeysAreMerged(t *testing.T) {
	server := redistest.Start(t)
	s := openRedis(t, state.RedisOptions{Addresses: []string{server.Addr}})
	server.Do("REPLICAOF", "127.0.0.1", "1")
	const keys = 20_000
	for i := range keys {
		s.Take(t.Context(), state.Key("rate", fmt.Sprint(i)), slow(), 7)
		s.Tally(t.Context(), state.Key("tally", fmt.Sprint(i)), state.Tally{1, 2}, time.Hour)
	}
	server.Do("REPLICAOF", "NO", "ONE")
	start := time.Now()
	eventually(t, time.Minute, "Redis is back", func() bool { return !s.Health().Degraded })
	t.Logf("%d keys merged %v after Redis was back", 2*keys, time.Since(start).Round(time.Millisecond))
	other := openRedis(t, state.RedisOptions{Addresses: []string{server.Addr}, Timeout: time.Second})
	lost := 0
	for i := 0; i < keys; i += 20 {
		if ok, _ := other.Take(t.Context(), state.Key("rate", fmt.Sprint(i)), slow(), 4); ok {
			lost++
		}
		if got := other.Tally(t.Context(), state.Key("tally", fmt.Sprint(i)), state.Tally{}, time.Hour); !(got[0] > 0.9 && got[0] < 1.1 && got[1] > 1.9) {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of 2000 looked at are not there", lost)
	}
}

// What is under our keys and not ours is no outage, and nobody hears an error.
func TestForeignKeys(t *testing.T) {
	server := redistest.Start(t)
	s := openRedis(t, state.RedisOptions{Addresses: []string{server.Addr}})
	for _, sort := range []string{"r", "t", "s", "v"} {
		server.Do("LPUSH", "postern:"+sort+":list:a", "x")
		server.Do("SET", "postern:"+sort+":text:a", "garbage")
	}
	for _, key := range []string{"list:a", "text:a"} {
		ctx := t.Context()
		s.Take(ctx, key, slow(), 1)
		s.Tally(ctx, key, state.Tally{1, 1}, time.Hour)
		s.AddTo(ctx, key, "a", time.Hour)
		s.Size(ctx, key)
		s.Get(ctx, key)
		s.PutNew(ctx, key, []byte("x"), time.Hour)
		s.Put(ctx, key, []byte("x"), time.Hour)
		if v, _ := s.Get(ctx, key); string(v) != "x" {
			t.Errorf("%s: %q", key, v)
		}
	}
	if h := s.Health(); h.Degraded {
		t.Errorf("%+v", h)
	}
}

func TestRedisOptionsAreChecked(t *testing.T) {
	for _, o := range []state.RedisOptions{{}, {Addresses: []string{"127.0.0.1:1"}, Master: "m", Cluster: true}} {
		if s, err := state.NewRedis(o); err == nil {
			s.Close()
			t.Errorf("%+v is taken", o)
		}
	}
}
