package state_test

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/state"
	"postern/internal/testing/redistest"
)

func openRedis(t testing.TB, o state.RedisOptions) *state.State {
	t.Helper()
	s, err := state.NewRedis(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// eventually waits for what takes some looks of the watch.
func eventually(t testing.TB, limit time.Duration, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("not so after %v: %s", limit, what)
}

func TestRedis(t *testing.T) {
	server := redistest.Start(t)
	contract(t, func(t *testing.T, now func() time.Time) *state.State {
		return openRedis(t, state.RedisOptions{Addresses: []string{server.Addr}, Now: now})
	}, func() {})
}

// The contract holds for two nodes that take turns: what one is told the other knows.
func TestRedisOfTwoNodes(t *testing.T) {
	server := redistest.Start(t)
	var nodes [2]*state.State
	var s state.State
	turn := 0
	contract(t, func(t *testing.T, now func() time.Time) *state.State {
		for i := range nodes {
			nodes[i] = openRedis(t, state.RedisOptions{Addresses: []string{server.Addr}, Now: now})
		}
		s = *nodes[0]
		return &s
	}, func() {
		turn++
		s = *nodes[turn%2]
	})
}

func TestSentinel(t *testing.T) {
	watched := redistest.StartWatched(t)
	var s *state.State
	var once sync.Once
	var calls sync.WaitGroup
	contract(t, func(t *testing.T, now func() time.Time) *state.State {
		s = openRedis(t, state.RedisOptions{Addresses: watched.Sentinels, Master: watched.Name, Now: now})
		if s.Health().Degraded {
			t.Fatal(s.Health().Why)
		}
		return s
	}, func() {
		once.Do(func() { // in the middle of the first part; the others run on as it fails over
			watched.Servers[0].Kill()
			calls.Go(func() { callOften(t, s, "rate:probe") })
		})
	})
	calls.Wait()
	eventually(t, 30*time.Second, "a replica has become the master and is used", func() bool { return !s.Health().Degraded })
}

func TestCluster(t *testing.T) {
	cluster := redistest.StartCluster(t)
	var s *state.State
	var once sync.Once
	contract(t, func(t *testing.T, now func() time.Time) *state.State {
		s = openRedis(t, state.RedisOptions{Addresses: cluster.Addrs(), Cluster: true, Now: now})
		return s
	}, func() {
		once.Do(func() {
			key := state.Key("rate", "192.0.2.1") // the contract's first: its slot moves
			r := state.Rate{Count: 1, Per: time.Hour, Burst: 10}
			n := 0
			cluster.MoveSlotOf(key, func() {
				for range 3 {
					if ok, _ := s.Take(t.Context(), "x"+key, r, 1); ok {
						n++
					}
				}
			})
			for range 10 {
				if ok, _ := s.Take(t.Context(), "x"+key, r, 1); ok {
					n++
				}
			}
			if n != 10 {
				t.Errorf("%d of a burst of 10 let through while the slot moved", n)
			}
			if h := s.Health(); h.Degraded {
				t.Errorf("a slot that moves is no outage: %s", h.Why)
			}
		})
	})
}

// Three nodes on one Redis, in real time and at 2000 events a second in sum: what is let through is the rate, to 5 %.
func TestRateOfThreeNodes(t *testing.T) {
	server := redistest.Start(t)
	r := state.Rate{Count: 400, Per: time.Second, Burst: 100}
	const span = 3 * time.Second
	var let, asked atomic.Int64
	var nodes sync.WaitGroup
	var opened []*state.State
	for range 3 {
		opened = append(opened, openRedis(t, state.RedisOptions{Addresses: []string{server.Addr}, Timeout: time.Second}))
	}
	start := time.Now()
	for _, s := range opened {
		nodes.Go(func() {
			for next := start; time.Since(start) < span; next = next.Add(1500 * time.Microsecond) {
				time.Sleep(time.Until(next))
				asked.Add(1)
				if ok, _ := s.Take(t.Context(), "rate:a", r, 1); ok {
					let.Add(1)
				}
			}
		})
	}
	nodes.Wait()
	want := float64(r.Burst) + float64(r.Count)*time.Since(start).Seconds()
	t.Logf("%d of %d events let through in %v, the rate is %.0f", let.Load(), asked.Load(), time.Since(start).Round(time.Millisecond), want)
	for _, s := range opened {
		if h := s.Health(); h.Degraded {
			t.Fatalf("Redis does not answer in a second: %s", h.Why)
		}
	}
	want = min(want, float64(asked.Load())) // on a machine too slow to send as much
	if off := math.Abs(float64(let.Load())-want) / want; off > 0.05 {
		t.Errorf("%.1f %% off", 100*off)
	}
}

// callOften calls for four seconds and minds how long it takes.
func callOften(t *testing.T, s *state.State, keys ...string) {
	var w stopwatch
	for start := time.Now(); time.Since(start) < 4*time.Second; time.Sleep(5 * time.Millisecond) {
		for _, key := range keys {
			w.time(func() { s.Take(context.Background(), key, slow(), 0) })
		}
	}
	if w.longest > 200*time.Millisecond {
		t.Errorf("a call took %v as servers were lost", w.longest)
	}
}

// One of a cluster's nodes is lost: calls go on, for its slots and the others, and it is noticed once, not again and
// again with each call for the lost slots.
func TestClusterLosesANode(t *testing.T) {
	for name, lose := range map[string]func(*redistest.Server){"killed": (*redistest.Server).Kill, "stalled": (*redistest.Server).Stop} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := redistest.StartCluster(t)
			var rung alarms
			s := openRedis(t, state.RedisOptions{Addresses: cluster.Addrs(), Cluster: true, Alarm: rung.ring})
			keys := make([]string, 12)
			for i := range keys {
				keys[i] = state.Key("rate", string(rune('a'+i)))
				s.Take(t.Context(), keys[i], slow(), 6)
			}
			lose(cluster.Nodes[1])
			for _, key := range keys {
				if ok, _ := s.Take(t.Context(), key, slow(), 5); ok {
					t.Errorf("%s begins anew", key)
				}
			}
			callOften(t, s, keys...)
			if got := rung.String(); got != "[true]" {
				t.Errorf("alarms: %s, want one", got)
			}
			if name == "killed" {
				cluster.Nodes[1].Restart()
			} else {
				cluster.Nodes[1].Continue()
			}
			eventually(t, 30*time.Second, "the cluster is whole again", func() bool { return !s.Health().Degraded })
			for _, key := range keys {
				if ok, _ := s.Take(t.Context(), key, slow(), 5); ok {
					t.Errorf("%s begins anew as the node is back", key)
				}
			}
		})
	}
}
