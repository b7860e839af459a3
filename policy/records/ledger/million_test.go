package ledger

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/testing/pgtest"
	"postern/policy"
)

// traffic makes up transactions as a company sees them: few senders send most, few symbols are on most.
type traffic struct {
	*rand.Rand
	senders, words, symbols *rand.Zipf
	at                      time.Time
}

func newTraffic() *traffic {
	r := rand.New(rand.NewPCG(1, 2))
	return &traffic{r, rand.NewZipf(r, 1.2, 3, 50000), rand.NewZipf(r, 1.1, 5, 30000), rand.NewZipf(r, 1.3, 4, 150), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func (g *traffic) transaction(n int) Transaction {
	g.at = g.at.Add(time.Duration(g.IntN(4000)) * time.Millisecond)
	id := mail.NewID(g.at)
	sender := g.senders.Uint64()
	var subject []string
	for range 3 + g.IntN(6) {
		subject = append(subject, fmt.Sprintf("word%d", g.words.Uint64()))
	}
	t := Transaction{
		ID: id + ".1", ConnID: id, Time: g.at, Door: "mx", Client: netip.AddrFrom4([4]byte{byte(sender%200 + 1), byte(sender / 200), byte(g.IntN(4)), byte(g.IntN(256))}),
		From: fmt.Sprintf("user%d@domain%d.example", sender, sender%5000), HeaderFrom: fmt.Sprintf("Name%d Family%d <user%d@domain%d.example>", sender%900, sender%7000, sender, sender%5000),
		Helo: fmt.Sprintf("mail%d.domain%d.example", sender%3, sender%5000), ClientName: fmt.Sprintf("mail%d.domain%d.example", sender%3, sender%5000),
		Subject: strings.Join(subject, " "), MessageID: fmt.Sprintf("<%x.%d@domain%d.example>", g.Uint64(), n, sender%5000), SHA256: fmt.Sprintf("%016x%016x%016x%016x", g.Uint64(), g.Uint64(), g.Uint64(), n),
		Size: int64(g.IntN(200000)), Reply: "250 2.0.0 Ok: queued as 4bXyZ1 (" + id + ".1)", Decisive: "Delivered: the score of 1.5 is below 4.", PolicyVersion: "9f2c11aa",
		Took: map[string]float64{"spf": 12.5, "dkim": 8.25, "dmarc": 3, "links": 1.5, "content": 9},
	}
	for range 1 + g.IntN(2) {
		d := policy.Accept
		if g.IntN(10) == 0 {
			d = policy.Disposition(g.IntN(5))
		}
		t.Recipients = append(t.Recipients, Recipient{Address: fmt.Sprintf("staff%d@company.example", g.IntN(2000)), Disposition: d, Fate: "delivered", Score: 1.5, Reply: "250 2.1.5 Ok", Route: mail.RouteTo("default")})
	}
	facts := policy.Facts{Stage: 4, Client: t.Client, From: mail.Address{Local: fmt.Sprint("user", sender), Domain: fmt.Sprintf("domain%d.example", sender%5000)}}
	for range 8 {
		symbol := fmt.Sprintf("SYMBOL_%d", g.symbols.Uint64())
		t.Findings = append(t.Findings, policy.Reason{Symbol: symbol, Score: 0.5, Help: "what this symbol says in a sentence", Evidence: []string{"evidence of " + symbol}})
		facts.Findings = append(facts.Findings, policy.Finding{Symbol: symbol})
	}
	t.Facts = &facts
	return t
}

// How fast it is with many records: POSTERN_LEDGER_ROWS=1000000 go test -run TestManyRecords -v -timeout 1h. Every query
// is to take less than a second of a million; here only what is far off fails.
func TestManyRecords(t *testing.T) {
	count := 6000
	if text := os.Getenv("POSTERN_LEDGER_ROWS"); text != "" {
		count, _ = strconv.Atoi(text)
	}
	t.Run("SQLite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "ledger.db")
		manyRecords(t, ground{url: path}, count)
		if info, err := os.Stat(path); err == nil {
			t.Logf("the file has %d octets a record", info.Size()/int64(count))
		}
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		s := pgtest.Start(t, "shared_buffers=512MB", "max_wal_size=4GB")
		manyRecords(t, ground{url: s.URL}, count)
		t.Logf("the database has %s octets, %s of them in the index of terms", s.Do("SELECT pg_database_size('postern')"), s.Do("SELECT pg_relation_size('message_terms')"))
	})
}

func manyRecords(t *testing.T, g ground, count int) {
	l := g.open(t, Options{})
	source := newTraffic()
	first := source.at
	var marked Transaction
	begun := time.Now()
	for n := range count {
		tx := source.transaction(n)
		if n == count/2 {
			tx.Findings = append(tx.Findings, policy.Reason{Symbol: "ONCE"})
			tx.Subject += " onlyhere"
			marked = tx
		}
		l.Transaction(tx)
		if n%5 == 0 {
			l.Fate(Fate{Message: tx.ID, Time: tx.Time.Add(time.Minute), Recipient: tx.Recipients[0].Address, Word: Delivered})
		}
		if n == count/2 {
			l.Fate(Fate{Message: tx.ID, Time: tx.Time.Add(time.Hour), Word: Recalled})
		}
		if n%(waiting/2) == 0 {
			eventually(t, l)
		}
	}
	eventually(t, l)
	t.Logf("written: %d in %v, %.0f/s", count, time.Since(begun), float64(count)/time.Since(begun).Seconds())
	reject, accept, fetch := policy.Reject, policy.Accept, Fetch
	span := source.at.Sub(first)
	for _, c := range []struct {
		name string
		q    Query
	}{
		{"newest", Query{}}, {"a day", Query{Since: first.Add(span / 2), Until: first.Add(span/2 + 24*time.Hour)}},
		{"common word", Query{Text: "word1"}}, {"two common words", Query{Text: "word1 word2"}}, {"rare word", Query{Text: "onlyhere"}}, {"four words", Query{Text: "word1 word20 name7 company"}},
		{"front", Query{Text: "word12*"}}, {"wide front", Query{Text: "word*"}}, {"wide front and rare", Query{Text: "us* onlyhere"}}, {"no such word", Query{Text: "nonsense"}}, {"common, none together", Query{Text: "word1 nonsense company"}},
		{"sender", Query{Sender: marked.From}}, {"busy sender", Query{Sender: "user0@domain0.example"}}, {"sender's domain", Query{Sender: "domain1.example"}}, {"recipient", Query{Recipient: "staff77@company.example"}},
		{"recipients' domain", Query{Recipient: "company.example"}}, {"domain", Query{Domain: "domain4999.example"}}, {"recipient and disposition", Query{Recipient: "staff77@company.example", Disposition: &reject}},
		{"client", Query{Client: netip.PrefixFrom(marked.Client, 32)}}, {"network", Query{Client: netip.PrefixFrom(marked.Client, 20)}}, {"wide network", Query{Client: netip.MustParsePrefix("0.0.0.0/1")}}, {"empty network", Query{Client: netip.MustParsePrefix("250.1.2.0/23")}},
		{"id", Query{ID: marked.ID}}, {"front of an id", Query{ID: marked.ID[:8]}}, {"short front of an id", Query{ID: marked.ID[:4]}},
		{"common symbol", Query{Symbol: "SYMBOL_0"}}, {"middling symbol", Query{Symbol: "SYMBOL_60"}}, {"rare symbol", Query{Symbol: "ONCE"}}, {"symbol, 1000 of them", Query{Symbol: "SYMBOL_3", Limit: 1000}},
		{"symbol on an old day", Query{Symbol: "SYMBOL_9", Until: first.Add(24 * time.Hour)}}, {"disposition", Query{Disposition: &reject}}, {"common disposition", Query{Disposition: &accept}}, {"disposition and symbol", Query{Disposition: &reject, Symbol: "SYMBOL_100"}},
		{"common fate", Query{Fate: Delivered}}, {"rare fate", Query{Fate: Recalled}}, {"no such fate", Query{Fate: Masked}}, {"fate of a recipient's copy", Query{Fate: Delivered, Recipient: "staff77@company.example"}},
		{"common fate and symbol", Query{Fate: Delivered, Symbol: "SYMBOL_100"}}, {"two fates' recipient, none", Query{Fate: Recalled, Recipient: "staff77@company.example"}},
		{"sha256", Query{SHA256: marked.SHA256}}, {"who fetched", Query{SHA256: marked.SHA256, Kind: &fetch}}, {"message-id", Query{MessageID: marked.MessageID}}, {"user, none", Query{User: "nobody"}}, {"door", Query{Door: "mx"}}, {"direction", Query{Direction: "in"}},
		{"common, none in common", Query{Direction: "out", Door: "mx"}}, {"policy version", Query{PolicyVersion: "9f2c11aa"}}, {"several", Query{Text: "word1", Recipient: "company.example", Symbol: "SYMBOL_1", Direction: "in", Disposition: &reject}},
	} {
		begun := time.Now()
		found, next, err := l.Page(t.Context(), c.q)
		took := time.Since(begun)
		c.q.After = next
		if err == nil && next != "" {
			_, _, err = l.Page(t.Context(), c.q)
		}
		if err != nil || took > 10*time.Second {
			t.Errorf("%s: %v after %v", c.name, err, took)
		}
		t.Logf("%8.1f ms, next page %8.1f ms  %4d found  %s", took.Seconds()*1000, (time.Since(begun)-took).Seconds()*1000, len(found), c.name)
	}
	if count <= 6000 {
		span *= 10
	}
	begun = time.Now()
	n := 0
	if err := l.Walk(t.Context(), time.Time{}, first.Add(span/10), func(*Transaction) error { n++; return nil }); err != nil {
		t.Error(err)
	}
	t.Logf("walked: %d in %v, %.0f/s", n, time.Since(begun), float64(n)/time.Since(begun).Seconds())
	begun = time.Now()
	gone, err := l.Expire(t.Context(), first.Add(source.at.Sub(first)/100))
	t.Logf("expired: %d in %v, %v", gone, time.Since(begun), err)
}

// How many records a second are written to a file, in which there are few yet.
func BenchmarkTransaction(b *testing.B) {
	l := onSQLite(b).open(b, Options{})
	source := newTraffic()
	all := make([]Transaction, 20000)
	for n := range all {
		all[n] = source.transaction(n)
	}
	n := 0
	for b.Loop() {
		tx := all[n%len(all)]
		tx.ID = fmt.Sprintf("%s%d.1", tx.ConnID, n/len(all))
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
