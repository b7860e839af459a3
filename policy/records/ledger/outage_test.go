package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/testing/pgtest"
)

// load puts records from several goroutines until stop is closed. It gives how many, and how long the longest call took.
func load(l *Ledger, stop <-chan struct{}) (records int, longest time.Duration) {
	var all sync.WaitGroup
	var mu sync.Mutex
	for g := range 4 {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					mu.Lock()
					records += n
					mu.Unlock()
					return
				case <-time.After(2 * time.Millisecond):
				}
				_, tx := sample(n)
				tx.ID = fmt.Sprintf("01J9G%dLOAD%06d.1", g, n)
				tx.ConnID = strings.TrimSuffix(tx.ID, ".1")
				begun := time.Now()
				l.Transaction(tx)
				took := time.Since(begun)
				mu.Lock()
				longest = max(longest, took)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return records, longest
}

// eventually waits until all is written.
func eventually(t testing.TB, l *Ledger) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if h := l.Health(); h.Waiting == 0 && h.Since.IsZero() && l.Flush(t.Context()) == nil {
			return
		} else if time.Now().After(end) {
			t.Fatalf("after a minute: %+v", h)
		}
	}
}

// PostgreSQL goes away in mid-load, in each way it can: mail flows, the records catch up, none is lost, none there twice.
func TestPostgreSQLGoesAway(t *testing.T) {
	s := pgtest.Start(t)
	for name, outage := range map[string]struct{ begin, end func() }{
		"killed": {s.Kill, s.Restart}, "stopped": {s.Stop, s.Restart}, "frozen": {s.Freeze, s.Continue},
	} {
		t.Run(name, func(t *testing.T) {
			url := s.Database("away" + name)
			var logged lockedBuffer
			l := ground{url: url}.open(t, Options{Spill: t.TempDir(), Log: slog.New(slog.NewTextHandler(&logged, nil))})
			stop, ended := make(chan struct{}), make(chan struct{})
			records, longest := 0, time.Duration(0)
			go func() {
				defer close(ended)
				records, longest = load(l, stop)
			}()
			time.Sleep(500 * time.Millisecond)
			outage.begin()
			down := time.Now()
			for l.Health().Since.IsZero() && time.Since(down) < 15*time.Second {
				time.Sleep(20 * time.Millisecond)
			}
			begun := time.Now()
			err := l.Flush(t.Context())
			if h := l.Health(); h.Since.IsZero() || h.Why == "" || !errors.Is(err, ErrAway) || time.Since(begun) > 5*time.Second {
				t.Errorf("%+v, Flush: %v after %v", h, err, time.Since(begun))
			}
			if _, err := l.Search(t.Context(), Query{}); !errors.Is(err, ErrAway) {
				t.Errorf("a search finds %v", err)
			}
			time.Sleep(500 * time.Millisecond)
			if h := l.Health(); h.Waiting < 100 {
				t.Errorf("%d records wait", h.Waiting)
			}
			outage.end()
			time.Sleep(500 * time.Millisecond)
			close(stop)
			<-ended
			eventually(t, l)
			if got := s.In(url).Do("SELECT count(*) FROM message"); got != strconv.Itoa(records) || l.Dropped() != 0 {
				t.Errorf("%s of %d are there, %d dropped", got, records, l.Dropped())
			}
			if longest > 250*time.Millisecond {
				t.Errorf("a call took %v", longest)
			}
			if text := logged.String(); strings.Contains(text, pgtest.Password) || strings.Contains(text, "s3cret") || strings.Count(text, "is away") != 1 || strings.Count(text, "is back") != 1 {
				t.Error(text)
			}
			t.Logf("%d records, the longest call took %v", records, longest)
		})
	}
}

// A server that is away when the gateway starts shows at once, keeps nothing from starting, and is used when it comes.
func TestPostgreSQLComesLater(t *testing.T) {
	s := pgtest.Start(t)
	s.Kill()
	l := ground{url: s.URL}.open(t, Options{})
	for end := time.Now().Add(10 * time.Second); l.Health().Since.IsZero(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody knows that it is away")
		}
	}
	s.Restart()
	for end := time.Now().Add(20 * time.Second); !l.Health().Since.IsZero(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody knows that it is back")
		}
	}
	_, tx := sample(1)
	l.Transaction(tx)
	if found, err := l.Search(t.Context(), Query{}); err != nil || len(found) != 1 {
		t.Error(found, err)
	}
}

