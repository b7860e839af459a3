package ledger

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/policy"
)

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
