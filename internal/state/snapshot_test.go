package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// full is a memory with some of everything.
func full(t testing.TB, o MemoryOptions, keys int) *State {
	t.Helper()
	s, err := NewMemory(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for i := range keys {
		name := fmt.Sprint(i)
		s.Take(ctx, Key("rate", name), Rate{Count: 1, Per: time.Hour, Burst: 5}, 2)
		s.Tally(ctx, Key("tally", name), Tally{float64(i), 1}, time.Hour)
		s.AddTo(ctx, Key("set", name), "a", time.Hour)
		s.AddTo(ctx, Key("set", name), "b", time.Hour)
		s.Put(ctx, Key("value", name), []byte(name), time.Hour)
	}
	return s
}

// checkFull says what of full is not as it was.
func checkFull(t *testing.T, s *State, keys int) {
	t.Helper()
	ctx := t.Context()
	for i := range keys {
		name := fmt.Sprint(i)
		if ok, _ := s.Take(ctx, Key("rate", name), Rate{Count: 1, Per: time.Hour, Burst: 5}, 4); ok {
			t.Fatalf("rate %d begins anew", i)
		}
		if got := s.Tally(ctx, Key("tally", name), Tally{}, time.Hour); got[0] < float64(i)*0.9 || got[1] < 0.9 {
			t.Fatalf("tally %d is %v", i, got)
		}
		if n := s.Size(ctx, Key("set", name)); n != 2 {
			t.Fatalf("set %d has %d members", i, n)
		}
		if v, _ := s.Get(ctx, Key("value", name)); string(v) != name {
			t.Fatalf("value %d is %q", i, v)
		}
	}
}

func TestSnapshotSurvivesARestart(t *testing.T) {
	o := MemoryOptions{Snapshot: filepath.Join(t.TempDir(), "state")}
	if err := full(t, o, 5000).Close(); err != nil {
		t.Fatal(err)
	}
	s, err := NewMemory(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	checkFull(t, s, 5000)
	if n := s.Health().Keys; n != 20_000 {
		t.Errorf("%d keys, want 20000", n)
	}
}

// A file that is not whole or not ours is logged, kept aside and not used, not even in part.
func TestSnapshotOfNoUse(t *testing.T) {
	var whole bytes.Buffer
	s := full(t, MemoryOptions{}, 200)
	defer s.Close()
	if err := writeSnapshot(&whole, s.local); err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole.Bytes())
	flipped[len(flipped)/2] ^= 1
	for name, octets := range map[string][]byte{
		"empty": {}, "foreign": []byte("-- sqlite, or so\n"), "torn": whole.Bytes()[:whole.Len()/2], "flipped": flipped,
		"without its end": whole.Bytes()[:whole.Len()-16], "longer": append(bytes.Clone(whole.Bytes()), 0),
		"of another form": bytes.Replace(whole.Bytes(), []byte("state 1"), []byte("state 9"), 1),
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "state")
			if err := os.WriteFile(file, octets, 0o600); err != nil {
				t.Fatal(err)
			}
			var log strings.Builder
			s, err := NewMemory(MemoryOptions{Snapshot: file, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if n := s.Health().Keys; n != 0 {
				t.Errorf("%d keys are taken from it", n)
			}
			if !strings.Contains(log.String(), "can't be read") {
				t.Errorf("the log says %q", &log)
			}
			if kept, err := os.ReadFile(file + ".unreadable"); err != nil || !bytes.Equal(kept, octets) {
				t.Errorf("it is not kept aside: %v", err)
			}
		})
	}
}

func TestSnapshotFolderThatCanNotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewMemory(MemoryOptions{Snapshot: filepath.Join(file, "state")}); err == nil {
		t.Error("a folder that is a file is taken")
	}
}

const childFile = "POSTERN_STATE_TEST_SNAPSHOT"

// TestSnapshotChild is the child of the test below: it writes snapshots until it is killed.
func TestSnapshotChild(t *testing.T) {
	file := os.Getenv(childFile)
	if file == "" {
		t.Skip("a part of TestSnapshotSurvivesKill")
	}
	s := full(t, MemoryOptions{Snapshot: file, Every: time.Hour}, 5000)
	for {
		if err := s.local.snapshot.write(); err != nil {
			t.Fatal(err)
		}
	}
}

