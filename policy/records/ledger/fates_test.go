package ledger

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// What becomes of a message after its transaction is added to its record, whichever of the two comes first, and is found
// by every way that leads to the record.
func testFates(t *testing.T, g ground) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := g.open(t, Options{Now: func() time.Time { return now }})
	ctx := t.Context()
	id, later := "0123456789ABCDEF.1", now.Add(time.Minute)

	l.Fate(Fate{Message: id, Item: id + "-1", Time: later, Recipient: "Ann@Ours.test", Word: Refused, Reply: "550 5.1.1 no such user"})
	l.Transaction(Transaction{ID: id, ConnID: "0123456789ABCDEF", Time: now, From: "ben@ours.test", Subject: "=?utf-8?Q?Gr=C3=BC=C3=9Fe?=", Recipients: []Recipient{
		{Address: "ann@ours.test", Fate: "queued"}, {Address: "eva@ours.test", Fate: "queued"}}})
	for range 2 { // a report may come twice
		l.Fate(Fate{Message: id, Item: id + "-1", Time: later.Add(time.Second), Recipient: "eva@ours.test", Word: Delivered, Reply: "250 ok"})
	}
	l.Fate(Fate{Message: id, Item: id + "-1", Time: later.Add(2 * time.Second), Recipient: "ben@ours.test", Word: Bounced})

	r, err := l.Explain(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	one := r.Transactions[0]
	if len(one.Fates) != 3 || one.Recipients[0].Last() != "refused" || one.Recipients[1].Last() != "delivered" {
		t.Errorf("%+v\n%+v", one.Fates, one.Recipients)
	}
	var text bytes.Buffer
	if err := Describe(&text, r, Admin); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"refused, <Ann@Ours.test> (" + id + "-1): 550 5.1.1 no such user", "delivered, <eva@ours.test>", "bounced", "Grüße"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	found, err := l.Search(ctx, Query{Sender: "ben@ours.test"})
	if err != nil || len(found) != 1 || len(found[0].Fates) != 3 {
		t.Errorf("search: %+v %v", found, err)
	}
	if own := one.For(one.Recipients[:1]); len(own.Fates) != 1 {
		t.Errorf("of the other's copy too: %+v", own.Fates)
	}

	// the record itself, put again, does not lose them, nor take what stood in it for its own
	one.Fates = nil
	l.Transaction(one)
	if again, err := l.Explain(ctx, id); err != nil || len(again.Transactions[0].Fates) != 3 {
		t.Errorf("%+v %v", again, err)
	}

	// a message of our own has no transaction
	l.Fate(Fate{Message: "0123456789ABCDEG", Recipient: "ann@ours.test", Word: Expired})
	if r, err := l.Explain(ctx, "0123456789ABCDEG"); err != nil || len(r.Transactions[0].Fates) != 1 {
		t.Errorf("%+v %v", r, err)
	}
	now = now.Add(48 * time.Hour)
	if _, err := l.Expire(ctx, now.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Explain(ctx, id); !errors.Is(err, ErrUnknown) {
		t.Errorf("after its time: %v", err)
	}
}

// A message is found by its fates, whichever of the two comes first: by the word, and by the word and the recipient.
// Intermediate fates are found, too.
func testFoundByFate(t *testing.T, g ground) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := g.open(t, Options{Now: func() time.Time { return now }, Privacy: Privacy{MaskAfter: 24 * time.Hour}})
	put := func(id string, after time.Duration, to ...string) {
		tx := Transaction{ID: id + ".1", ConnID: id, Time: now.Add(after), From: "ben@far.test", Subject: "plan " + id}
		for _, a := range to {
			tx.Recipients = append(tx.Recipients, Recipient{Address: a, Fate: "held"})
		}
		l.Transaction(tx)
	}
	fate := func(id, to string, w Word) {
		l.Fate(Fate{Message: id + ".1", Time: now.Add(time.Minute), Recipient: to, Word: w})
	}
	const a, b, c = "0123456789ABCDEA", "0123456789ABCDEB", "0123456789ABCDEC"
	fate(a, "ann@ours.test", Released)
	put(a, 0, "ann@ours.test", "eva@ours.test")
	put(b, time.Second, "ann@ours.test")
	put(c, 2*time.Second, "eva@Other.test")
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	fate(a, "ann@ours.test", Delivered)
	fate(b, "", Recalled)
	fate(c, "eva@other.test", Delivered)
	check := func(q Query, want ...string) {
		t.Helper()
		found, err := l.Search(t.Context(), q)
		var got []string
		for _, one := range found {
			got = append(got, one.ConnID)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s of %q: %v %v, want %v", q.Fate, q.Recipient, got, err, want)
		}
	}
	check(Query{Fate: Released}, a)
	check(Query{Fate: Delivered}, c, a)
	check(Query{Fate: "DELIVERED", Recipient: "eva@other.test"}, c)
	check(Query{Fate: Delivered, Recipient: "ours.test"}, a)
	check(Query{Fate: Delivered, Recipient: "eva@ours.test"})
	check(Query{Fate: Recalled, Recipient: "ann@ours.test"}, b)
	check(Query{Fate: Expired})
	const d = "0123456789ABCDED"
	l.Transaction(Transaction{ID: d, ConnID: d, Time: now.Add(-time.Second), Kind: Fetch, Recipients: []Recipient{{Address: "ann@ours.test", Fate: "masked"}}})
	check(Query{Fate: Masked, Recipient: "ann@ours.test"}, d)
	check(Query{Fate: Delivered, Text: "plan " + a}, a)
	check(Query{Fate: Delivered, Until: now.Add(time.Second)}, a)
	put(a, 0, "ann@ours.test", "eva@ours.test") // written again it is still found
	check(Query{Fate: Released}, a)
	if _, err := l.Search(t.Context(), Query{Fate: "eaten"}); !errors.Is(err, ErrQuery) || !strings.Contains(err.Error(), "released") {
		t.Errorf("%v", err)
	}

	// of an old one no address is left, and it is found by the word
	now = now.Add(48 * time.Hour)
	if _, err := l.Expire(t.Context(), time.Time{}); err != nil {
		t.Fatal(err)
	}
	check(Query{Fate: Released}, a)
	check(Query{Fate: Released, Recipient: "ann@ours.test"})
}

// Of an old fate no full address is left, like of an old message.
func TestFatesAreMasked(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := onSQLite(t).open(t, Options{Now: func() time.Time { return now }, Privacy: Privacy{MaskAfter: time.Hour}})
	l.Transaction(Transaction{ID: "0123456789ABCDEF.1", Time: now, Recipients: []Recipient{{Address: "ann@ours.test", Fate: "held"}}})
	l.Fate(Fate{Message: "0123456789ABCDEF.1", Recipient: "ann@ours.test", Word: Released, By: "eva@ours.test", Reply: "550 <ann@ours.test> is unknown"})
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Hour)
	if _, err := l.Expire(t.Context(), time.Time{}); err != nil {
		t.Fatal(err)
	}
	r, err := l.Explain(t.Context(), "0123456789ABCDEF.1")
	if err != nil {
		t.Fatal(err)
	}
	f := r.Transactions[0].Fates[0]
	if f.Recipient != "a***@ours.test" || f.By != "e***@ours.test" || strings.Contains(f.Reply, "ann") || r.Transactions[0].Recipients[0].Became != Released {
		t.Errorf("%+v %+v", f, r.Transactions[0].Recipients)
	}
}
