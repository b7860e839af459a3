package state_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/state"
)

// bench is what a contract is tried on: a State, its clock, and what happens to its servers in the middle.
type bench struct {
	*state.State
	clock  *clock
	middle func()
	prefix string // of keys, so that contracts don't meet
}

func (b *bench) key(parts ...string) string { return state.Key(b.prefix, parts...) }

// contract is what every State does, wherever it keeps what it remembers.
func contract(t *testing.T, open func(t *testing.T, now func() time.Time) *state.State, middle func()) {
	c := newClock()
	s := open(t, c.Now)
	for _, part := range []struct {
		name string
		try  func(*testing.T, *bench)
	}{
		{"rate", tryRate}, {"rate of many at once", tryRateOfMany}, {"tally", tryTally}, {"set", trySet}, {"big set", tryBigSet},
		{"value", tryValue}, {"first value wins", tryPutNew}, {"delete", tryDelete}, {"list", tryList},
		{"hostile keys", tryHostileKeys}, {"callers who have left", tryCanceled}, {"a day", tryDay},
	} {
		t.Run(part.name, func(t *testing.T) {
			part.try(t, &bench{State: s, clock: c, middle: middle, prefix: strings.ReplaceAll(part.name, " ", "")})
		})
	}
}

func tryRate(t *testing.T, b *bench) {
	ctx, key := t.Context(), b.key("192.0.2.1")
	r := state.Rate{Count: 10, Per: 10 * time.Second, Burst: 4}
	for i := range 4 {
		if i == 2 {
			b.middle()
		}
		if ok, _ := b.Take(ctx, key, r, 1); !ok {
			t.Fatalf("event %d of a burst of 4 is refused", i+1)
		}
	}
	ok, retry := b.Take(ctx, key, r, 1)
	if ok || retry < 999*time.Millisecond || retry > time.Second {
		t.Errorf("the fifth at once: %v, retry in %v, want refused for 1s", ok, retry)
	}
	if ok, _ := b.Take(ctx, b.key("192.0.2.2"), r, 1); !ok {
		t.Error("another key is refused")
	}
	for i := range 20 { // refused events cost nothing: one a second goes on for ever
		b.clock.Pass(time.Second)
		if ok, _ := b.Take(ctx, key, r, 1); !ok {
			t.Fatalf("second %d is refused", i)
		}
		if ok, _ := b.Take(ctx, key, r, 1); ok {
			t.Fatalf("a second event of second %d is let through", i)
		}
	}
}

func tryRateOfMany(t *testing.T, b *bench) {
	ctx, key := t.Context(), b.key("a@example.com")
	r := state.Rate{Count: 100, Per: 100 * time.Second, Burst: 50}
	if ok, _ := b.Take(ctx, key, r, 51); ok {
		t.Error("51 at once are within a burst of 50")
	}
	if ok, _ := b.Take(ctx, key, r, 40); !ok {
		t.Error("40 at once are not within a burst of 50")
	}
	b.middle()
	if ok, retry := b.Take(ctx, key, r, 20); ok || retry.Round(time.Millisecond) != 10*time.Second {
		t.Errorf("20 more: %v, retry in %v, want refused for 10s", ok, retry)
	}
	if ok, _ := b.Take(ctx, key, r, 10); !ok {
		t.Error("10 more are refused: what was refused counts")
	}
	if ok, _ := b.Take(ctx, key, r, 0); !ok {
		t.Error("no event at all is refused")
	}
	b.clock.Pass(-time.Hour) // a clock that is set back must not lock anybody out
	b.clock.Pass(0)
	if _, retry := b.Take(ctx, key, r, 1); retry > 2*time.Second {
		t.Errorf("an hour set back: retry in %v", retry)
	}
	b.clock.Pass(time.Hour)
}

func near(a, b state.Tally) bool {
	return math.Abs(a[0]-b[0]) < 1e-3*(1+b[0]) && math.Abs(a[1]-b[1]) < 1e-3*(1+b[1])
}

func tryTally(t *testing.T, b *bench) {
	ctx, key, half := t.Context(), b.key("example.com"), time.Hour
	if got := b.Tally(ctx, key, state.Tally{}, half); got != (state.Tally{}) {
		t.Errorf("nothing was added: %v", got)
	}
	if got := b.Tally(ctx, key, state.Tally{8, 1}, half); !near(got, state.Tally{8, 1}) {
		t.Errorf("8 and 1: %v", got)
	}
	b.clock.Pass(time.Hour)
	b.middle()
	if got := b.Tally(ctx, key, state.Tally{}, half); !near(got, state.Tally{4, 0.5}) {
		t.Errorf("an hour later: %v, want half of 8 and 1", got)
	}
	if got := b.Tally(ctx, key, state.Tally{0, 3}, half); !near(got, state.Tally{4, 3.5}) {
		t.Errorf("3 more: %v", got)
	}
	if got := b.Tally(ctx, key, state.Tally{math.NaN(), -7}, half); !near(got, state.Tally{4, 3.5}) {
		t.Errorf("nonsense counts: %v", got)
	}
	b.clock.Pass(40 * time.Hour)
	if got := b.Tally(ctx, key, state.Tally{}, half); !near(got, state.Tally{}) {
		t.Errorf("two days later: %v", got)
	}
}

