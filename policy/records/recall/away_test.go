package recall

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"postern/internal/testing/pgtest"
)

// A hanging database delays no reader: what was read before applies, also after a recall that could not be written; if
// the list was never read, the error says so.
func TestDatabaseThatStandsStill(t *testing.T) {
	s := pgtest.Start(t)
	var clock sync.Mutex
	at := time.Unix(1_700_000_000, 0)
	now := func() time.Time { // each look is later than the last was fresh
		clock.Lock()
		defer clock.Unlock()
		at = at.Add(2 * time.Second)
		return at
	}
	l, unread := open(t, s.URL, now), open(t, s.URL, now)
	if err := l.Add(t.Context(), Entry{SHA256: sum, Why: "phishing"}); err != nil {
		t.Fatal(err)
	}
	if _, ok := l.Recalled(t.Context(), sum, ""); !ok || l.Ready(t.Context()) != nil {
		t.Fatal("it is not recalled")
	}
	s.Freeze()
	begun := time.Now()
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			for range 3 {
				if _, ok := l.Recalled(t.Context(), sum, ""); !ok {
					t.Error("what was read is forgotten")
				}
				_ = l.Granted(t.Context(), sum, fmt.Sprint("user", n))
			}
			if unread.Ready(t.Context()) == nil {
				t.Error("a list that was never read is taken for empty")
			}
		})
	}
	all.Wait()
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("readers waited %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if l.Add(ctx, Entry{MessageID: "<2@example.com>"}) == nil {
		t.Error("a recall was written into nothing")
	}
	if _, ok := l.Recalled(t.Context(), sum, ""); !ok {
		t.Error("a recall that failed makes the others be forgotten")
	}
	s.Continue()
	for range 100 {
		if unread.Ready(t.Context()) == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Error("the list is not read once the database is back")
}
