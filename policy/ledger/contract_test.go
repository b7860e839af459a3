package ledger

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/sqldb/pgtest"
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
		"put is found": putIsFound,
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
	flush(t, l)
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

// expect searches and compares the last digits of the ids.
func expect(t *testing.T, l *Ledger, cases map[string]expectation) {
	t.Helper()
	for name, c := range cases {
		found, err := l.Search(t.Context(), c.query)
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
}

type expectation struct {
	query Query
	want  string
}

func searches(t *testing.T, g ground) {
	l := g.open(t, Options{})
	keep(t, l, 10, func(n int, c *Connection, tx *Transaction) {
		tx.From = fmt.Sprintf("user%d@%s", n, []string{"example.org", "example.net"}[n%2])
		tx.Client = netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})
		tx.SHA256, tx.User, tx.Door = strings.Repeat(fmt.Sprint(n), 64), "Login"+fmt.Sprint(n%3), []string{"mx", "submission"}[n%2]
		tx.MessageID, tx.Outbound, tx.PolicyVersion = fmt.Sprintf("<A%d@x.example>", n), n%2 == 1, "v"+fmt.Sprint(n/5)
		switch n {
		case 4:
			tx.Findings = append(tx.Findings, policy.Reason{Symbol: "URIBL_BLACK"})
			tx.Recipients, tx.From = tx.Recipients[:1], ""
		case 6:
			tx.Client = netip.MustParseAddr("2001:db8:7:9::1")
			tx.Recipients[0].Address = "info@bücher.example"
		case 7:
			tx.Client = netip.MustParseAddr("::ffff:198.51.100.200")
		}
		c.Client = tx.Client
	})
	reject, tag, fetch, smtp := policy.Reject, policy.Tag, Fetch, SMTP
	at := time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)
	expect(t, l, map[string]expectation{
		"all, newest first":     {Query{}, "9876543210"},
		"limit":                 {Query{Limit: 3}, "987"},
		"since and until":       {Query{Since: at.Add(3 * time.Second), Until: at.Add(6 * time.Second)}, "432"},
		"sender":                {Query{Sender: "User3@Example.NET"}, "3"},
		"sender as a path":      {Query{Sender: "<user3@example.net>"}, "3"},
		"sender's domain":       {Query{Sender: "example.org"}, "8620"},
		"sender's @domain":      {Query{Sender: "@example.org"}, "8620"},
		"null sender":           {Query{Sender: "<>"}, "4"},
		"client":                {Query{Client: netip.MustParsePrefix("192.0.2.5/32")}, "5"},
		"network":               {Query{Client: netip.MustParsePrefix("192.0.2.4/31")}, "54"},
		"network and limit":     {Query{Client: netip.MustParsePrefix("192.0.2.0/30"), Limit: 2}, "32"},
		"network across steps":  {Query{Client: netip.MustParsePrefix("192.0.0.0/14")}, "98543210"},
		"all of IPv4":           {Query{Client: netip.MustParsePrefix("0.0.0.0/0")}, "987543210"},
		"half of IPv4":          {Query{Client: netip.MustParsePrefix("128.0.0.0/1"), Limit: 4}, "9875"},
		"mapped IPv4":           {Query{Client: netip.MustParsePrefix("::ffff:198.51.100.0/120")}, "7"},
		"IPv6":                  {Query{Client: netip.MustParsePrefix("2001:db8:7:9::/66")}, "6"},
		"IPv6, odd":             {Query{Client: netip.MustParsePrefix("2001:db8::/29")}, "6"},
		"all of IPv6":           {Query{Client: netip.MustParsePrefix("::/0")}, "6"},
		"recipient":             {Query{Recipient: "nobody@example.com"}, "987653210"},
		"recipient, U-label":    {Query{Recipient: "info@BÜCHER.example"}, "6"},
		"recipient, A-label":    {Query{Recipient: "xn--bcher-kva.example"}, "6"},
		"domain of either":      {Query{Domain: "example.net", Limit: 2}, "97"},
		"domain of either, too": {Query{Domain: "bücher.example"}, "6"},
		"disposition":           {Query{Disposition: &reject}, "987653210"},
		"no such disposition":   {Query{Disposition: &tag}, ""},
		"recipient's own":       {Query{Recipient: "ann@example.com", Disposition: &reject}, ""},
		"domain's own":          {Query{Recipient: "example.com", Disposition: &reject, Limit: 3}, "987"},
		"symbol":                {Query{Symbol: "uribl_black"}, "4"},
		"sha256":                {Query{SHA256: strings.Repeat("3", 64)}, "3"},
		"message-id":            {Query{MessageID: "A5@x.example"}, "5"},
		"message-id, brackets":  {Query{MessageID: "<A5@x.example>"}, "5"},
		"user":                  {Query{User: "LOGIN2"}, "852"},
		"door":                  {Query{Door: "submission"}, "97531"},
		"direction":             {Query{Direction: "in"}, "86420"},
		"policy":                {Query{PolicyVersion: "v0"}, "43210"},
		"kind":                  {Query{Kind: &fetch}, ""},
		"kind smtp":             {Query{Kind: &smtp, Limit: 1}, "9"},
		"subject":               {Query{Subject: "cheap pills", Limit: 2}, "98"},
		"id":                    {Query{ID: "01J9ABCDEF000003.1"}, "3"},
		"front of an id":        {Query{ID: "01j9abcd"}, "9876543210"},
		"front and time":        {Query{ID: "01J9ABCD", Since: at.Add(9 * time.Second)}, "98"},
		"front and symbol":      {Query{ID: "01J9ABCD", Symbol: "URIBL_BLACK"}, "4"},
		"several":               {Query{Direction: "in", User: "login2", Text: "pills"}, "82"},
		"injection":             {Query{Sender: "x' OR '1'='1"}, ""},
		"wildcards":             {Query{Sender: "user%@example.net"}, ""},
	})
	if list, err := l.Connections(t.Context(), Query{Limit: 2}); err != nil || len(list) != 2 || list[0].ID != "01J9ABCDEF000009" {
		t.Errorf("connections: %v, %v", list, err)
	}
	if list, err := l.Connections(t.Context(), Query{Client: netip.MustParsePrefix("2001:db8::/32"), Text: "mail.example.org"}); err != nil || len(list) != 1 || list[0].ID != "01J9ABCDEF000006" {
		t.Errorf("connections of a network: %v, %v", list, err)
	}
	if found, err := l.LastWith(t.Context(), "bayes_spam", 2); err != nil || len(found) != 2 || found[0].ID != "01J9ABCDEF000009.1" {
		t.Errorf("last with a symbol: %v, %v", found, err)
	}
}

