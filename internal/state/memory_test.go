package state_test

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/state"
)

func openMemory(t testing.TB, o state.MemoryOptions) *state.State {
	t.Helper()
	s, err := state.NewMemory(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestMemory(t *testing.T) {
	contract(t, func(t *testing.T, now func() time.Time) *state.State {
		return openMemory(t, state.MemoryOptions{Now: now})
	}, func() {})
}

// The contract holds across restarts too: in the middle of each part.
func TestMemoryRestarts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sub", "state")
	var s *state.State
	var o state.MemoryOptions
	contract(t, func(t *testing.T, now func() time.Time) *state.State {
		o = state.MemoryOptions{Now: now, Snapshot: file, Log: slog.New(slog.DiscardHandler)}
		s, _ = state.NewMemory(o)
		return s
	}, func() {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		next, err := state.NewMemory(o)
		if err != nil {
			t.Fatal(err)
		}
		*s = *next
	})
}

// A flood of new rate keys pushes out rate keys, not what is worth more.
func TestFloodForgetsItsOwnKind(t *testing.T) {
	c := newClock()
	const limit = 20_000
	s := openMemory(t, state.MemoryOptions{Now: c.Now, MaxKeys: limit})
	ctx := t.Context()
	for i := range 2000 {
		s.Put(ctx, state.Key("ban", fmt.Sprint(i)), []byte("smtp"), time.Hour)
		s.AddTo(ctx, state.Key("mates", fmt.Sprint(i)), "a", time.Hour)
	}
	r := state.Rate{Count: 1, Per: time.Hour, Burst: 5}
	for i := range 10 * limit {
		s.Take(ctx, state.Key("rate", fmt.Sprint(i)), r, 1)
	}
	bans, mates := 0, 0
	for i := range 2000 {
		if _, ok := s.Get(ctx, state.Key("ban", fmt.Sprint(i))); ok {
			bans++
		}
		mates += s.Size(ctx, state.Key("mates", fmt.Sprint(i)))
	}
	if bans != 2000 || mates != 2000 {
		t.Errorf("after a flood of rates %d of 2000 bans and %d of 2000 sets are left", bans, mates)
	}
	if n := s.Health().Keys; n > limit || n < limit*9/10 {
		t.Errorf("%d keys, want about %d and not more", n, limit)
	}
}

// Among a kind, what would soonest be forgotten anyway goes first: a heavy sender stays known.
func TestFloodForgetsTheLightFirst(t *testing.T) {
	c := newClock()
	s := openMemory(t, state.MemoryOptions{Now: c.Now, MaxKeys: 4096})
	r := state.Rate{Count: 100, Per: time.Hour, Burst: 100}
	for i := range 20 {
		s.Take(t.Context(), state.Key("rate", "heavy", fmt.Sprint(i)), r, 100)
	}
	for i := range 100_000 {
		s.Take(t.Context(), state.Key("rate", fmt.Sprint(i)), r, 1)
	}
	for i := range 20 {
		if ok, _ := s.Take(t.Context(), state.Key("rate", "heavy", fmt.Sprint(i)), r, 1); ok {
			t.Fatalf("heavy sender %d begins anew after a flood", i)
		}
	}
}

// Long values and sets weigh more: the bound is of memory, not only of keys.
func TestLongValuesAreBounded(t *testing.T) {
	s := openMemory(t, state.MemoryOptions{MaxKeys: 4096})
	value := []byte(strings.Repeat("x", 4000))
	for i := range 10_000 {
		s.Put(t.Context(), state.Key("v", fmt.Sprint(i)), value, time.Hour)
	}
	if n := s.Health().Keys; n > 4096/32+4 {
		t.Errorf("%d values of 4000 octets in the room of 4096 keys", n)
	}
}

func TestKeys(t *testing.T) {
	long := strings.Repeat("x", 65)
	for want, got := range map[string]string{
		"grey:{192.0.2.0/24|a@example.com}": state.Key("grey", "192.0.2.0/24", "a@example.com"),
		"rate:{2001:db8::1}":                state.Key("rate", "2001:db8::1"),
		"rate:{}":                           state.Key("rate"),
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	seen := map[string][]string{}
	for _, parts := range [][]string{
		{"a", "b"}, {"a|b"}, {"ab"}, {"a", "", "b"}, {"", "a", "b"}, {"a}", "b"}, {long}, {long + "x"}, {"a\n"}, {"a\r"}, {"#abc"}, {"A", "b"},
		{strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64), "d"}, {strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64), "e"},
	} {
		key := state.Key("k", parts...)
		if was, ok := seen[key]; ok {
			t.Errorf("%q and %q are both %s", was, parts, key)
		}
		seen[key] = parts
		if len(key) > 200 || strings.ContainsAny(key[3:len(key)-1], "{}*?[]\\ \r\n\x00") || !strings.HasPrefix(key, "k:{") {
			t.Errorf("%q: %q", parts, key)
		}
	}
}
