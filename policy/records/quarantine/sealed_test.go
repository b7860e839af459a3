package quarantine

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
)

func sealed(t *testing.T, dir string, now func() time.Time, keys ...[]byte) *Quarantine {
	t.Helper()
	q, err := OpenWith(dir, Options{Log: quiet(), Keys: keys, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close() }) // a test may have closed it
	return q
}

func key(n byte) []byte { return bytes.Repeat([]byte{n}, KeySize) }

// Messages around the size of a chunk come out as they went in, and nothing of them can be read in the file.
func TestSealed(t *testing.T) {
	dir := t.TempDir()
	q := sealed(t, dir, nil, key(1))
	for n, size := range []int{0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, mail.MemoryLimit + 5} {
		item, _ := sample(n)
		raw := []byte("Subject: x\r\n\r\n" + strings.Repeat("secret ", size/7+1))[:size+14]
		if size == 0 {
			raw = nil
		}
		if err := q.Hold(t.Context(), item, mail.Copy{Message: mail.NewMessage(bytes.Clone(raw))}); err != nil {
			t.Fatal(err)
		}
		got, m, err := q.Get(t.Context(), item.ID)
		if err != nil {
			t.Fatal(err)
		}
		octets, err := io.ReadAll(m.Open())
		if err != nil || !bytes.Equal(octets, raw) || got.Size != int64(len(raw)) {
			t.Errorf("%d octets: %d came out, %v", len(raw), len(octets), err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		file, err := os.ReadFile(filepath.Join(q.folder(item.ID), item.ID))
		if err != nil || bytes.Contains(file, []byte("secret")) {
			t.Errorf("the file of %d octets can be read by anybody, %v", len(raw), err)
		}
	}
}

func TestSealedNeedsItsKey(t *testing.T) {
	dir := t.TempDir()
	q := sealed(t, dir, nil, key(1))
	id := hold(t, q, 1)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		keys [][]byte
		want error
	}{"none": {nil, ErrKey}, "another": {[][]byte{key(2)}, ErrKey}, "a newer and its own": {[][]byte{key(2), key(1)}, nil}} {
		q := sealed(t, dir, nil, c.keys...)
		_, m, err := q.Get(t.Context(), id)
		if !errors.Is(err, c.want) || (m == nil) != (err != nil) {
			t.Errorf("%s: %v", name, err)
		}
		_ = m.Close()
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Whatever is changed in the file, it is an error, never other octets.
func TestSealedAndDamaged(t *testing.T) {
	dir := t.TempDir()
	q := sealed(t, dir, nil, key(1))
	item, _ := sample(1)
	raw := bytes.Repeat([]byte("Subject: x\r\n"), chunk/3)
	if err := q.Hold(t.Context(), item, mail.Copy{Message: mail.NewMessage(raw)}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(q.folder(item.ID), item.ID)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	body := bytes.IndexByte(whole, '\n') + 1
	one := chunk + 16
	flipped := bytes.Clone(whole)
	flipped[body+one+5] ^= 1
	swapped := bytes.Clone(whole)
	copy(swapped[body:], whole[body+one:][:one])
	copy(swapped[body+one:], whole[body:][:one])
	for name, damaged := range map[string][]byte{
		"a bit flipped": flipped, "chunks swapped": swapped, "cut behind a chunk": whole[:body+one], "cut within a chunk": whole[:len(whole)-3],
		"nothing left": whole[:body], "more behind": append(bytes.Clone(whole), whole[body:]...),
	} {
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, m, err := q.Get(t.Context(), item.ID); !errors.Is(err, ErrDamaged) || m != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := hold(t, q, 2)
	text := bytes.Replace(whole, []byte(item.ID), []byte(other), 1)
	if err := os.WriteFile(filepath.Join(q.folder(other), other), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := q.Get(t.Context(), other); !errors.Is(err, ErrDamaged) {
		t.Errorf("one message's octets under another's id: %v", err)
	}
}

// A wrong reject can be undone for a while.
func TestRejectedMail(t *testing.T) {
	now := time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	q := sealed(t, t.TempDir(), clock)
	item, content := sample(1)
	if err := q.HoldRejected(t.Context(), item, content, time.Hour); !errors.Is(err, ErrKey) {
		t.Errorf("kept in the clear: %v", err)
	}
	q = sealed(t, t.TempDir(), clock, key(1))
	for n := range 2 {
		item, content := sample(n)
		if err := q.HoldRejected(t.Context(), item, content, time.Duration(n+1)*time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if got := ids(t, q, Filter{}); got != "" {
		t.Errorf("what was refused stands among what was held: %q", got)
	}
	if got := ids(t, q, Filter{Category: Rejected}); got != "10" {
		t.Errorf("%q", got)
	}
	now = now.Add(90 * time.Minute)
	if n, err := q.Expire(t.Context(), time.Time{}); err != nil || n != 1 {
		t.Errorf("%d expired, %v", n, err)
	}
	undone, _ := sample(1)
	if r := claim(t, q, undone.ID, "helpdesk"); len(r.Recipients) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestLoadKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	first, err := LoadKey(path)
	if err != nil || len(first) != KeySize {
		t.Fatal(err)
	}
	again, err := LoadKey(path)
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("the next start has another key: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("too short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(path); err == nil || strings.Contains(err.Error(), "too short") {
		t.Errorf("%v", err)
	}
}