// Pages put together are the whole, without gap or double, also where each record has to be looked at.
func pages(t *testing.T, g ground) {
	l := g.open(t, Options{})
	keep(t, l, 50, func(n int, _ *Connection, tx *Transaction) {
		tx.Client = netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})
		if n%5 != 0 {
			tx.Recipients[0].Disposition = policy.Reject
		}
	})
	quarantine := policy.Quarantine
	for name, c := range map[string]struct {
		query Query
		want  int
	}{
		"all": {Query{}, 50}, "a symbol": {Query{Symbol: "BAYES_SPAM"}, 50}, "a network": {Query{Client: netip.MustParsePrefix("192.0.2.0/27")}, 32},
		"a recipient's own": {Query{Recipient: "ann@example.com", Disposition: &quarantine}, 10}, "ids": {Query{ID: "01J9ABCD"}, 50}, "nothing": {Query{Symbol: "X"}, 0},
	} {
		seen, last, rounds := map[string]bool{}, "~", 0
		for c.query.Limit = 7; ; rounds++ {
			found, next, err := l.Page(t.Context(), c.query)
			if err != nil || rounds > 20 {
				t.Fatal(name, err, rounds)
			}
			for _, tx := range found {
				if seen[tx.ID] || tx.ID >= last {
					t.Errorf("%s: %s comes twice or out of order", name, tx.ID)
				}
				seen[tx.ID], last = true, tx.ID
			}
			if c.query.After = next; next == "" {
				break
			}
		}
		if len(seen) != c.want {
			t.Errorf("%s: %d in pages, want %d", name, len(seen), c.want)
		}
	}
}

