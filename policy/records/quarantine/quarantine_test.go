package quarantine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/mail"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func open(t *testing.T, dir string) *Quarantine {
	t.Helper()
	q, err := Open(dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
	return q
}

const top = "X-Postern: 01J9 quarantine 7\r\n"

func sample(n int) (Item, mail.Copy) {
	raw := fmt.Appendf(nil, "From: Bob <bob@example.org>\r\nSubject: cheap pills %d\r\n\r\n.leading dot\r\nbody\r\n", n)
	return Item{
		ID: fmt.Sprintf("01J9ABCDEF%06d.1", n), Time: time.Date(2026, 5, 3, 12, 0, n, 0, time.UTC),
		From:       mail.Address{Local: "bob", Domain: "example.org"},
		Params:     mail.Params{Body: "8BITMIME", EnvID: "x"},
		Recipients: []mail.Recipient{{Address: mail.Address{Local: "Ann", Domain: "example.com"}, Notify: []string{"FAILURE"}}},
		Route:      mail.RouteTo("default"), Reason: "Held: the score of 7 reaches 6.", Subject: fmt.Sprintf("cheap pills %d", n), HeaderFrom: "Bob <bob@example.org>",
	}, mail.Copy{Top: []byte(top), Message: mail.NewMessage(raw)}
}

func hold(t *testing.T, q *Quarantine, n int) string {
	t.Helper()
	item, content := sample(n)
	if err := q.Hold(t.Context(), item, content); err != nil {
		t.Fatal(err)
	}
	return item.ID
}