func trySet(t *testing.T, b *bench) {
	ctx, key := t.Context(), b.key("192.0.2.1")
	for i, want := range []struct {
		member string
		size   int
		fresh  bool
	}{{"a", 1, true}, {"b", 2, true}, {"a", 2, false}, {"", 3, true}, {"e", 4, true}, {"e", 4, false}} {
		if i == 3 {
			b.middle()
		}
		size, fresh := b.AddTo(ctx, key, want.member, time.Minute)
		if size != want.size || fresh != want.fresh {
			t.Errorf("%d: add %q: %d, %v, want %d, %v", i, want.member, size, fresh, want.size, want.fresh)
		}
		b.clock.Pass(30 * time.Second) // each add keeps the whole set for longer
	}
	if n := b.Size(ctx, key); n != 4 {
		t.Errorf("size %d, want 4", n)
	}
	b.clock.Pass(31 * time.Second)
	if n := b.Size(ctx, key); n != 0 {
		t.Errorf("size %d a minute after the last add, want 0", n)
	}
	if size, fresh := b.AddTo(ctx, key, "a", time.Minute); size != 1 || !fresh {
		t.Errorf("a new beginning: %d, %v", size, fresh)
	}
}

func tryBigSet(t *testing.T, b *bench) {
	if testing.Short() {
		t.Skip("10,000 members")
	}
	ctx, key := t.Context(), b.key("harvester")
	for i := range 10_050 {
		b.AddTo(ctx, key, fmt.Sprint(i), time.Hour)
	}
	if n := b.Size(ctx, key); n != 10_000 {
		t.Errorf("size %d, want the bound of 10000", n)
	}
	if _, fresh := b.AddTo(ctx, key, "17", time.Hour); fresh {
		t.Error("a member of a full set is new")
	}
}

func tryValue(t *testing.T, b *bench) {
	ctx, key := t.Context(), b.key("192.0.2.1")
	if v, ok := b.Get(ctx, key); ok {
		t.Errorf("nothing was put: %q", v)
	}
	value := []byte("a\x00b\r\n\xff{}")
	b.Put(ctx, key, value, time.Hour)
	value[0] = 'X'
	b.middle()
	if v, ok := b.Get(ctx, key); !ok || string(v) != "a\x00b\r\n\xff{}" {
		t.Errorf("got %q, %v", v, ok)
	}
	b.Put(ctx, key, nil, time.Hour)
	if v, ok := b.Get(ctx, key); !ok || len(v) != 0 {
		t.Errorf("an empty value: %q, %v", v, ok)
	}
	b.clock.Pass(time.Hour + time.Millisecond)
	if _, ok := b.Get(ctx, key); ok {
		t.Error("it outlives its time")
	}
	b.Put(ctx, key, bytes.Repeat([]byte("x"), 4097), time.Hour)
	b.Put(ctx, key, []byte("x"), 0)
	if v, ok := b.Get(ctx, key); ok {
		t.Errorf("a value that is too long, or for no time, is kept: %d octets", len(v))
	}
}

func tryPutNew(t *testing.T, b *bench) {
	ctx, key := t.Context(), b.key("triplet")
	var stored atomic.Int32
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if _, ok := b.PutNew(ctx, key, fmt.Appendf(nil, "by %d", i), time.Hour); ok {
				stored.Add(1)
			}
		})
	}
	all.Wait()
	if n := stored.Load(); n != 1 {
		t.Errorf("%d of 20 stored, want 1", n)
	}
	first, _ := b.Get(ctx, key)
	b.middle()
	if old, ok := b.PutNew(ctx, key, []byte("late"), time.Hour); ok || !bytes.Equal(old, first) {
		t.Errorf("late: %q, %v, want the old %q", old, ok, first)
	}
	b.clock.Pass(2 * time.Hour)
	if _, ok := b.PutNew(ctx, key, []byte("next"), time.Hour); !ok {
		t.Error("what has ended is in the way")
	}
}