func findsWords(t *testing.T, g ground) {
	l := g.open(t, Options{})
	subjects := []string{
		"Rechnung Nr. 4711 für März", "=?utf-8?B?UmVjaG51bmcgZsO8ciBBcHJpbA==?=", "Ihr Pаypаl-Konto", "年末のご請求書について", "quarterly report",
		"AND OR NOT NEAR", `"quoted" 'single' (paren) col:umn ^start -minus *`, "naïve café ΑΒΓ", "100% off_today", strings.Repeat("x", 500),
	}
	keep(t, l, 10, func(n int, c *Connection, tx *Transaction) {
		tx.Subject, tx.From, tx.HeaderFrom = subjects[n], fmt.Sprintf("sender%d@mail-%d.example.org", n, n), fmt.Sprintf("Doctor Who %d <d@x.example>", n)
		tx.Helo, tx.ClientName, tx.MessageID = fmt.Sprintf("helo%d.example", n), fmt.Sprintf("ptr%d.example", n), fmt.Sprintf("<mid%d@y.example>", n)
	})
	expect(t, l, map[string]expectation{
		"a word": {Query{Text: "rechnung"}, "10"}, "two": {Query{Text: "März RECHNUNG"}, "0"}, "no accents": {Query{Text: "marz"}, "0"},
		"encoded": {Query{Text: "april"}, "1"}, "look-alikes": {Query{Text: "paypal"}, "2"}, "without spaces": {Query{Text: "請求書"}, "3"}, "one character": {Query{Text: "末"}, "3"},
		"not in this order": {Query{Text: "求請"}, ""}, "front": {Query{Text: "quart*"}, "4"}, "no front": {Query{Text: "quart"}, ""},
		"operators are words": {Query{Text: "AND"}, "5"}, "NEAR": {Query{Text: "NEAR(and or)"}, "5"}, "NOT": {Query{Text: "NOT quarterly"}, ""},
		"quotes": {Query{Text: `"quoted"`}, "6"}, "half a quote": {Query{Text: `"quoted' ((paren`}, "6"}, "column": {Query{Text: "col:umn"}, "6"}, "minus": {Query{Text: "-minus"}, "6"},
		"terms is no column": {Query{Text: "terms:quarterly"}, ""}, "tsquery": {Query{Text: "quarterly & !report | x <-> yy:*"}, ""},
		"wildcards": {Query{Text: "100% off_today"}, "8"}, "percent": {Query{Text: "%report"}, "4"}, "underscore": {Query{Text: "quarterl_"}, ""},
		"sender": {Query{Text: "sender4@mail-4.example.org"}, "4"}, "author": {Query{Text: "doctor 7"}, "7"}, "HELO": {Query{Text: "helo3.example"}, "3"},
		"client name": {Query{Text: "ptr5*"}, "5"}, "message-id": {Query{Text: "<mid6@y.example>"}, "6"}, "recipient": {Query{Text: "nobody", Limit: 2}, "98"},
		"Greek": {Query{Text: "αβγ"}, "7"}, "NUL": {Query{Text: "quarterly\x00report"}, "4"}, "broken": {Query{Text: "quarterly\xff\xfereport"}, "4"}, "long": {Query{Text: strings.Repeat("x", 500)}, "9"},
		"an exact term is no word": {Query{Text: "_" + strings.TrimPrefix(exact(fieldDoor, "mx"), "_")}, ""},
	})
}

// Each bad query is refused in words about the query, never of the database.
func refusesQueries(t *testing.T, g ground) {
	l := g.open(t, Options{})
	now := time.Now()
	for want, q := range map[string]Query{
		"no word":        {Text: `"*" & ()`},
		"2 characters":   {Text: "a*"},
		"1000 are":       {Text: strings.Repeat("a ", 600)},
		"20 are":         {Text: strings.Repeat("a ", 21)},
		"before it":      {Since: now, Until: now.Add(-time.Hour)},
		"10000 records":  {Limit: MaxLimit + 1},
		"SHA-256":        {SHA256: "abc"},
		"in or out":      {Direction: "up"},
		"too short":      {ID: "01J"},
		"not an id":      {ID: "%%%%'"},
		"page ended":     {After: "'; DROP TABLE message"},
		"no network":     {Client: netip.PrefixFrom(netip.MustParseAddr("192.0.2.1"), 99)},
		"IPv4 network":   {Client: netip.MustParsePrefix("::ffff:0:0/40")},
		"a Message-ID":   {MessageID: "<>"},
		"\\x1b[2J":       {Direction: "\x1b[2J"},
		"1 to 10000 rec": {Limit: -1},
	} {
		_, err := l.Search(t.Context(), q)
		if !errors.Is(err, ErrQuery) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Who fetched what once came in is one query.
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
			flush(t, l)
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
		`'; DROP TABLE message; --`, `" OR 1=1`, "%_\\", "$1 $2 ? :x @y", "\x1b[2J\u202e\u2028", "{{.}} ${jndi:x} %s%n", strings.Repeat("A", 1<<20), strings.Repeat("\x00", 1<<20),
		strings.Repeat("é", 1<<19), "=cmd|' /C calc'!A0", strings.Repeat("<", 5000), "\\u0000 \\x00", `{"json":"\u0000"}`,
	}
	for n, e := range evil {
		c, tx := sample(n)
		c.Helo, c.User, c.ClientName, c.End, c.Door = e, e, e, e, e
		tx.From, tx.Subject, tx.HeaderFrom, tx.MessageID, tx.SHA256, tx.User, tx.Helo, tx.ClientName, tx.Door = e, e, e, e, e, e, e, e, e
		tx.Reply, tx.Decisive, tx.PolicyVersion, tx.HeldID, tx.QueueIDs, tx.ConnID = e, e, e, e, []string{e}, e
		tx.Recipients = []Recipient{{Address: e, Fate: e, Route: e, Reply: e, Disposition: 99, Score: math.NaN()}}
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
