package digest

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/testing/pgtest"
)

func TestSQLite(t *testing.T) {
	contract(t, func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "digest.db") })
}

func TestPostgreSQL(t *testing.T) {
	server := pgtest.Start(t)
	n := 0
	contract(t, func(*testing.T) string {
		n++
		return server.Database(fmt.Sprintf("digest%d", n))
	})
}

func contract(t *testing.T, url func(*testing.T) string) {
	t.Run("spend", func(t *testing.T) { spends(t, url(t)) })
	t.Run("begin", func(t *testing.T) { begins(t, url(t)) })
}

func openStore(t *testing.T, url string, now func() time.Time) *Store {
	t.Helper()
	s, err := OpenStore(url, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A link works once, however often and wherever it is pressed.
func spends(t *testing.T, url string) {
	a, b := openStore(t, url, at), openStore(t, url, at)
	var first atomic.Int64
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			is, err := []*Store{a, b}[n%2].Spend(t.Context(), sample())
			if err != nil {
				t.Error(err)
			}
			if is {
				first.Add(1)
			}
		})
	}
	all.Wait()
	if first.Load() != 1 {
		t.Errorf("%d were first", first.Load())
	}
	other := sample()
	other.Item = "01J9ABCDEF000002.1-1"
	if is, err := a.Spend(t.Context(), other); err != nil || !is {
		t.Errorf("another link: %v, %v", is, err)
	}
	if err := a.Unspend(t.Context(), sample()); err != nil {
		t.Error(err)
	}
	if is, err := b.Spend(t.Context(), sample()); err != nil || !is {
		t.Errorf("given back: %v, %v", is, err)
	}
	if err := a.Expire(t.Context(), at()); err != nil {
		t.Error(err)
	}
	if is, err := b.Spend(t.Context(), sample()); err != nil || is {
		t.Errorf("used a second time after the clean-up: %v, %v", is, err)
	}
}

func begins(t *testing.T, url string) {
	var passed atomic.Int64
	now := func() time.Time { return at().Add(time.Duration(passed.Load())) }
	a, b := openStore(t, url, now), openStore(t, url, now)
	ann := address("ann@ours.test")
	begin := func(s *Store, slot time.Time) bool {
		t.Helper()
		mine, err := s.Begin(t.Context(), ann, slot)
		if err != nil {
			t.Fatal(err)
		}
		return mine
	}
	if !begin(a, at()) || begin(b, at()) {
		t.Error("two gateways send the same digest, or none does")
	}
	passed.Store(int64(lease + time.Second))
	if !begin(b, at()) {
		t.Error("the digest of a gateway that died is lost")
	}
	if err := b.Done(t.Context(), ann, at()); err != nil {
		t.Error(err)
	}
	passed.Store(int64(3 * lease))
	if begin(a, at()) {
		t.Error("the digest is sent again")
	}
	if !begin(a, at().Add(time.Hour)) {
		t.Error("no digest for the next slot")
	}
	last, err := a.Last(t.Context())
	if err != nil || !last["ann@ours.test"].Equal(at()) {
		t.Errorf("%v, %v", last, err)
	}
	if err := a.Undo(t.Context(), ann, at().Add(time.Hour)); err != nil || !begin(b, at().Add(time.Hour)) {
		t.Errorf("what failed is not tried again: %v", err)
	}
	if err := a.Expire(t.Context(), at().Add(100*time.Hour)); err != nil {
		t.Error(err)
	}
	if last, err := a.Last(t.Context()); err != nil || len(last) != 1 {
		t.Errorf("the last digest is forgotten: %v, %v", last, err)
	}
}
