package lists

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/testing/pgtest"
	"postern/policy"
)

type ground struct {
	url string
	now func() time.Time
}

func (g ground) open(t *testing.T, o Options) *Store {
	t.Helper()
	o.Now = g.now
	s, err := Open(g.url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return s
}

func TestSQLite(t *testing.T) {
	contract(t, func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "lists.db") })
}

func TestPostgreSQL(t *testing.T) {
	server := pgtest.Start(t)
	n := 0
	contract(t, func(*testing.T) string {
		n++
		return server.Database(fmt.Sprintf("lists%d", n))
	})
}

// contract is what a store does on any database.
func contract(t *testing.T, url func(*testing.T) string) {
	for name, test := range map[string]func(*testing.T, ground, func(time.Duration)){
		"add and find": addsAndFinds, "joined": joins, "search": searches, "hits": counts, "expire": expires, "full": fills, "import": imports, "two gateways": twoGateways, "hostile": hostile,
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			now := time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)
			clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
			pass := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
			test(t, ground{url(t), clock}, pass)
		})
	}
}

func allow(sender string) Entry {
	return Entry{List: policy.Allow, Scope: Admin, Sender: sender, Owner: "ann", Reason: "a partner"}
}

func add(t *testing.T, s *Store, e Entry) Entry {
	t.Helper()
	e, err := s.Add(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func version(t *testing.T, s *Store) int64 {
	t.Helper()
	n, err := s.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func addsAndFinds(t *testing.T, g ground, _ func(time.Duration)) {
	s := g.open(t, Options{})
	before := version(t, s)
	e := add(t, s, Entry{List: policy.Block, Scope: User, ScopeOf: "Ann@Ours.TEST", Sender: "BAD@Bücher.example", Network: netip.MustParsePrefix("192.0.2.0/24"),
		Owner: "ann", Reason: "no more", Expires: g.now().Add(time.Hour), Monitored: true, Hits: 99})
	if e.ScopeOf != "ann@ours.test" || e.Recipient != "ann@ours.test" || e.Sender != "bad@xn--bcher-kva.example" || e.Hits != 0 || !e.Created.Equal(g.now()) || !e.Monitored || e.Network.String() != "192.0.2.0/24" {
		t.Errorf("%+v", e)
	}
	if version(t, s) == before {
		t.Error("nobody is told that an entry is new")
	}
	p := e.Policy()
	if problems := p.Check(); len(problems) > 0 || p.ID != e.ID || p.Expires != "2026-05-03" {
		t.Errorf("%+v: %v", p, problems)
	}
	before = version(t, s)
	if err := s.Remove(t.Context(), e.ID); err != nil || version(t, s) == before {
		t.Errorf("removed: %v", err)
	}
	if _, err := s.Find(t.Context(), e.ID); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if err := s.Remove(t.Context(), e.ID); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if _, err := s.Add(t.Context(), Entry{List: policy.Allow, Scope: User, ScopeOf: "ann@ours.test", Sender: "a.example", Recipient: "ben@ours.test"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a user speaks for another: %v", err)
	}
}

func joins(t *testing.T, g ground, pass func(time.Duration)) {
	s := g.open(t, Options{})
	first := allow("partner.example")
	first.Expires = g.now().Add(time.Hour)
	one := add(t, s, first)
	s.Hit(one.ID, g.now())
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	pass(time.Minute)
	again := allow("Partner.Example")
	again.Owner, again.Expires = "ben", g.now().Add(time.Minute)
	two := add(t, s, again)
	if two.ID != one.ID || two.Owner != "ben" || !two.Created.Equal(one.Created) || !two.Expires.Equal(one.Expires) || two.Hits != 1 {
		t.Errorf("%+v, then %+v", one, two)
	}
	again.Expires = time.Time{}
	if two = add(t, s, again); !two.Expires.IsZero() {
		t.Errorf("for ever is the later end: %+v", two)
	}
	again.Expires = g.now().Add(time.Minute)
	if two = add(t, s, again); !two.Expires.IsZero() {
		t.Errorf("for ever is the later end: %+v", two)
	}
	open := again
	open.Unauthenticated = true
	if add(t, s, open).ID == one.ID {
		t.Error("an entry that asks for proof became one that asks for none")
	}
	watched := again
	watched.Monitored = true
	add(t, s, watched)
	if all, err := s.All(t.Context()); err != nil || len(all) != 3 || len(Deciding(all)) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
}

func searches(t *testing.T, g ground, pass func(time.Duration)) {
	s := g.open(t, Options{})
	for n := range 7 {
		e := allow(fmt.Sprintf("n%d.example", n))
		e.Reason = "Reason 100% of N" + fmt.Sprint(n)
		if n == 3 {
			e.Scope, e.ScopeOf = Domain, "ours.test"
		}
		add(t, s, e)
		if n%2 == 0 {
			pass(time.Second) // the others are of the same moment
		}
	}
	list := func(q Query) string {
		t.Helper()
		got := ""
		for range 20 {
			found, next, err := s.Search(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range found {
				got += e.Sender[1:2]
			}
			if q.After = next; next == "" {
				return got
			}
		}
		return got + " without an end"
	}
	if got := list(Query{Limit: 2}); len(got) != 7 || got[0] != '6' && got[0] != '5' || got[6] != '0' {
		t.Errorf("%q", got)
	}
	for want, q := range map[string]Query{"3": {Scope: Domain, ScopeOf: "ours.test"}, "4": {Text: "n4.EXAMPLE"}, "5": {Text: "100% of n5"}, "": {List: policy.Block}} {
		if got := list(q); got != want {
			t.Errorf("%+v: %q, want %q", q, got, want)
		}
	}
	for _, bad := range []string{"x", "1", "1_a b", "9999999999999999999_L"} {
		if _, _, err := s.Search(t.Context(), Query{After: bad}); !errors.Is(err, ErrCursor) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func counts(t *testing.T, g ground, pass func(time.Duration)) {
	s := g.open(t, Options{})
	used, unused := add(t, s, allow("used.example")), add(t, s, allow("unused.example"))
	before := version(t, s)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { s.Hit(used.ID, g.now()) })
	}
	all.Wait()
	s.Hit("no such entry", g.now())
	for range 2 {
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	late := g.now().Add(-time.Hour)
	s.Hit(used.ID, late) // reported late by another gateway
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	e, err := s.Find(t.Context(), used.ID)
	if err != nil || e.Hits != 21 || !e.LastHit.Equal(g.now()) {
		t.Errorf("%+v, %v", e, err)
	}
	if version(t, s) != before {
		t.Error("policy would be compiled anew for each hit")
	}
	pass(time.Minute)
	found, _, err := s.Search(t.Context(), Query{Unused: g.now().Add(-time.Hour)})
	if err != nil || len(found) != 1 || found[0].ID != unused.ID {
		t.Errorf("%+v, %v", found, err)
	}
}

func expires(t *testing.T, g ground, pass func(time.Duration)) {
	s := g.open(t, Options{})
	short := allow("short.example")
	short.Expires = g.now().Add(time.Hour)
	add(t, s, short)
	add(t, s, allow("long.example"))
	pass(time.Hour)
	before := version(t, s)
	if all, err := s.All(t.Context()); err != nil || len(all) != 1 || all[0].Sender != "long.example" {
		t.Errorf("%+v, %v", all, err)
	}
	if n, err := s.Expire(t.Context()); err != nil || n != 1 || version(t, s) == before {
		t.Errorf("%d, %v", n, err)
	}
	before = version(t, s)
	if n, err := s.Expire(t.Context()); err != nil || n != 0 || version(t, s) != before {
		t.Errorf("%d, %v", n, err)
	}
}

func fills(t *testing.T, g ground, _ func(time.Duration)) {
	s := g.open(t, Options{MaxEntries: 5, PerUser: 2})
	mine := func(n int) Entry {
		return Entry{List: policy.Allow, Scope: User, ScopeOf: "ann@ours.test", Sender: fmt.Sprintf("n%d.example", n)}
	}
	add(t, s, mine(1))
	add(t, s, mine(2))
	if _, err := s.Add(t.Context(), mine(3)); !errors.Is(err, ErrFull) {
		t.Errorf("%v", err)
	}
	add(t, s, mine(2)) // the same again needs no room
	var many []Entry
	for n := range 4 {
		many = append(many, allow(fmt.Sprintf("m%d.example", n)))
	}
	if _, err := s.AddAll(t.Context(), many); !errors.Is(err, ErrFull) {
		t.Errorf("%v", err)
	}
	if all, err := s.All(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("some of what did not fit are kept: %d, %v", len(all), err)
	}
}

func imports(t *testing.T, g ground, _ func(time.Duration)) {
	s := g.open(t, Options{})
	report, err := Import(SpamAssassin, strings.NewReader("whitelist_from *@a.example\nblacklist_from b@c.example\n"), ImportOptions{Owner: "ann", Reason: "from the old gateway"})
	if err != nil {
		t.Fatal(err)
	}
	if all, err := s.All(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("reading a list changed something: %v", err)
	}
	for want := range []int{2, 0} {
		n, err := s.AddAll(t.Context(), report.Entries)
		if err != nil || n != 2-2*want {
			t.Errorf("%d new, %v", n, err)
		}
	}
	if all, err := s.All(t.Context()); err != nil || len(all) != 2 || all[0].Owner != "ann" || all[0].Reason != "from the old gateway" || all[0].Unauthenticated {
		t.Errorf("%+v, %v", all, err)
	} else if _, problems := policy.Compile(policy.Default(), nil, Deciding(all)...); len(problems) > 0 {
		t.Errorf("policy does not take them: %v", problems)
	}
}

func twoGateways(t *testing.T, g ground, _ func(time.Duration)) {
	a, b := g.open(t, Options{PerUser: 10}), g.open(t, Options{PerUser: 10})
	before := version(t, b)
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			s := []*Store{a, b}[n%2]
			_, err := s.Add(t.Context(), Entry{List: policy.Allow, Scope: User, ScopeOf: "ann@ours.test", Sender: fmt.Sprintf("n%d.example", n)})
			if err != nil && !errors.Is(err, ErrFull) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	found, err := a.All(t.Context())
	if err != nil || len(found) != 10 {
		t.Errorf("%d entries, %v", len(found), err)
	}
	if version(t, b) == before {
		t.Error("one gateway does not hear of the other's entries")
	}
	for _, s := range []*Store{a, b} {
		all.Go(func() {
			for _, e := range found {
				s.Hit(e.ID, g.now())
			}
			if err := s.Flush(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if e, err := a.Find(t.Context(), found[0].ID); err != nil || e.Hits != 2 {
		t.Errorf("%+v, %v", e, err)
	}
}

func hostile(t *testing.T, g ground, _ func(time.Duration)) {
	s := g.open(t, Options{})
	text := "\x00\x1b]0;x\a\r\n\xff'; DROP TABLE list_entry; -- <script>" + strings.Repeat("€", 600)
	e := allow("a.example")
	e.Owner, e.Reason = text, text
	e = add(t, s, e)
	if strings.ContainsAny(e.Owner+e.Reason, "\x00\x1b\a\r\n\xff") || len(e.Reason) > 200 {
		t.Errorf("%q", e.Reason)
	}
	if _, _, err := s.Search(t.Context(), Query{Text: text, ScopeOf: "' OR 1 = 1 --"}); err != nil {
		t.Error(err)
	}
	if _, err := s.Find(t.Context(), "' OR 1 = 1 --"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}
