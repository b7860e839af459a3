package recall

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReleases(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1_700_000_000, 0)
	file := filepath.Join(t.TempDir(), "recall.db")
	l := open(t, file, func() time.Time { return now })
	other := open(t, file, func() time.Time { return now }) // the CLI's
	granted := func() bool {
		now = now.Add(2 * time.Second)
		return l.Granted(ctx, sum, "ben@ours.test", "<1@example.com>", "01J.1")
	}
	if granted() {
		t.Fatal("an empty list lets read")
	}
	release := func() {
		t.Helper()
		now = now.Add(2 * time.Second)
		if err := other.Release(ctx, Grant{SHA256: strings.ToUpper(sum), User: "Ben@ours.test", ID: "M1", By: "ann"}); err != nil {
			t.Fatal(err)
		}
	}
	back := func(e Entry) {
		t.Helper()
		now = now.Add(2 * time.Second)
		if err := other.Add(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	release()
	if !granted() || l.Granted(ctx, sum, "eve@ours.test") || l.Granted(ctx, strings.Repeat("0", 64), "ben@ours.test") {
		t.Error("released to one, and not to all")
	}
	for _, e := range []Entry{{SHA256: sum}, {MessageID: "<1@example.com>"}, {MessageID: "<2@example.com>", ID: "01J.1"}, {SHA256: sum}} {
		back(e)
		if granted() {
			t.Errorf("%+v: called back later, and let read", e)
		}
		release()
		if !granted() {
			t.Errorf("%+v: released after it was called back", e)
		}
	}
	if err := l.Release(ctx, Grant{SHA256: "x", User: "ben@ours.test"}); !errors.Is(err, ErrHash) {
		t.Error(err)
	}
}