// What waits at the end of one run is written by the next one, though the server was never there.
func TestRecordsOutlastARestart(t *testing.T) {
	s := pgtest.Start(t)
	url := s.Database("restart")
	s.Kill()
	spill := t.TempDir()
	const n = maxMemory + 3000 // so that there is a file before the end
	for run := range 2 {
		l := ground{url: url}.open(t, Options{Spill: spill})
		for i := range n {
			_, tx := sample(run*n + i)
			l.Transaction(tx)
			if i%5000 == 0 {
				time.Sleep(200 * time.Millisecond)
			}
		}
		if err := l.Close(); err != nil || l.Dropped() != 0 {
			t.Fatal(l.Dropped(), err)
		}
	}
	s.Restart()
	var logged lockedBuffer
	l := ground{url: url}.open(t, Options{Spill: spill, Log: slog.New(slog.NewTextHandler(&logged, nil))})
	eventually(t, l)
	if got := s.In(url).Do("SELECT count(*) FROM message"); got != strconv.Itoa(2*n) {
		t.Errorf("%s of %d, %d dropped\n%s", got, 2*n, l.Dropped(), logged.String())
	}
	if left, _ := filepath.Glob(spill + "/*"); len(left) != 0 {
		t.Errorf("files are left: %v", left)
	}
}

// Records that find no room are counted, and those that did are written in the end.
func TestSpillIsBounded(t *testing.T) {
	b := newBacklog(nil)
	_, tx := sample(1)
	e, err := tx.entry()
	if err != nil {
		t.Fatal(err)
	}
	for n := range maxMemory + 10 {
		if err := b.add(e); (err != nil) != (n >= maxMemory) {
			t.Fatal(n, err)
		}
	}
	s, err := openSpill(filepath.Join(t.TempDir(), "spill"), 20*int64(frameHeader+len(e.record)))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 30 {
		if err := s.add(e); errors.Is(err, errSpillFull) != (n >= 20) {
			t.Fatal(n, err)
		}
	}
	if got, err := s.take(); err != nil || len(got) != 20 || !s.empty() || s.size != 0 {
		t.Error(len(got), s.size, err)
	}
}

// Segments come back in their order, also those of an earlier run and those that a crash has cut.
func TestSpillKeepsOrder(t *testing.T) {
	dir := t.TempDir()
	s, err := openSpill(dir, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	entryOf := func(n int) entry {
		_, tx := sample(n)
		tx.Reply = strings.Repeat("x", 900)
		tx.Facts = nil
		e, err := tx.entry()
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	const n = 12000 // two segments or more
	for i := 100; i < n; i++ {
		if err := s.add(entryOf(i)); err != nil {
			t.Fatal(err)
		}
	}
	var first []entry
	for i := range 100 {
		first = append(first, entryOf(i))
	}
	if kept, err := s.before(first); err != nil || kept != 100 {
		t.Fatal(kept, err)
	}
	files, _ := filepath.Glob(dir + "/*.spill")
	if len(files) < 3 {
		t.Fatalf("%v", files)
	}
	last := files[len(files)-1]
	text, err := os.ReadFile(last)
	if err != nil || os.WriteFile(last, text[:len(text)-5], 0o600) != nil || os.WriteFile(dir+"/notes.txt", nil, 0o600) != nil {
		t.Fatal(err)
	}
	if s, err = openSpill(dir, 1<<30); err != nil {
		t.Fatal(err)
	}
	next, damaged := 0, 0
	for !s.empty() {
		got, err := s.take()
		if err != nil {
			damaged++
		}
		for _, e := range got {
			if want := entryOf(next); e.id != want.id || e.n != want.n || e.terms != want.terms || !bytes.Equal(e.record, want.record) {
				t.Fatalf("%s, want %s", e.id, want.id)
			}
			next++
		}
	}
	if next != n-1 || damaged != 1 {
		t.Errorf("%d of %d came back, %d files damaged", next, n, damaged)
	}
}

func FuzzSegment(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("m\x00\x00\x00\x02\x00\x00\x00\x00{}"))
	f.Add([]byte("c\xff\xff\xff\xff\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = readSegment(path)
	})
}

// A segment that was taken and is not written yet keeps its file, whatever is added meanwhile.
func TestSegmentNamesAreNotUsedAgain(t *testing.T) {
	s, err := openSpill(t.TempDir(), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	_, tx := sample(1)
	e, err := tx.entry()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 5 {
		if err := s.add(e); err != nil {
			t.Fatal(err)
		}
		if _, err := s.before([]entry{e}); err != nil {
			t.Fatal(err)
		}
		for !s.empty() {
			got, err := s.take()
			if err != nil || len(got) != 1 || seen[got[0].segment] {
				t.Fatal(got, err)
			}
			seen[got[0].segment] = true
		}
	}
}
