package ledger

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/policy"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func open(t testing.TB, path string) *Ledger {
	t.Helper()
	l, err := Open(path, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func flush(t testing.TB, l *Ledger) {
	t.Helper()
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func sample(n int) (Connection, Transaction) {
	at := time.Date(2026, 5, 3, 12, 0, n, 0, time.UTC)
	id := fmt.Sprintf("01J9ABCDEF%06d", n)
	c := Connection{
		ID: id, Door: "mx", Started: at, Ended: at.Add(1200 * time.Millisecond), Peer: netip.MustParseAddrPort("127.0.0.1:4000"),
		Client: netip.MustParseAddr("192.0.2.7"), Helo: "mail.example.org", End: "quit", Counts: Counts{Transactions: 1, Recipients: 2, Refused: 1},
	}
	return c, Transaction{
		ID: id + ".1", ConnID: id, Time: at.Add(time.Second), Client: c.Client, From: "Bob@Example.org", Subject: "cheap pills", Size: 2048,
		HeaderFrom: "Bob <bob@example.org>", MessageID: "<1@example.org>",
		Recipients: []Recipient{
			{Address: "ann@example.com", Disposition: policy.Quarantine, Score: 7, Required: policy.Thresholds{Tag: 4, Quarantine: 6, Reject: 12}, Route: mail.RouteTo("default")},
			{Address: "nobody@example.com", Disposition: policy.Reject, Reply: "550 5.1.1 No such user"},
		},
		Findings: []policy.Reason{
			{Symbol: "HELO_NOT_FQDN", Score: 2, Help: "HELO is not a fully-qualified name", Evidence: []string{"mail"}},
			{Symbol: "BAYES_SPAM", Score: 5, Help: "it reads like spam"},
		},
		Decisive: "Held: the score of 7 reaches 6.", Reply: "250 2.0.0 Message accepted", PolicyVersion: "abc", Took: map[string]float64{"spf": 12.345},
	}
}

// Two processes: what serve has written the CLI can read while serve goes on writing.
func TestAnotherProcessReads(t *testing.T) {
	if path := os.Getenv("LEDGER_TEST_READ"); path != "" {
		l := open(t, path)
		found, err := l.Search(t.Context(), Filter{Limit: 1})
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		return
	}
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := open(t, path)
	_, first := sample(0)
	l.Transaction(first)
	flush(t, l)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				_, tx := sample(n)
				l.Transaction(tx)
			}
		}
	}()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=TestAnotherProcessReads")
	cmd.Env = append(os.Environ(), "LEDGER_TEST_READ="+path)
	out, err := cmd.CombinedOutput()
	close(stop)
	<-done
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	flush(t, l)
	if l.Dropped() != 0 {
		t.Errorf("%d records were lost", l.Dropped())
	}
}

func TestDamagedFileIsMovedAside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.db")
	if err := os.WriteFile(path, bytes.Repeat([]byte("this is no database "), 500), 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, path)
	_, tx := sample(1)
	l.Transaction(tx)
	flush(t, l)
	if found, err := l.Search(t.Context(), Filter{}); err != nil || len(found) != 1 {
		t.Error(found, err)
	}
	if old, _ := filepath.Glob(path + ".broken-*"); len(old) != 1 {
		t.Errorf("the damaged file is gone: %v", old)
	}
}

func TestCloseWritesWhatWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := Open(path, quiet())
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for n := range 700 {
		all.Go(func() { _, tx := sample(n); l.Transaction(tx) })
	}
	all.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, path)
	found, err := again.Search(context.Background(), Filter{Limit: 1000})
	if err != nil || len(found) != 700 {
		t.Errorf("%d of 700 are there, %v", len(found), err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v %v", info.Mode(), err)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain text, üöä 漢字 🙂":    "plain text, üöä 漢字 🙂",
		"a\r\nb\tc\x00":           `a\x0d\x0ab\x09c\x00`,
		"\x1b[2J\x1b]0;x\a":       `\x1b[2J\x1b]0;x\x07`,
		"bad \xff utf":            `bad \xff utf`,
		"line\u2028sep\u202egnp":  `line\u2028sep\u202egnp`,
		"\u0085\u009b":            `\u0085\u009b`,
		"soft\u00adhyphen \ufeff": `soft\u00adhyphen \ufeff`,
		"\ufffd":                  "\ufffd",
		"%s%n ${jndi:x} {{.}}":    "%s%n ${jndi:x} {{.}}",
	} {
		if got := Printable(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
