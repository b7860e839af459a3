package harvest

import (
	"context"
	"fmt"
	"log/slog"
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
	for want, values := range map[string]map[string]any{
		"share":     {"share": 1.5},
		"good_name": {"good_name": 0.5},
		"@trap.exa": {"traps": []any{"not an address"}},
		"window":    {"window": "0s"},
	} {
		_, err := Spec.New(config.NewSection("filters.harvest", values), filters.Env{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q in it", values, err, want)
		}
	}
}

func newWith(t testing.TB, values map[string]any) (*filter, *state.State) {
	t.Helper()
	memory, err := state.NewMemory(state.MemoryOptions{Now: filtertest.Now, MaxKeys: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = memory.Close() })
	f, err := Spec.New(config.NewSection("filters.harvest", values), filters.Env{Now: filtertest.Now, State: memory, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return f.(*filter), memory
}

func transaction(client string) *mail.Transaction {
	from, _ := mail.ParseAddress("bob@example.org")
	to, _ := mail.ParseAddress("eve@corp.example")
	return &mail.Transaction{Session: &mail.Session{Helo: "mail.example.org", Client: netip.MustParseAddr(client)}, From: from,
		Recipients: []mail.Recipient{{Address: to}}, Stage: mail.StageRcpt}
}

// A client with a good name may mistype more often, but not for ever.
func TestGoodName(t *testing.T) {
	f, memory := newWith(t, nil)
	tx := transaction("192.0.2.1")
	filters.SetGoodClient(t.Context(), memory, tx.Session.Client, true, time.Hour)
	for i := range 51 {
		found, _ := f.Inspect(t.Context(), tx)
		if len(found) > 0 {
			t.Fatalf("kept out after %d", i)
		}
		f.Answered(t.Context(), tx, mail.Address{}, mail.NewReply(550, "5.1.1", "no"))
	}
	if found, _ := f.Inspect(t.Context(), tx); len(found) == 0 {
		t.Error("51 unknown recipients and still welcome")
	}
}

// A good name outlives a letter to a trap: among many users of a large service one is bad.
func TestGoodNameAndTrap(t *testing.T) {
	f, memory := newWith(t, map[string]any{"traps": []any{"eve@corp.example"}})
	tx := transaction("192.0.2.1")
	filters.SetGoodClient(t.Context(), memory, tx.Session.Client, true, time.Hour)
	if found, _ := f.Inspect(t.Context(), tx); len(found) != 1 {
		t.Errorf("found %v, want SPAMTRAP", found)
	}
	tx.Stage = mail.StageMail
	if found, _ := f.Inspect(t.Context(), tx); len(found) != 0 {
		t.Errorf("held against a client with a good name: %v", found)
	}
}

func TestManyAtOnce(t *testing.T) {
	f, _ := newWith(t, nil)
	var wait sync.WaitGroup
	for i := range 100 {
		wait.Go(func() {
			tx := transaction(fmt.Sprintf("198.51.100.%d", i%4))
			_, _ = f.Inspect(context.Background(), tx)
			f.Answered(context.Background(), tx, mail.Address{}, mail.NewReply(550, "5.1.1", "no"))
		})
	}
	wait.Wait()
	if found, _ := f.Inspect(t.Context(), transaction("198.51.100.0")); len(found) == 0 {
		t.Error("25 unknown recipients of a client, 100 of its network, and nobody noticed")
	}
}

func BenchmarkInspect(b *testing.B) {
	f, _ := newWith(b, nil)
	tx := transaction("198.51.100.1")
	b.ReportAllocs()
	for b.Loop() {
		_, _ = f.Inspect(b.Context(), tx)
	}
}

func BenchmarkAnswered(b *testing.B) {
	f, _ := newWith(b, nil)
	tx := transaction("198.51.100.1")
	b.ReportAllocs()
	for b.Loop() {
		f.Answered(b.Context(), tx, mail.Address{}, mail.NewReply(250, "2.1.5", "ok"))
	}
}
