package ledger

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/testing/pgtest"
	"postern/policy"
)

// ground is a database under test, empty for each of them.
type ground struct {
	url string
	// do runs a statement of another program.
	do func(text string)
}

func (g ground) open(t testing.TB, o Options) *Ledger {
	t.Helper()
	o.URL = g.url
	l, err := New(o)
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

func onSQLite(t testing.TB) ground {
	path := filepath.Join(t.TempDir(), "ledger.db")
	return ground{url: "sqlite:" + path, do: func(text string) {
		t.Helper()
		execSQLite(t, path, text)
	}}
}

func TestSQLite(t *testing.T) {
	contract(t, onSQLite)
}

func TestPostgreSQL(t *testing.T) {
	s := pgtest.Start(t)
	n := 0
	contract(t, func(t testing.TB) ground {
		n++
		url := s.Database(fmt.Sprintf("contract%d", n))
		return ground{url: url, do: func(text string) { s.In(url).Do(text) }}
	})
}

// contract is what a ledger does on any database.
func contract(t *testing.T, on func(testing.TB) ground) {
	for name, test := range map[string]func(*testing.T, ground){
		"explain": explains, "search": searches, "pages": pages, "text": findsWords, "bad queries": refusesQueries, "who fetched": fetched,
		"replace": replaces, "same moment": sameMoment, "expire": expires, "bounds": bounds, "hostile": hostile, "walk": walks,
		"privacy": hidesSubjects, "masking": masks, "export": exports, "bad record": oneBadRecord, "all bad": allBad, "two gateways": twoGateways,
		"put is found": putIsFound, "fates": testFates, "found by fate": testFoundByFate,
	} {
		t.Run(name, func(t *testing.T) { test(t, on(t)) })
	}
}

func keep(t testing.TB, l *Ledger, n int, change func(int, *Connection, *Transaction)) {
	t.Helper()
	for i := range n {
		c, tx := sample(i)
		if change != nil {
			change(i, &c, &tx)
		}
		l.Connection(c)
		l.Transaction(tx)
	}
	eventually(t, l)
}

func explains(t *testing.T, g ground) {
	l := g.open(t, Options{})
	keep(t, l, 3, nil)
	_, open := sample(9)
	l.Transaction(open) // its connection still lasts
	for id, want := range map[string]string{
		"01J9ABCDEF000001":     "01J9ABCDEF000001 01J9ABCDEF000001.1",
		"01J9ABCDEF000001.1":   "01J9ABCDEF000001 01J9ABCDEF000001.1",
		"(01j9abcdef000001.1)": "01J9ABCDEF000001 01J9ABCDEF000001.1",
		"01J9ABCDEF000009":     "- 01J9ABCDEF000009.1",
		"01J9ABCDEF000009.1":   "- 01J9ABCDEF000009.1",
		"01J9ABCDEF00000":      "several ids begin like this",
	} {
		r, err := l.Explain(t.Context(), id)
		if err != nil {
			if !errors.Is(err, ErrAmbiguous) || want != ErrAmbiguous.Error() {
				t.Errorf("%s: %v", id, err)
			}
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
	for id, want := range map[string]error{"01J9ABCDEF": ErrAmbiguous, "01J9ABCDEF000008": ErrUnknown, "01J": ErrUnknown, "../../etc": ErrUnknown, "": ErrUnknown, "%": ErrUnknown, "____": ErrUnknown, "' OR 1=1": ErrUnknown} {
		if _, err := l.Explain(t.Context(), id); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", id, err, want)
		}
	}
}

// One query finds the readers of a message that came in.
func fetched(t *testing.T, g ground) {
	l := g.open(t, Options{})
	sum := strings.Repeat("ab", 32)
	_, in := sample(1)
	in.SHA256 = sum
	l.Transaction(in)
	for i, user := range []string{"ann@example.com", "ben@example.com"} {
		l.Transaction(Transaction{ID: fmt.Sprintf("01J9FETCH000000%d.1", i), Time: in.Time.Add(time.Hour), Kind: Fetch, Door: "imap", User: user, SHA256: sum})
	}
	fetch := Fetch
	found, err := l.Search(t.Context(), Query{SHA256: strings.ToUpper(sum), Kind: &fetch})
	if err != nil || len(found) != 2 {
		t.Fatal(found, err)
	}
	users := []string{found[0].User, found[1].User}
	slices.Sort(users)
	if !slices.Equal(users, []string{"ann@example.com", "ben@example.com"}) {
		t.Error(users)
	}
	if found, err = l.Search(t.Context(), Query{SHA256: sum}); err != nil || len(found) != 3 {
		t.Error(found, err)
	}
}

func replaces(t *testing.T, g ground) {
	l := g.open(t, Options{})
	for _, apart := range []bool{false, true} { // in one batch, and in two
		_, tx := sample(1)
		l.Transaction(tx)
		if apart {
			eventually(t, l)
		}
		tx.Recipients, tx.QueueIDs, tx.Time = tx.Recipients[:1], []string{"Q1"}, tx.Time.Add(time.Minute)
		l.Transaction(tx)
		found, err := l.Search(t.Context(), Query{})
		if err != nil || len(found) != 1 || len(found[0].QueueIDs) != 1 {
			t.Fatalf("%+v, %v", found, err)
		}
		if found, err = l.Search(t.Context(), Query{Recipient: "nobody@example.com"}); err != nil || len(found) != 0 {
			t.Errorf("the old recipient is still found: %v, %v", found, err)
		}
		if found, err = l.Search(t.Context(), Query{Recipient: "ann@example.com", Since: tx.Time}); err != nil || len(found) != 1 {
			t.Errorf("the new time is not found: %v, %v", found, err)
		}
	}
}

// Records of one moment each have their place, whatever their ids hash to.
func sameMoment(t *testing.T, g ground) {
	l := g.open(t, Options{})
	at := time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)
	for n := range 4000 {
		_, tx := sample(n)
		tx.Time = at
		l.Transaction(tx)
		if n == 1999 {
			flush(t, l)
		}
	}
	eventually(t, l)
	found, err := l.Search(t.Context(), Query{Limit: 5000})
	if err != nil || len(found) != 4000 {
		t.Errorf("%d of 4000, %v", len(found), err)
	}
	// the same place on purpose, within a batch and across
	e := make([]entry, 3)
	for i := range e {
		_, tx := sample(5000 + i)
		if e[i], err = tx.entry(); err != nil {
			t.Fatal(err)
		}
		e[i].n = 7 << stampBits
	}
	for _, batch := range [][]entry{e[:2], e[1:], e} {
		if err := l.commit(batch); err != nil {
			t.Fatal(err)
		}
	}
	if found, err = l.Search(t.Context(), Query{Until: at, Limit: 10, Symbol: "BAYES_SPAM"}); err != nil || len(found) != 3 {
		t.Errorf("%d of 3 at one place, %v", len(found), err)
	}
}

func expires(t *testing.T, g ground) {
	l := g.open(t, Options{})
	keep(t, l, 1200, nil)
	n, err := l.Expire(t.Context(), time.Date(2026, 5, 3, 12, 19, 50, 0, time.UTC))
	if err != nil || n != 2*1190-1 { // the messages came a second later than their connections
		t.Errorf("%d forgotten, %v", n, err)
	}
	found, err := l.Search(t.Context(), Query{Recipient: "ann@example.com", Limit: 2000})
	if err != nil || len(found) != 11 {
		t.Errorf("%d left, %v", len(found), err)
	}
	if _, err := l.Explain(t.Context(), "01J9ABCDEF000007.1"); !errors.Is(err, ErrUnknown) {
		t.Error("it is still there:", err)
	}
}

func bounds(t *testing.T, g ground) {
	l := g.open(t, Options{})
	c, tx := sample(1)
	long := strings.Repeat("ü", 40000)
	c.Helo, tx.Subject = long, "\x1b]0;owned\a"+long
	tx.Findings = []policy.Reason{{Symbol: "X", Evidence: []string{long, "second"}}}
	l.Connection(c)
	l.Transaction(tx)
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

// PT, LG: whatever a sender writes is kept, found and given back, or cut; never an error of the database.
func hostile(t *testing.T, g ground) {
	l := g.open(t, Options{})
	evil := []string{
		"a\x00b", "\x00", "\xff\xfe\x80", "\xed\xa0\x80 surrogate", "\xf4\x8f\xbe\x80 private", "\U0010FF80\U0010FFFF", "\ufffd \\ufffd", "\xc3\x28 \xf0\x28\x8c\xbc",
		`'; DROP TABLE message; --`, `" OR 1=1`, "%_\\", "$1 $2 ? :x @y", "\x1b[2J\u202e\u2028", "{{.}} ${jndi:x} %s%n", strings.Repeat("A", 1<<20), strings.Repeat("\x00", 1<<14),
		strings.Repeat("é", 1<<14), "=cmd|' /C calc'!A0", strings.Repeat("<", 5000), "\\u0000 \\x00", `{"json":"\u0000"}`,
	}
	for n, e := range evil {
		c, tx := sample(n)
		c.Helo, c.User, c.ClientName, c.End, c.Door = e, e, e, e, e
		tx.From, tx.Subject, tx.HeaderFrom, tx.MessageID, tx.SHA256, tx.User, tx.Helo, tx.ClientName, tx.Door = e, e, e, e, e, e, e, e, e
		tx.Reply, tx.Decisive, tx.PolicyVersion, tx.HeldID, tx.QueueIDs, tx.ConnID = e, e, e, e, []string{e}, e
		tx.Recipients = []Recipient{{Address: e, Fate: Word(e), Route: mail.RouteTo(e), Reply: e, Disposition: 99, Score: math.NaN()}}
		tx.Findings = []policy.Reason{{Symbol: e, Evidence: []string{e}, Help: e, Score: math.Inf(1)}}
		tx.Took = map[string]float64{e: math.Inf(-1)}
		tx.Facts = &policy.Facts{From: mail.Address{Local: e, Domain: e}, User: e, HeaderFrom: []mail.Address{{Local: e, Domain: e}}, Authenticated: []string{e}, Findings: []policy.Finding{{Symbol: e, Filter: e}}}
		l.Connection(c)
		l.Transaction(tx)
	}
	flush(t, l)
	if l.Dropped() != 0 {
		t.Errorf("%d records were dropped", l.Dropped())
	}
	found, err := l.Search(t.Context(), Query{})
	if err != nil || len(found) != len(evil) {
		t.Fatalf("%d of %d, %v", len(found), len(evil), err)
	}
	for i, tx := range found {
		e := evil[len(evil)-1-i]
		if want := cut(e, maxText); tx.Subject != want || tx.Recipients[0].Disposition != policy.Reject || len(e) < maxText && tx.Facts.From.Local != e {
			t.Errorf("%.40q came back as %.40q, %.40q, %v", e, tx.Subject, tx.Facts.From.Local, tx.Recipients[0].Disposition)
		}
		for _, q := range []Query{{Sender: e}, {Recipient: e}, {Domain: e}, {User: e}, {Door: e}, {Symbol: e}, {PolicyVersion: e}, {MessageID: e}, {Text: e}, {ID: e}, {SHA256: e}, {After: e}, {Subject: e}} {
			if _, err := l.Search(t.Context(), q); err != nil && !errors.Is(err, ErrQuery) {
				t.Errorf("%.40q: %v", e, err)
			}
		}
		if again, err := l.Search(t.Context(), Query{Subject: e}); err != nil || len(again) != 1 || again[0].ID != tx.ID {
			t.Errorf("%.40q is found %d times, %v", e, len(again), err)
		}
	}
}

// Facts come back as they were written, in the order of time.
func walks(t *testing.T, g ground) {
	l := g.open(t, Options{})
	want := map[string]*policy.Facts{}
	random := newChance(7)
	const n = 2500
	for i := range n {
		_, tx := sample(i % 86400)
		tx.Facts = random.facts()
		want[tx.ID] = tx.Facts
		l.Transaction(tx)
	}
	eventually(t, l)
	seen, last := 0, time.Time{}
	err := l.Walk(t.Context(), time.Time{}, time.Time{}, func(tx *Transaction) error {
		seen++
		if tx.Time.Before(last) {
			t.Errorf("%s comes too late", tx.ID)
		}
		last = tx.Time
		if !reflect.DeepEqual(tx.Facts, want[tx.ID]) {
			t.Fatalf("%s:\n%+v, want\n%+v", tx.ID, tx.Facts, want[tx.ID])
		}
		return nil
	})
	if err != nil || seen != n {
		t.Errorf("%d of %d, %v", seen, n, err)
	}
	enough := errors.New("enough")
	seen = 0
	err = l.Walk(t.Context(), last.Add(-10*time.Second), last, func(*Transaction) error {
		if seen++; seen == 5 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || seen != 5 {
		t.Error(seen, err)
	}
}

// One bad record does not cost the others of its batch, and the log says when all is well again.
func oneBadRecord(t *testing.T, g ground) {
	var logged lockedBuffer
	l := g.open(t, Options{Log: slog.New(slog.NewTextHandler(&logged, nil))})
	flush(t, l)
	_ = l.db.Ready(t.Context())
	g.do("CREATE UNIQUE INDEX bad ON message ((CASE WHEN id = '01J9ABCDEF000004.1' THEN '01J9ABCDEF000003.1' ELSE id END))")
	keep(t, l, 9, nil)
	found, err := l.Search(t.Context(), Query{})
	if err != nil || len(found) != 8 || l.Dropped() != 1 {
		t.Errorf("%d written, %d dropped, %v", len(found), l.Dropped(), err)
	}
	keep(t, l, 1, nil)
	if h := l.Health(); !h.Since.IsZero() || h.Waiting != 0 || h.Dropped != 1 {
		t.Errorf("%+v", h)
	}
	if text := logged.String(); strings.Count(text, "drops records") != 1 || strings.Count(text, "writes again") != 1 {
		t.Error(text)
	}
}

// A database that takes no record costs records, never time and never mail.
func allBad(t *testing.T, g ground) {
	var logged lockedBuffer
	l := g.open(t, Options{Log: slog.New(slog.NewTextHandler(&logged, nil))})
	_ = l.db.Ready(t.Context())
	g.do("ALTER TABLE message RENAME COLUMN record TO was")
	begun := time.Now()
	n := int64(500)
	if strings.HasPrefix(g.url, "sqlite:") { // what waits is the same on both: one of them fills it
		n = waiting + 500
	}
	for i := range int(n) {
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
		t.Errorf("%d log lines:\n%.2000s", lines, logged.String())
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

// Two gateways, or a gateway and the command line, share a database.
func twoGateways(t *testing.T, g ground) {
	one, two := g.open(t, Options{}), g.open(t, Options{})
	at := time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)
	for n := range 1000 {
		_, tx := sample(n)
		tx.Time = at
		[]*Ledger{one, two}[n%2].Transaction(tx)
	}
	flush(t, one)
	flush(t, two)
	found, err := one.Search(t.Context(), Query{Limit: 2000})
	if err != nil || len(found) != 1000 || one.Dropped()+two.Dropped() != 0 {
		t.Errorf("%d of 1000, %d and %d dropped, %v", len(found), one.Dropped(), two.Dropped(), err)
	}
}

// An id that was shown to a client is found at once.
func putIsFound(t *testing.T, g ground) {
	l := g.open(t, Options{})
	for n := range 20 {
		_, tx := sample(n)
		l.Transaction(tx)
		if _, err := l.Explain(t.Context(), tx.ID); err != nil {
			t.Error(err)
		}
		if found, err := l.Search(t.Context(), Query{Limit: 1}); err != nil || len(found) != 1 || found[0].ID != tx.ID {
			t.Error(found, err)
		}
	}
}