// A process that is killed in the middle of a snapshot leaves the one before.
func TestSnapshotSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "state")
	torn := 0
	for round := range 12 {
		child := exec.Command(os.Args[0], "-test.run=^TestSnapshotChild$")
		child.Env = append(os.Environ(), childFile+"="+file)
		_ = os.Remove(file)
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		for range 500 { // the first is there, and then some
			if _, err := os.Stat(file); err == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(time.Duration(round*7) * time.Millisecond)
		_ = child.Process.Kill()
		_ = child.Wait()
		if part, err := os.ReadFile(file + ".new"); err == nil {
			if _, err := readSnapshot(bytes.NewReader(part), mustMemory(t)); err != nil {
				torn++
			}
		}
		s, err := NewMemory(MemoryOptions{Snapshot: file})
		if err != nil {
			t.Fatal(err)
		}
		checkFull(t, s, 5000)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("12 kills, %d of them in the middle of writing", torn)
}

// A snapshot copies a shard at a time: calls go on meanwhile.
func TestSnapshotHoldsNobodyUp(t *testing.T) {
	keys := 50_000 // of each of the four sorts
	if text := os.Getenv("POSTERN_STATE_KEYS"); text != "" {
		n, _ := strconv.Atoi(text)
		keys = n / 4
	}
	s := full(t, MemoryOptions{Snapshot: filepath.Join(t.TempDir(), "state"), Every: time.Hour}, keys)
	defer s.Close()
	written := make(chan time.Duration)
	go func() {
		start := time.Now()
		if err := s.local.snapshot.write(); err != nil {
			t.Error(err)
		}
		written <- time.Since(start)
	}()
	longest, calls := time.Duration(0), 0
	for {
		select {
		case took := <-written:
			t.Logf("%d keys written in %v; the longest of %d calls meanwhile took %v", s.Health().Keys, took, calls, longest)
			if longest > time.Second {
				t.Errorf("a call took %v while a snapshot was written", longest)
			}
			return
		default:
			start := time.Now()
			s.Take(t.Context(), Key("rate", fmt.Sprint(calls%keys)), Rate{Count: 1, Per: time.Hour, Burst: 5}, 1)
			longest = max(longest, time.Since(start))
			calls++
		}
	}
}

func mustMemory(t testing.TB) *memory {
	t.Helper()
	s, err := NewMemory(MemoryOptions{MaxKeys: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.local
}

func FuzzSnapshot(f *testing.F) {
	var whole bytes.Buffer
	s := full(f, MemoryOptions{MaxKeys: 1000}, 5)
	if err := writeSnapshot(&whole, s.local); err != nil {
		f.Fatal(err)
	}
	_ = s.Close()
	f.Add(whole.Bytes())
	f.Add(whole.Bytes()[:whole.Len()-9])
	f.Add([]byte(snapshotForm))
	f.Add([]byte{})
	for _, cells := range []string{
		"r\x00\x01k\x7f\xff\xff\xff\xff\xff\xff\xff", "t\x00\x01k\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f\xf8",
		"s\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff", "v\xff\xff",
	} {
		f.Add(snapshotOf([]byte(cells)))
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		for _, file := range [][]byte{octets, snapshotOf(octets)} { // the second has good checksums
			m := mustMemory(t)
			n, err := readSnapshot(bytes.NewReader(file), m)
			if err != nil {
				continue
			}
			if kept := m.len(); uint64(kept) > n {
				t.Fatalf("%d cells of %d", kept, n)
			}
			var again bytes.Buffer
			if err := writeSnapshot(&again, m); err != nil {
				t.Fatal(err)
			}
			if _, err := readSnapshot(&again, mustMemory(t)); err != nil {
				t.Fatalf("what was read is written so that it can't be: %v", err)
			}
		}
	})
}

// snapshotOf makes a file whose one block is as given, with right checksums and counts if the cells are good.
func snapshotOf(cells []byte) []byte {
	var b bytes.Buffer
	b.WriteString(snapshotForm)
	m, err := openMemory(MemoryOptions{MaxKeys: 1000})
	if err != nil {
		return nil
	}
	defer m.close()
	n, _ := m.readCells(cells[:min(len(cells), maxBlock)], m.now())
	_ = writeBlock(&b, cells[:min(len(cells), maxBlock)])
	_ = writeBlock(&b, nil)
	_ = writeBlock(&b, binary.BigEndian.AppendUint64(nil, n))
	return b.Bytes()
}