func claim(t *testing.T, q *Quarantine, id, by string, recipients ...mail.Address) Release {
	t.Helper()
	r, err := q.Claim(t.Context(), id, by, recipients...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ids(t *testing.T, q *Quarantine, f Filter) string {
	t.Helper()
	list, err := q.List(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, item := range list {
		found = append(found, string(item.ID[15]))
	}
	return strings.Join(found, "")
}

// What comes out is octet by octet what went in, with all that is needed to deliver it.
func TestHoldAndGet(t *testing.T) {
	q := open(t, t.TempDir())
	id := hold(t, q, 1)
	item, m, err := q.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	got, err := io.ReadAll(m.Open())
	_, content := sample(1)
	want, _ := io.ReadAll(content.Open())
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if item.State != Held || item.Recipients[0].Address.String() != "Ann@example.com" || item.Params.EnvID != "x" || item.Size != int64(len(want)) || m.Header().Get("Subject") != "cheap pills 1" {
		t.Errorf("%+v", item)
	}
}

func TestList(t *testing.T) {
	q := open(t, t.TempDir())
	for n := range 5 {
		hold(t, q, n)
	}
	item, content := sample(7)
	item.Recipients = append(item.Recipients, mail.Recipient{Address: mail.Address{Local: "ben", Domain: "bücher.example"}})
	item.Subject = "Invoice 100% \"due\""
	if err := q.Hold(t.Context(), item, content); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)
	for want, f := range map[string]Filter{
		"743210": {}, "74": {Limit: 2}, "32": {Since: at.Add(2 * time.Second), Until: at.Add(4 * time.Second)},
		"7": {Recipient: "BEN@xn--bcher-kva.example"}, "43210": {Text: "CHEAP"}, "": {State: Released},
	} {
		if got := ids(t, q, f); got != want {
			t.Errorf("%+v: %q, want %q", f, got, want)
		}
	}
	for _, f := range []Filter{{Recipient: "bücher.example"}, {Text: `100% "`}} {
		if got := ids(t, q, f); got != "7" {
			t.Errorf("%+v: %q, want 7", f, got)
		}
	}
	for _, text := range []string{"bob@EXAMPLE.org", "Bob <bob"} {
		if got := ids(t, q, Filter{Text: text}); got != "743210" {
			t.Errorf("%s: %q", text, got)
		}
	}
}

// However many press the button at once, the message leaves once.
func TestOneWinnerAmongParallelReleases(t *testing.T) {
	q := open(t, t.TempDir())
	id := hold(t, q, 1)
	var winners, losers atomic.Int64
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			switch _, err := q.Claim(context.Background(), id, fmt.Sprint("admin", i)); {
			case err == nil:
				winners.Add(1)
			case errors.Is(err, ErrTaken):
				losers.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if winners.Load() != 1 || losers.Load() != 19 {
		t.Errorf("%d winners, %d losers", winners.Load(), losers.Load())
	}
	if err := q.Delete(t.Context(), id, "ann"); !errors.Is(err, ErrTaken) {
		t.Errorf("deleted while it is released: %v", err)
	}
	for range 2 {
		if err := q.Finish(t.Context(), Release{Item: id, Number: 1}); err != nil {
			t.Error(err)
		}
	}
	if _, err := q.Claim(t.Context(), id, "late"); !errors.Is(err, ErrTaken) {
		t.Error(err)
	}
	item, m, err := q.Get(t.Context(), id)
	if err != nil || item.State != Released || !strings.HasPrefix(item.By, "admin") {
		t.Fatalf("%+v, %v", item, err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

func TestReturn(t *testing.T) {
	q := open(t, t.TempDir())
	id := hold(t, q, 1)
	if err := q.Finish(t.Context(), Release{Item: id, Number: 1}); err == nil {
		t.Error("finished though nobody claimed it")
	}
	r := claim(t, q, id, "ann")
	if err := q.Return(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Claim(t.Context(), id, "ben"); err != nil {
		t.Errorf("it can't be claimed again: %v", err)
	}
}

// A crash between claim and queueing is picked up at the next start; one behind the moving of the file, too.
func TestUnfinishedReleases(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	claimed, moved := hold(t, q, 1), hold(t, q, 2)
	hold(t, q, 3)
	for _, id := range []string{claimed, moved} {
		claim(t, q, id, "ann")
	}
	if err := makeFolder(q.leftFolder(moved)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(q.folder(moved), moved), filepath.Join(q.leftFolder(moved), moved)); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = open(t, dir)
	list, err := q.Unfinished(t.Context())
	if err != nil || len(list) != 1 || list[0].Item != claimed || list[0].By != "ann" {
		t.Errorf("%+v, %v", list, err)
	}
	if got := ids(t, q, Filter{State: Released}); got != "2" {
		t.Errorf("released: %q", got)
	}
}

// The index is only an index: lost or damaged, it is made anew, and what was released is not held again.
func TestIndexIsMadeAnew(t *testing.T) {
	for name, harm := range map[string]func(string) error{
		"lost":    os.Remove,
		"damaged": func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			q, err := Open(dir, quiet())
			if err != nil {
				t.Fatal(err)
			}
			for n := range 4 {
				hold(t, q, n)
			}
			out := hold(t, q, 5)
			if err := q.Finish(t.Context(), claim(t, q, out, "ann")); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(q.Close(), harm(filepath.Join(dir, "index.db"))); err != nil {
				t.Fatal(err)
			}
			q = open(t, dir)
			if got := ids(t, q, Filter{}); got != "3210" {
				t.Errorf("held: %q", got)
			}
			if got := ids(t, q, Filter{State: Released}); got != "5" {
				t.Errorf("released: %q", got)
			}
		})
	}
}

func TestFilesTakenAwayByHand(t *testing.T) {
	dir := t.TempDir()
	q, err := Open(dir, quiet())
	if err != nil {
		t.Fatal(err)
	}
	gone, broken := hold(t, q, 1), hold(t, q, 2)
	hold(t, q, 3)
	err = errors.Join(q.Close(), os.Remove(filepath.Join(dir, shard(gone), gone)), os.Remove(filepath.Join(dir, "index.db")),
		os.WriteFile(filepath.Join(dir, shard(broken), broken), []byte("{ cut off"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	q = open(t, dir)
	if got := ids(t, q, Filter{State: AnyState}); got != "3" {
		t.Errorf("listed: %q", got)
	}
	if _, err := os.Stat(filepath.Join(dir, shard(broken), broken)); err != nil {
		t.Error("a file that can't be read was thrown away")
	}
}

func TestDropAndDelete(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir)
	id := hold(t, q, 1)
	for range 2 { // the second time there is nothing left to drop
		if err := q.Drop(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, shard(id), id)); !errors.Is(err, os.ErrNotExist) {
		t.Error("the file is still there")
	}
	if err := q.Delete(t.Context(), id, "ann"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}

func TestExpire(t *testing.T) {
	q := open(t, t.TempDir())
	for n := range 6 {
		hold(t, q, n)
	}
	for n, finish := range map[int]bool{0: true, 1: false} {
		item, _ := sample(n)
		r := claim(t, q, item.ID, "ann")
		if finish {
			if err := q.Finish(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
	}
	n, err := q.Expire(t.Context(), time.Date(2026, 5, 3, 12, 0, 4, 0, time.UTC))
	if err != nil || n != 3 { // 0 was released, 2 and 3 are held, 1 is on its way
		t.Errorf("%d expired, %v", n, err)
	}
	if got := ids(t, q, Filter{State: AnyState}); got != "541" {
		t.Errorf("left: %q", got)
	}
}

// An id from outside never becomes a path.
func TestOddIDs(t *testing.T) {
	dir := t.TempDir()
	q := open(t, filepath.Join(dir, "q"))
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", "../../secret", "/etc/passwd", "a/b", "..", ".new-1", "a\x00b", "index.db", strings.Repeat("A", 200)} {
		_, m, err := q.Get(t.Context(), id)
		if !errors.Is(err, ErrUnknown) || m != nil {
			t.Errorf("get %q: %v", id, err)
		}
		_, claimed := q.Claim(t.Context(), id, "x")
		for what, err := range map[string]error{"claim": claimed, "delete": q.Delete(t.Context(), id, "ann"), "finish": q.Finish(t.Context(), Release{Item: id, Number: 1})} {
			if !errors.Is(err, ErrUnknown) {
				t.Errorf("%s %q: %v", what, id, err)
			}
		}
		item, content := sample(1)
		item.ID = id
		if id != "index.db" && q.Hold(t.Context(), item, content) == nil {
			t.Errorf("held as %q", id)
		}
	}
	if _, err := os.Stat(secret); err != nil {
		t.Error("a file outside is gone")
	}
	if _, err := os.Stat(filepath.Join(dir, "q", "index.db")); err != nil {
		t.Error("the index is gone")
	}
}

// When the disk refuses the write, the caller gets the error and replies 451.
func TestHoldFails(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir)
	item, content := sample(1)
	if err := os.WriteFile(filepath.Join(dir, shard(item.ID)), []byte("in the way"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := q.Hold(t.Context(), item, content); err == nil {
		t.Error("it says that the message is held")
	}
	if got := ids(t, q, Filter{}); got != "" {
		t.Errorf("listed: %q", got)
	}
}
