package ledger

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/policy"
)

// everything is all that a ledger tells of its records, as text.
func everything(t *testing.T, l *Ledger) string {
	t.Helper()
	var all bytes.Buffer
	if err := l.WriteJSONLines(t.Context(), &all, Query{}); err != nil {
		t.Fatal(err)
	}
	list, err := l.Connections(t.Context(), Query{})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewEncoder(&all).Encode(list); err != nil {
		t.Fatal(err)
	}
	return all.String()
}

func hidesSubjects(t *testing.T, g ground) {
	for _, c := range []struct {
		privacy Privacy
		kept    string
	}{
		{Privacy{Subjects: SubjectsHashed, Key: []byte("0123456789abcdef")}, "hash:"}, {Privacy{Subjects: SubjectsNone}, ""},
	} {
		l := g.open(t, Options{Privacy: c.privacy})
		_, tx := sample(1)
		tx.Subject = "Kündigung Meier"
		tx.Findings[0].Evidence = []string{"in Kündigung Meier found"}
		l.Transaction(tx)
		if text := everything(t, l); strings.Contains(text, "Meier") || strings.Contains(text, "Kündigung") {
			t.Error(text)
		}
		if found, err := l.Search(t.Context(), Query{Text: "kundigung"}); err != nil || len(found) != 0 {
			t.Errorf("it is found by its words: %v, %v", found, err)
		}
		found, err := l.Search(t.Context(), Query{Text: "bob"})
		if err != nil || len(found) != 1 || !strings.HasPrefix(found[0].Subject, c.kept) || (c.kept == "") != (found[0].Subject == "") {
			t.Errorf("%v, %v", found, err)
		}
		found, err = l.Search(t.Context(), Query{Subject: "Kündigung Meier"})
		if c.kept == "" != (err != nil) || c.kept != "" && len(found) != 1 {
			t.Errorf("by its whole subject: %v, %v", found, err)
		}
		if tx.Findings[0].Evidence[0] != "in Kündigung Meier found" {
			t.Error("the caller's own was changed")
		}
	}
}

func masks(t *testing.T, g ground) {
	at := time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)
	now := at.Add(time.Hour)
	l := g.open(t, Options{Now: func() time.Time { return now }, Privacy: Privacy{MaskAfter: 24 * time.Hour}})
	fill := func(n int, c *Connection, tx *Transaction) {
		c.User = "dagobert"
		c.Findings = []policy.Reason{{Symbol: "X", Evidence: []string{"login of dagobert@example.com"}}}
		tx.From, tx.HeaderFrom, tx.User = "dagobert@example.org", `"Dagobert D." <dagobert@example.org>, "dago b"@example.net`, "dagobert"
		tx.Recipients[0].Address, tx.Recipients[0].Reply = "dagobert@example.com", "250 2.1.5 <dagobert@example.com> ok"
		tx.Findings[0].Evidence = []string{"sent to dagobert@example.com"}
		tx.Decisive = "dagobert@example.com is on the list"
		tx.Facts = &policy.Facts{From: mail.Address{Local: "dagobert", Domain: "example.org"}, User: "dagobert", HeaderFrom: []mail.Address{{Local: "dagobert", Domain: "example.org"}}}
	}
	keep(t, l, 450, fill) // more than two batches
	recent, tx := sample(500)
	recent.Started = at.AddDate(0, 0, 3)
	fill(0, &recent, &tx)
	tx.Time, tx.From, tx.ID = recent.Started, "gustav@example.org", "01J9RECENT000000.1"
	l.Transaction(tx)
	if _, err := l.Expire(t.Context(), at.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if found, err := l.Search(t.Context(), Query{Sender: "dagobert@example.org"}); err != nil || len(found) != 100 {
		t.Fatalf("masked before its time: %d, %v", len(found), err)
	}
	now = at.AddDate(0, 0, 2)
	for range 2 { // the second changes nothing
		if n, err := l.Expire(t.Context(), at.Add(-time.Hour)); err != nil || n != 0 {
			t.Fatal(n, err)
		}
	}
	_, late := sample(900)
	late.ID = "01J9LATE00000000.1"
	fill(0, &recent, &late)
	l.Transaction(late) // came of age while it waited
	for _, q := range []Query{{Text: "dagobert"}, {Recipient: "dagobert@example.com"}, {User: "dagobert"}} {
		found, err := l.Search(t.Context(), q)
		if err != nil || len(found) != 1 || found[0].ID != tx.ID {
			t.Errorf("%+v still finds %d, %v", q, len(found), err)
		}
	}
	found, err := l.Search(t.Context(), Query{Sender: "example.org", Recipient: "d***@example.com", Until: at.AddDate(0, 0, 1), Limit: 1000})
	if err != nil || len(found) != 451 {
		t.Fatal(len(found), err)
	}
	if text, err := json.Marshal(found); err != nil || strings.Contains(strings.ToLower(string(text)), "dago") || !strings.Contains(string(text), "d***@example.com") {
		t.Errorf("%.3000s", text)
	}
	list, err := l.Connections(t.Context(), Query{Until: at.AddDate(0, 0, 1)})
	if text, _ := json.Marshal(list); err != nil || strings.Contains(string(text), "dago") {
		t.Errorf("%.1000s", text)
	}
	if found[0].MessageID != "<1@example.org>" {
		t.Error("the Message-ID is masked:", found[0].MessageID)
	}
}