func tryDelete(t *testing.T, b *bench) {
	ctx, key := t.Context(), b.key("192.0.2.1")
	r := state.Rate{Count: 1, Per: time.Hour, Burst: 1}
	b.Put(ctx, key, []byte("banned"), time.Hour)
	b.Take(ctx, key, r, 1)
	b.Tally(ctx, key, state.Tally{1, 1}, time.Hour)
	b.AddTo(ctx, key, "a", time.Hour)
	b.clock.Pass(time.Second)
	b.middle()
	b.Delete(ctx, key)
	if v, ok := b.Get(ctx, key); ok {
		t.Errorf("value %q", v)
	}
	if n := b.Size(ctx, key); n != 0 {
		t.Errorf("%d members", n)
	}
	if sums := b.Tally(ctx, key, state.Tally{}, time.Hour); sums != (state.Tally{}) {
		t.Errorf("tally %v", sums)
	}
	if ok, _ := b.Take(ctx, key, r, 1); !ok {
		t.Error("the rate is not forgotten")
	}
	if _, ok := b.PutNew(ctx, key, []byte("x"), time.Hour); !ok {
		t.Error("the deleted value is in the way")
	}
}

func tryList(t *testing.T, b *bench) {
	ctx := t.Context()
	for i := range 9 {
		b.Put(ctx, state.Key("ban", fmt.Sprint("192.0.2.", i)), fmt.Append(nil, i), time.Duration(i+1)*time.Minute)
	}
	b.Put(ctx, state.Key("banana", "x"), []byte("x"), time.Hour)
	b.Delete(ctx, state.Key("ban", "192.0.2.5"))
	b.middle()
	b.clock.Pass(2 * time.Minute)
	got := b.List(ctx, "ban:", 100)
	if len(got) != 6 || got[0].Key != "ban:{192.0.2.2}" || string(got[0].Value) != "2" || got[0].Expires.Sub(b.clock.Now()).Round(time.Second) != time.Minute {
		t.Errorf("%v, want the six that have not ended, in order", got)
	}
	if got := b.List(ctx, "ban:", 4); len(got) != 4 {
		t.Errorf("%d, want 4 at most", len(got))
	}
	if got := b.List(ctx, "ban:*", 4); len(got) != 0 {
		t.Errorf("%v for a star", got)
	}
}

func tryHostileKeys(t *testing.T, b *bench) {
	ctx := t.Context()
	for i, part := range []string{"", "*", "}{", "a\r\nFLUSHALL\r\n", strings.Repeat("x", 100_000), "\x00", "a|b", "ä"} {
		b.Put(ctx, b.key(part), fmt.Append(nil, i), time.Hour)
		b.Put(ctx, "raw:"+part, fmt.Append(nil, i), time.Hour)
	}
	b.middle()
	for i, part := range []string{"", "*", "}{", "a\r\nFLUSHALL\r\n", strings.Repeat("x", 100_000), "\x00", "a|b", "ä"} {
		for _, key := range []string{b.key(part), "raw:" + part} {
			if v, ok := b.Get(ctx, key); !ok || string(v) != fmt.Sprint(i) {
				t.Errorf("%.40q: %q, %v, want %d", key, v, ok, i)
			}
		}
	}
}

func tryCanceled(t *testing.T, b *bench) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	key, r := b.key("x"), state.Rate{Count: 1, Per: time.Hour, Burst: 1}
	if ok, _ := b.Take(ctx, key, r, 1); !ok {
		t.Error("the first is refused")
	}
	b.Put(ctx, key, []byte("v"), time.Hour)
	if v, ok := b.Get(ctx, key); !ok || string(v) != "v" {
		t.Errorf("%q, %v", v, ok)
	}
	if ok, _ := b.Take(ctx, key, r, 1); ok {
		t.Error("the second is let through")
	}
}

// A day of a client that sends as fast as it may: what is let through is the rate, to 1 %.
func tryDay(t *testing.T, b *bench) {
	for _, r := range []state.Rate{
		{Count: 10, Per: time.Minute, Burst: 10}, {Count: 7, Per: time.Hour, Burst: 3}, {Count: 1000, Per: 24 * time.Hour, Burst: 1},
	} {
		key, span := b.key(fmt.Sprint(r)), 100*r.Per/time.Duration(r.Count)*10
		step := r.Per / time.Duration(r.Count) / 8
		let := 0
		for at := time.Duration(0); at < span; at += step {
			if at == step {
				b.middle()
			}
			if ok, _ := b.Take(t.Context(), key, r, 1); ok {
				let++
			}
			b.clock.Pass(step)
		}
		want := float64(span)/float64(r.Per)*float64(r.Count) + float64(r.Burst)
		if math.Abs(float64(let)-want) > max(0.01*want, 1) {
			t.Errorf("%v: %d let through in %v, want %.0f", r, let, span, want)
		}
	}
}
