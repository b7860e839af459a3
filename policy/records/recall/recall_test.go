package recall

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const sum = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func open(t *testing.T, file string, now func() time.Time) *List {
	t.Helper()
	l, err := Open(file, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestRecall(t *testing.T) {
	ctx, now := context.Background(), time.Unix(1_700_000_000, 0)
	file := filepath.Join(t.TempDir(), "recall.db")
	l := open(t, file, func() time.Time { return now })
	other := open(t, file, func() time.Time { return now }) // the CLI's
	if _, ok := l.Recalled(ctx, sum, "<1@example.com>"); ok {
		t.Fatal("an empty list knows a message")
	}
	if _, ok := l.Recalled(ctx, "", ""); ok {
		t.Fatal("a message without a name is recalled")
	}
	if err := other.Add(ctx, Entry{SHA256: strings.ToUpper(sum), ID: "01J.1", By: "ann", Why: "phishing"}); err != nil {
		t.Fatal(err)
	}
	if err := other.Add(ctx, Entry{MessageID: " <2@example.com>\r\n", Why: "virus"}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Second)
	if why, ok := l.Recalled(ctx, sum, ""); !ok || why != "phishing" {
		t.Errorf("by hash: %q %t", why, ok)
	}
	if why, ok := l.Recalled(ctx, "", "01J.1"); !ok || why != "phishing" {
		t.Errorf("by the ledger's id: %q %t", why, ok)
	}
	if why, ok := l.Recalled(ctx, "", "<2@example.com>"); !ok || why != "virus" {
		t.Errorf("by Message-ID: %q %t", why, ok)
	}
	if err := other.Remove(ctx, "01J.1", "ann"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Second)
	if _, ok := l.Recalled(ctx, sum, "<1@example.com>"); ok {
		t.Error("it is recalled after the recall was taken back")
	}
	if all, err := l.All(ctx); err != nil || len(all) != 1 || all[0].MessageID != "<2@example.com>" {
		t.Errorf("%+v %v", all, err)
	}
}

func TestBadRecalls(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "recall.db"), time.Now)
	for _, c := range []struct {
		e    Entry
		want error
	}{{Entry{}, ErrNothing}, {Entry{SHA256: "abc"}, ErrHash}, {Entry{SHA256: strings.Repeat("g", 64)}, ErrHash}} {
		if err := l.Add(context.Background(), c.e); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c.e, err)
		}
	}
	for _, key := range []string{"", " ", "%", "nobody"} {
		if err := l.Remove(context.Background(), key, "ann"); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v", key, err)
		}
	}
}
