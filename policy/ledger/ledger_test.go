package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

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
			{Address: "ann@example.com", Disposition: policy.Quarantine, Score: 7, Required: policy.Thresholds{Tag: 4, Quarantine: 6, Reject: 12}, Route: "default"},
			{Address: "nobody@example.com", Disposition: policy.Reject, Reply: "550 5.1.1 No such user"},
		},
		Findings: []policy.Reason{
			{Symbol: "HELO_NOT_FQDN", Score: 2, Help: "HELO is not a fully-qualified name", Evidence: []string{"mail"}},
			{Symbol: "BAYES_SPAM", Score: 5, Help: "it reads like spam"},
		},
		Decisive: "Held: the score of 7 reaches 6.", Reply: "250 2.0.0 Message accepted", PolicyVersion: "abc", Took: map[string]float64{"spf": 12.345},
	}
}

func TestExplain(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	for n := range 3 {
		c, tx := sample(n)
		l.Connection(c)
		l.Transaction(tx)
	}
	_, open := sample(9)
	l.Transaction(open) // its connection still lasts
	flush(t, l)
	for id, want := range map[string]string{
		"01J9ABCDEF000001":     "01J9ABCDEF000001 01J9ABCDEF000001.1",
		"01J9ABCDEF000001.1":   "01J9ABCDEF000001 01J9ABCDEF000001.1",
		"(01j9abcdef000001.1)": "01J9ABCDEF000001 01J9ABCDEF000001.1",
		"01J9ABCDEF000009":     "- 01J9ABCDEF000009.1",
		"01J9ABCDEF000009.1":   "- 01J9ABCDEF000009.1",
	} {
		r, err := l.Explain(t.Context(), id)
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		got := "-"
		if r.Connection != nil {
			got = r.Connection.ID
		}
		for _, tx := range r.Transactions {
			got += " " + tx.ID
		}
		if got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
	for id, want := range map[string]error{"01J9ABCDEF": ErrAmbiguous, "01J9ABCDEF000008": ErrUnknown, "01J": ErrUnknown, "../../etc": ErrUnknown, "": ErrUnknown, "%": ErrUnknown, "' OR 1=1": ErrUnknown} {
		if _, err := l.Explain(t.Context(), id); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", id, err, want)
		}
	}
}

