package state

import (
	"fmt"
	"testing"
	"time"
)

func TestRatesLetTheRateThrough(t *testing.T) {
	now := time.Unix(1e9, 0)
	r := NewRates(0)
	rate := Rate{Count: 10, Per: 10 * time.Second, Burst: 3}
	for i := range 3 {
		if ok, _ := r.Allow("a", rate, now); !ok {
			t.Fatalf("event %d of a burst of 3 is refused", i+1)
		}
	}
	ok, retry := r.Allow("a", rate, now)
	if ok || retry != time.Second {
		t.Errorf("the fourth at once: %v, retry in %v, want refused for 1s", ok, retry)
	}
	if ok, _ := r.Allow("b", rate, now); !ok {
		t.Error("another key is refused")
	}
	for i := range 20 { // refused events cost nothing: one a second goes on for ever
		now = now.Add(time.Second)
		if ok, _ := r.Allow("a", rate, now); !ok {
			t.Fatalf("second %d is refused", i)
		}
	}
}

func TestRatesAreBounded(t *testing.T) {
	r := NewRates(6400)
	now := time.Unix(1e9, 0)
	start := time.Now()
	for i := range 40_000 {
		r.Allow(fmt.Sprint(i), Rate{Count: 1, Per: time.Hour, Burst: 1}, now)
	}
	if n := r.Len(); n > 6400 {
		t.Errorf("%d keys, want 6400 at most", n)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("a flood of keys takes %v", took)
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]Rate{"100/1h": {100, time.Hour, 100}, "5/minute": {5, time.Minute, 5}, " 2 / 30s": {2, 30 * time.Second, 2}} {
		if got, err := ParseRate(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "100", "0/1h", "-1/1h", "x/1h", "1/x", "1/0s", "1/-1s"} {
		if _, err := ParseRate(text); err == nil {
			t.Errorf("%q is a rate", text)
		}
	}
}

func BenchmarkAllow(b *testing.B) {
	r := NewRates(0)
	now := time.Unix(1e9, 0)
	rate := Rate{Count: 100, Per: time.Hour, Burst: 100}
	b.RunParallel(func(p *testing.PB) {
		for i := 0; p.Next(); i++ {
			r.Allow("192.0.2.1", rate, now)
		}
	})
}
