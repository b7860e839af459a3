package ratelimit

import (
	"context"
	"fmt"
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

func TestBadSettingsAreExplained(t *testing.T) {
	for want, limit := range map[string]map[string]any{
		"100/1h":             {"key": "client", "count": "messages", "rate": "many"},
		"client, netw":       {"key": "shoe size", "count": "messages", "rate": "1/1h"},
		"connections":        {"key": "client", "count": "sheep", "rate": "1/1h"},
		"not known yet":      {"key": "recipient", "count": "connections", "rate": "1/1h"},
		"burst":              {"key": "client", "count": "messages", "rate": "1/1h", "burst": -1},
		"between 0 and 1":    {"key": "client", "ratio": "rejected", "over": 80, "min": 20},
		"min = 0":            {"key": "client", "ratio": "junk", "over": 0.5},
		"\"junk\"":           {"key": "client", "ratio": "sheep", "over": 0.5, "min": 20},
		"no count":           {"key": "client", "ratio": "junk", "over": 0.5, "min": 20, "rate": "1/1h"},
		"belong to a ratio":  {"key": "client", "count": "messages", "rate": "1/1h", "over": 0.5},
		"tarpit":             {"key": "client", "count": "messages", "rate": "1/1h", "then": "explode"},
		"set asn in [geo]":   {"key": "asn", "count": "messages", "rate": "1/1h"},
		"recipient_domain o": {"key": "domain", "count": "messages", "rate": "1/1h"},
	} {
		_, err := Spec.New(config.NewSection("filters.ratelimit", map[string]any{"limits": []any{limit}}), filters.Env{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q in it", limit, err, want)
		}
	}
}

func newWith(t testing.TB, settings map[string]any, keys int) filters.Filter {
	t.Helper()
	memory, err := state.NewMemory(state.MemoryOptions{Now: filtertest.Now, MaxKeys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = memory.Close() })
	f, err := Spec.New(config.NewSection("filters.ratelimit", settings), filters.Env{Now: filtertest.Now, State: memory})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func transaction(client string) *mail.Transaction {
	from, _ := mail.ParseAddress("bob@example.org")
	to, _ := mail.ParseAddress("eve@corp.example")
	return &mail.Transaction{Session: &mail.Session{Helo: "mail.example.org", Client: netip.MustParseAddr(client)}, From: from,
		Recipients: []mail.Recipient{{Address: to}}}
}

// Of a hundred transactions side by side exactly as many pass as the limit allows.
func TestManyAtOnce(t *testing.T) {
	f := newWith(t, map[string]any{"limits": []any{map[string]any{"key": "client", "count": "recipients", "rate": "40/1h"}}}, 10_000)
	var wait sync.WaitGroup
	var mu sync.Mutex
	passed := 0
	for range 100 {
		wait.Go(func() {
			tx := transaction("192.0.2.1")
			tx.Stage = mail.StageRcpt
			if found, _ := f.Inspect(context.Background(), tx); len(found) == 0 {
				mu.Lock()
				passed++
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	if passed != 40 {
		t.Errorf("%d of 100 passed, want 40", passed)
	}
}

func BenchmarkInspect(b *testing.B) {
	f := newWith(b, nil, 1_000_000)
	var all []*mail.Transaction
	for i := range 1000 {
		tx := transaction(fmt.Sprintf("198.51.%d.%d", i/250, i%250))
		tx.Stage = mail.StageRcpt
		all = append(all, tx)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := f.Inspect(b.Context(), all[i%len(all)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