func TestSearch(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	for n := range 10 {
		c, tx := sample(n)
		tx.From = fmt.Sprintf("user%d@%s", n, []string{"example.org", "example.net"}[n%2])
		tx.Client = netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})
		if n == 4 {
			tx.Findings = append(tx.Findings, policy.Reason{Symbol: "URIBL_BLACK"})
			tx.Recipients = tx.Recipients[:1]
			tx.From = ""
		}
		l.Connection(c)
		l.Transaction(tx)
	}
	flush(t, l)
	reject, tag := policy.Reject, policy.Tag
	at := time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		filter Filter
		want   string
	}{
		"all, newest first":   {Filter{}, "9876543210"},
		"limit":               {Filter{Limit: 3}, "987"},
		"since and until":     {Filter{Since: at.Add(3 * time.Second), Until: at.Add(6 * time.Second)}, "432"},
		"sender":              {Filter{Sender: "User3@Example.NET"}, "3"},
		"sender's domain":     {Filter{Sender: "example.org"}, "8620"},
		"sender's @domain":    {Filter{Sender: "@example.org"}, "8620"},
		"null sender":         {Filter{Sender: "<>"}, "4"},
		"client":              {Filter{Client: netip.MustParsePrefix("192.0.2.5/32")}, "5"},
		"network":             {Filter{Client: netip.MustParsePrefix("192.0.2.4/31")}, "54"},
		"network and limit":   {Filter{Client: netip.MustParsePrefix("192.0.2.0/30"), Limit: 2}, "32"},
		"recipient":           {Filter{Recipient: "nobody@example.com"}, "987653210"},
		"disposition":         {Filter{Disposition: &reject}, "987653210"},
		"no such disposition": {Filter{Disposition: &tag}, ""},
		"recipient's own":     {Filter{Recipient: "ann@example.com", Disposition: &reject}, ""},
		"symbol":              {Filter{Symbol: "uribl_black"}, "4"},
		"injection":           {Filter{Sender: "x' OR '1'='1"}, ""},
	} {
		found, err := l.Search(t.Context(), c.filter)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got := ""
		for _, tx := range found {
			got += tx.ID[15:16]
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if list, err := l.Connections(t.Context(), Filter{Limit: 2}); err != nil || len(list) != 2 || list[0].ID != "01J9ABCDEF000009" {
		t.Errorf("connections: %v, %v", list, err)
	}
}

func TestLaterRecordReplaces(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	_, tx := sample(1)
	l.Transaction(tx)
	tx.Recipients, tx.QueueIDs = tx.Recipients[:1], []string{"Q1"}
	l.Transaction(tx)
	flush(t, l)
	found, err := l.Search(t.Context(), Filter{})
	if err != nil || len(found) != 1 || len(found[0].QueueIDs) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	if found, err = l.Search(t.Context(), Filter{Recipient: "nobody@example.com"}); err != nil || len(found) != 0 {
		t.Errorf("the old recipient is still found: %v, %v", found, err)
	}
}

func TestExpire(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	for n := range 1200 {
		c, tx := sample(n)
		l.Connection(c)
		l.Transaction(tx)
	}
	flush(t, l)
	n, err := l.Expire(t.Context(), time.Date(2026, 5, 3, 12, 19, 50, 0, time.UTC))
	if err != nil || n != 2*1190-1 { // the messages came a second later than their connections
		t.Errorf("%d forgotten, %v", n, err)
	}
	found, err := l.Search(t.Context(), Filter{Recipient: "ann@example.com", Limit: 2000})
	if err != nil || len(found) != 11 {
		t.Errorf("%d left, %v", len(found), err)
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

// A database that can't be written costs records, never time and never mail.
func TestBrokenDatabaseDoesNotBlock(t *testing.T) {
	var logged lockedBuffer
	l, err := Open(filepath.Join(t.TempDir(), "ledger.db"), slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	err = l.db.Write(t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec("DROP TABLE symbol"); return err })
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	const n = waiting + 5000
	for i := range n {
		_, tx := sample(i)
		l.Transaction(tx)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("callers waited %v", took)
	}
	flush(t, l)
	if l.Dropped() != n {
		t.Errorf("%d of %d counted as dropped", l.Dropped(), n)
	}
	if lines := strings.Count(logged.String(), "\n"); lines != 1 {
		t.Errorf("%d log lines:\n%s", lines, logged.String())
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	_, tx := sample(0)
	l.Transaction(tx) // after the end: counted, nothing worse
	if l.Dropped() != n+1 {
		t.Error("a record after the end is not counted")
	}
}

// One bad record does not cost the others of its batch, and the log says when all is well again.
func TestOneBadRecord(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	err := l.db.Write(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec("CREATE TRIGGER bad BEFORE INSERT ON message WHEN NEW.sender = 'bad@example.org' BEGIN SELECT RAISE(ABORT, 'bad'); END")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 9 {
		_, tx := sample(n)
		if n == 4 {
			tx.From = "bad@example.org"
		}
		l.Transaction(tx)
	}
	flush(t, l)
	found, err := l.Search(t.Context(), Filter{})
	if err != nil || len(found) != 8 || l.Dropped() != 1 {
		t.Errorf("%d written, %d dropped, %v", len(found), l.Dropped(), err)
	}
	if l.failing.Load() {
		t.Error("it writes again and does not say so")
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

func TestTextFromOutsideIsBounded(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	c, tx := sample(1)
	long := strings.Repeat("ü", 40000)
	c.Helo, tx.Subject = long, "\x1b]0;owned\a"+long
	tx.Findings = []policy.Reason{{Symbol: "X", Evidence: []string{long, "second"}}}
	l.Connection(c)
	l.Transaction(tx)
	flush(t, l)
	r, err := l.Explain(t.Context(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Connection.Helo; len(got) > 1100 || !strings.HasSuffix(got, "ü… (79000 octets more)") {
		t.Errorf("HELO of %d octets ends in %q", len(got), got[len(got)-40:])
	}
	if got := r.Transactions[0].Findings[0].Evidence; len(got) != 2 || len(got[0]) > 500 || tx.Findings[0].Evidence[0] != long {
		t.Errorf("evidence: %d, %d octets; or the caller's own was cut", len(got), len(got[0]))
	}
	if !strings.HasPrefix(r.Transactions[0].Subject, "\x1b]0;owned\a") {
		t.Error("the subject is not as it was sent")
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

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func BenchmarkTransaction(b *testing.B) {
	l := open(b, filepath.Join(b.TempDir(), "ledger.db"))
	n := 0
	for b.Loop() {
		_, tx := sample(n)
		l.Transaction(tx)
		if n++; n%(waiting/2) == 0 {
			flush(b, l)
		}
	}
	flush(b, l)
	if l.Dropped() > 0 {
		b.Error(l.Dropped(), "dropped")
	}
}
