package greylist

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/state"
	"postern/internal/testing/filtertest"
)

func TestCases(t *testing.T) { filtertest.Run(t, Spec) }

func TestBadSettingsAreExplained(t *testing.T) {
	for want, values := range map[string]map[string]any{"mode": {"mode": "perhaps"}, "longer than delay": {"retry": "1m"}, "pass": {"pass": "0s"}} {
		_, err := Spec.New(config.NewSection("filters.greylist", values), filters.Env{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q in it", values, err, want)
		}
	}
}

func TestSteady(t *testing.T) {
	for from, want := range map[string]string{
		"<>":                               "<>",
		"Bob@Example.ORG":                  "bob@example.org",
		"bob+tag17@example.org":            "bob@example.org",
		"prvs=1234567890=bob@example.org":  "bob@example.org",
		"btv1==1234567890==b@example.org":  "b@example.org",
		"prvs=@example.org":                "prvs=@example.org",
		"SRS0=@example.org":                "#=@example.org",
		"SRS0@example.org":                 "#@example.org",
		"SRS1=a=b==c@example.org":          "c@example.org",
		"0100018c3f2-abc-000@mail.example": "#-abc-#@mail.example",
		"bounce_x17_y.z@example.org":       "bounce_#_y.z@example.org",
		"+@example.org":                    "+@example.org",
	} {
		a, _, err := mail.ParsePath("<"+strings.Trim(from, "<>")+">", true)
		if err != nil {
			t.Fatal(from, err)
		}
		if got := steady(a); got != want {
			t.Errorf("%s: %s, want %s", from, got, want)
		}
	}
}

func FuzzSteady(f *testing.F) {
	for _, s := range []string{"bob", "prvs=1=bob", "SRS0=a=b=c=d", "SRS1=a=b==c=d=e=f", "a+b", "1-2.3_4", "btv1==a==b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, local string) {
		a := mail.Address{Local: local, Domain: "example.org"}
		once := steady(a)
		if len(once) > len(strings.ToLower(local))+len("@example.org") {
			t.Errorf("%q grows to %q", local, once)
		}
	})
}