func TestMaskText(t *testing.T) {
	for in, want := range map[string]string{
		"ann@example.com": "a***@example.com", "": "", "no address": "no address", "@": "@", "@@": "@@", "to <ann@example.com>, ben@example.net": "to <a***@example.com>, b***@example.net",
		"a***@example.com": "a***@example.com", "ünal@example.com": "ü***@example.com", `"ann b"@example.com`: `"***@example.com`, "bounce-ann=example.com@list.example": "b***@list.example",
		"\xff\xfe@x": "\xff***@x",
	} {
		if got := maskText(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestBadPrivacy(t *testing.T) {
	for _, p := range []Privacy{{Subjects: "some"}, {Subjects: SubjectsHashed}, {Subjects: SubjectsHashed, Key: []byte("short")}, {MaskAfter: -1}} {
		if l, err := New(Options{URL: t.TempDir() + "/x.db", Privacy: p}); err == nil {
			t.Errorf("%+v is taken", p)
			_ = l.Close()
		}
	}
}

// LG-08: no cell is a formula, whatever its source; the columns stay where they are.
func exports(t *testing.T, g ground) {
	l := g.open(t, Options{})
	evil := []string{"=cmd|' /C calc'!A0", "+1", "-2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "＝1", "a\x00\x1b[2J\",\"b", "plain", ""}
	keep(t, l, len(evil), func(n int, _ *Connection, tx *Transaction) {
		e := evil[n]
		tx.From, tx.Subject, tx.HeaderFrom, tx.MessageID, tx.SHA256, tx.User, tx.Reply, tx.Decisive, tx.PolicyVersion, tx.Door = e, e, e, e, e, e, e, e, e, e
		tx.Recipients[0].Address, tx.Recipients[0].Fate, tx.Findings[0].Symbol = e, Word(e), e
	})
	keep(t, l, 1200, func(n int, c *Connection, tx *Transaction) { // several pages
		c.ID = fmt.Sprintf("01J9FILLER%06d", n)
		tx.ID, tx.Time = c.ID+".1", tx.Time.Add(-24*time.Hour)
	})
	var out bytes.Buffer
	if err := l.WriteCSV(t.Context(), &out, Query{}); err != nil {
		t.Fatal(err)
	}
	list, err := csv.NewReader(strings.NewReader(out.String())).ReadAll()
	if err != nil || len(list) != 1+len(evil)+1200 {
		t.Fatal(len(list), err)
	}
	if got := strings.Join(list[0], " "); got != strings.Join(columns(), " ") {
		t.Error(got)
	}
	for _, cells := range list {
		for i, c := range cells {
			if c != "" && strings.ContainsAny(c[:1], "=+-@\t\r\n") || strings.ContainsAny(c, "\x00\x1b\r\n\t") || len(cells) != len(columns()) {
				t.Errorf("column %s: %q", list[0][i], c)
			}
		}
	}
	if got := list[len(evil)]; got[8] != "'=cmd|' /C calc'!A0" || got[13] != "7" || got[14] != "2048" || got[11] != "quarantine;reject" {
		t.Errorf("%q", got)
	}
	out.Reset()
	if err := l.WriteJSONLines(t.Context(), &out, Query{Limit: 700}); err != nil || strings.Count(out.String(), "\n") != 700 {
		t.Error(strings.Count(out.String(), "\n"), err)
	}
	for line := range strings.Lines(out.String()) {
		var tx Transaction
		if err := json.Unmarshal([]byte(line), &tx); err != nil || tx.ID == "" {
			t.Fatal(err)
		}
	}
}
