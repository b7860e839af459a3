package reputation

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/state"
	"postern/internal/testing/filtertest"
)

func TestCases(t *testing.T) { filtertest.Run(t, Spec) }

func FuzzInspect(f *testing.F) { filtertest.Fuzz(f, Spec) }

func TestBadSettingsAreExplained(t *testing.T) {
	for want, values := range map[string]map[string]any{"half_life": {"half_life": "1m"}, "least": {"least": 0}} {
		_, err := Spec.New(config.NewSection("filters.reputation", values), filters.Env{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q in it", values, err, want)
		}
	}
}

func newWith(t testing.TB, keys int) (*filter, *state.State) {
	t.Helper()
	memory, err := state.NewMemory(state.MemoryOptions{Now: filtertest.Now, MaxKeys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = memory.Close() })
	f, err := Spec.New(config.NewSection("filters.reputation", nil), filters.Env{Now: filtertest.Now, State: memory, Log: slog.New(slog.DiscardHandler),
		ASN: func(netip.Addr) (uint32, string) { return 64500, "Example" }})
	if err != nil {
		t.Fatal(err)
	}
	return f.(*filter), memory
}

func transaction(client string) *mail.Transaction {
	return &mail.Transaction{Session: &mail.Session{ID: "S", Client: netip.MustParseAddr(client)}, Stage: mail.StageConnect,
		Findings: []filters.Finding{{Symbol: "R_SPF_ALLOW", Value: filters.SPF{Result: "pass", Domain: "example.org"}}, {Symbol: "R_DKIM_ALLOW", Value: filters.DKIM{{Result: "pass", Domain: "example.org"}}}},
		Message:  mail.NewMessage([]byte("From: bob@example.org\r\n\r\nhttps://a.example.net/ https://b.example.com/\r\n"))}
}

// A good name is one that the listener and other filters can ask for, and bad mail takes it away.
func TestKnown(t *testing.T) {
	f, memory := newWith(t, 100_000)
	tx := transaction("192.0.2.1")
	client := tx.Session.Client
	for range 9 {
		f.Decided(t.Context(), tx, []filters.Decision{{Disposition: mail.Accept}})
	}
	if Known(memory, client) {
		t.Error("nine messages make no name")
	}
	f.Decided(t.Context(), tx, []filters.Decision{{Disposition: mail.Accept}})
	if !Known(memory, client) || Known(memory, netip.MustParseAddr("192.0.2.2")) || Known(memory, netip.Addr{}) {
		t.Error("ten good messages make a name, for this address alone")
	}
	f.Decided(t.Context(), tx, []filters.Decision{{Disposition: mail.Reject, Score: 20}})
	if Known(memory, client) {
		t.Error("one of eleven was spam, and the name is good")
	}
}

func TestManyAtOnce(t *testing.T) {
	f, memory := newWith(t, 100_000)
	var wait sync.WaitGroup
	for i := range 100 {
		wait.Go(func() {
			tx := transaction(fmt.Sprintf("198.51.100.%d", i%4))
			_, _ = f.Inspect(context.Background(), tx)
			f.Decided(context.Background(), tx, []filters.Decision{{Disposition: mail.Accept}})
			tx.Stage = mail.StageMessage
			_, _ = f.Inspect(context.Background(), tx)
		})
	}
	wait.Wait()
	if !Known(memory, netip.MustParseAddr("198.51.100.3")) {
		t.Error("25 good messages make no name")
	}
}

func BenchmarkInspectConnect(b *testing.B) {
	f, _ := newWith(b, 1_000_000)
	tx := transaction("192.0.2.1")
	for range 30 {
		f.Decided(b.Context(), tx, []filters.Decision{{Disposition: mail.Accept}})
	}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = f.Inspect(b.Context(), tx)
	}
}

func BenchmarkInspectMessage(b *testing.B) {
	f, _ := newWith(b, 1_000_000)
	tx := transaction("192.0.2.1")
	tx.Stage = mail.StageMessage
	b.ReportAllocs()
	for b.Loop() {
		_, _ = f.Inspect(b.Context(), tx)
	}
}

func BenchmarkKnown(b *testing.B) {
	f, memory := newWith(b, 1_000_000)
	tx := transaction("192.0.2.1")
	for range 30 {
		f.Decided(b.Context(), tx, []filters.Decision{{Disposition: mail.Accept}})
	}
	b.ReportAllocs()
	for b.Loop() {
		if !Known(memory, tx.Session.Client) {
			b.Fatal("not known")
		}
	}
}