func newWith(t testing.TB, values map[string]any, keys int, now func() time.Time) (*filter, *state.State) {
	t.Helper()
	memory, err := state.NewMemory(state.MemoryOptions{Now: now, MaxKeys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = memory.Close() })
	f, err := Spec.New(config.NewSection("filters.greylist", values), filters.Env{Now: now, State: memory, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return f.(*filter), memory
}

func all() map[string]any { return map[string]any{"mode": "all"} }

func transaction(client, helo, from, to string) *mail.Transaction {
	sender, _ := mail.ParseAddress(from)
	recipient, _ := mail.ParseAddress(to)
	return &mail.Transaction{Session: &mail.Session{Client: netip.MustParseAddr(client), Helo: helo}, From: sender,
		Recipients: []mail.Recipient{{Address: recipient}}, Stage: mail.StageRcpt}
}

func greylisted(t testing.TB, f *filter, tx *mail.Transaction) bool {
	t.Helper()
	found, err := f.Inspect(context.Background(), tx)
	if err != nil {
		t.Fatal(err)
	}
	return len(found) > 0
}

// Senders that the recipient has written to, and addresses with a good reputation, do not wait.
func TestHistory(t *testing.T) {
	f, memory := newWith(t, all(), 100_000, filtertest.Now)
	tx := transaction("192.0.2.1", "a.example.org", "bob@example.org", "eve@corp.example")
	filters.SetCorrespondent(t.Context(), memory, tx.Recipients[0].Address, tx.From, time.Hour)
	if greylisted(t, f, tx) {
		t.Error("a correspondent waits")
	}
	stranger := transaction("192.0.2.1", "a.example.org", "mallory@example.org", "eve@corp.example")
	if !greylisted(t, f, stranger) {
		t.Error("another sender of his domain, not proven, does not wait")
	}
	stranger.Stage, stranger.Findings = mail.StageMessage, []filters.Finding{{Symbol: "R_SPF_ALLOW", Value: filters.SPF{Result: "pass", Domain: "example.org"}}}
	if greylisted(t, f, stranger) {
		t.Error("a proven domain that ours wrote to waits")
	}
	filters.SetGoodClient(t.Context(), memory, netip.MustParseAddr("198.51.100.1"), true, time.Hour)
	if greylisted(t, f, transaction("198.51.100.1", "a.example.org", "x@example.org", "eve@corp.example")) {
		t.Error("a client with a good name waits")
	}
}

// A flood of new senders is bounded, and evicts no sender that has passed.
func TestFlood(t *testing.T) {
	var mu sync.Mutex
	now := filtertest.Now()
	f, memory := newWith(t, all(), 20_000, func() time.Time { mu.Lock(); defer mu.Unlock(); return now })
	honest := make([]*mail.Transaction, 500)
	for i := range honest {
		honest[i] = transaction(fmt.Sprintf("198.51.%d.1", i%200), "mail.example.org", fmt.Sprintf("b%c%c@example.org", 'a'+i%26, 'a'+i/26), "eve@corp.example")
		greylisted(t, f, honest[i])
	}
	mu.Lock()
	now = now.Add(5 * time.Minute)
	mu.Unlock()
	for _, tx := range honest {
		if greylisted(t, f, tx) {
			t.Fatal("an honest sender waits twice")
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	letters, flooded, start := "abcdefghijklmnopqrstuvwxyz", 0, time.Now()
	for ; flooded < 1_000_000; flooded++ {
		if flooded >= 100_000 && time.Since(start) > 8*time.Second {
			break // a slow machine, or the race detector
		}
		address := netip.AddrFrom4([4]byte{byte(11 + random.IntN(100)), byte(random.Uint32()), byte(random.Uint32()), 1})
		name := make([]byte, 8)
		for i := range name {
			name[i] = letters[random.IntN(26)]
		}
		tx := honest[0]
		flood := *tx
		flood.Session = &mail.Session{Client: address, Helo: "h.example.net"}
		flood.From.Local = string(name)
		f.atRcpt(context.Background(), &flood, tx.Recipients[0].Address)
	}
	if keys := memory.Health().Keys; keys > 21_000 {
		t.Errorf("%d keys, want about 20,000 at most", keys)
	}
	t.Logf("%d triplets in %v", flooded, time.Since(start).Round(time.Millisecond))
	lost := 0
	for _, tx := range honest {
		if greylisted(t, f, tx) {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of 500 who had passed wait again after a flood", lost)
	}
}

func TestManyAtOnce(t *testing.T) {
	f, _ := newWith(t, all(), 100_000, filtertest.Now)
	var wait sync.WaitGroup
	for i := range 100 {
		wait.Go(func() {
			tx := transaction(fmt.Sprintf("198.51.100.%d", i), "mail.example.org", "bob@example.org", "eve@corp.example")
			if !greylisted(t, f, tx) {
				t.Error("one of a hundred first tries at once passed")
			}
			_, _ = f.Rows(context.Background(), 10)
		})
	}
	wait.Wait()
	if rows, _ := f.Rows(t.Context(), 100); len(rows) != 1 {
		t.Errorf("%d rows, want the one triplet", len(rows))
	}
}

func TestShelfRefusesWhatIsNotThere(t *testing.T) {
	f, _ := newWith(t, all(), 100_000, filtertest.Now)
	if err := f.Apply(t.Context(), "pass", "grey:{t|x}"); err != filters.ErrNoRow {
		t.Errorf("%v", err)
	}
	if err := f.Apply(t.Context(), "explode", "grey:{t|x}"); err != filters.ErrUnknownVerb {
		t.Errorf("%v", err)
	}
}

func BenchmarkRcptKnown(b *testing.B) {
	f, _ := newWith(b, all(), 1_000_000, filtertest.Now)
	tx := transaction("192.0.2.1", "mail.example.org", "bob@example.org", "eve@corp.example")
	f.let(b.Context(), f.keysOf(tx, tx.Recipients[0].Address).network)
	b.ReportAllocs()
	for b.Loop() {
		if greylisted(b, f, tx) {
			b.Fatal("waits")
		}
	}
}

func BenchmarkRcptWaiting(b *testing.B) {
	f, _ := newWith(b, all(), 1_000_000, filtertest.Now)
	tx := transaction("192.0.2.1", "mail.example.org", "bob@example.org", "eve@corp.example")
	b.ReportAllocs()
	for b.Loop() {
		greylisted(b, f, tx)
	}
}

func BenchmarkMessageNotOdd(b *testing.B) {
	f, _ := newWith(b, map[string]any{"mode": "odd"}, 1_000_000, filtertest.Now)
	tx := transaction("192.0.2.1", "mail.example.org", "bob@example.org", "eve@corp.example")
	tx.Stage, tx.Findings = mail.StageMessage, []filters.Finding{{Symbol: "R_SPF_ALLOW"}, {Symbol: "R_DKIM_ALLOW"}, {Symbol: "DMARC_POLICY_ALLOW"}}
	b.ReportAllocs()
	for b.Loop() {
		greylisted(b, f, tx)
	}
}
