package correspondents

import (
	"bytes"
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

func FuzzReturnedIDs(f *testing.F) {
	f.Add([]byte("> Message-ID:\r\n>  <one@corp.example>\r\nReferences: <a@b> <c@d>\r\n <e@f>\r\n"))
	f.Add([]byte("Message-ID: <a b>\r\nmessage-id: <<>>\r\nOriginal-Message-ID: <x@y\r\n>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		found := returnedIDs(body)
		if len(found) > maxBounceIDs {
			t.Errorf("%d ids", len(found))
		}
		for _, id := range found {
			if id == "" || len(id) > maxID || strings.ContainsAny(id, "<> \t") || !bytes.Contains(body, []byte(id)) {
				t.Errorf("%q is no id", id)
			}
		}
	})
}

func TestReturnedIDs(t *testing.T) {
	got := returnedIDs([]byte("> Message-ID:\r\n>  <one@corp.example>\r\nSubject: <no@x>\r\nReferences: <a@b> <c@d>\r\n <e@f>\r\n <g@h>\r\n<i@j>\r\n"))
	if want := "one@corp.example a@b c@d e@f"; strings.Join(got[:min(4, len(got))], " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}

func TestBadSettingsAreExplained(t *testing.T) {
	for want, values := range map[string]map[string]any{"strangers": {"strangers": -1}, "usual": {"usual": 0.5}} {
		_, err := Spec.New(config.NewSection("filters.correspondents", values), filters.Env{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q in it", values, err, want)
		}
	}
}

func newWith(t testing.TB, log *slog.Logger, keys int) (*filter, *state.State) {
	t.Helper()
	memory, err := state.NewMemory(state.MemoryOptions{Now: filtertest.Now, MaxKeys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = memory.Close() })
	f, err := Spec.New(config.NewSection("filters.correspondents", map[string]any{"learning": "0s"}), filters.Env{Now: filtertest.Now, State: memory, Log: log,
		Local: func(d string) bool { return d == "corp.example" }})
	if err != nil {
		t.Fatal(err)
	}
	return f.(*filter), memory
}

func address(text string) mail.Address {
	a, _ := mail.ParseAddress(text)
	return a
}

func outbound(to string) *mail.Transaction {
	return &mail.Transaction{Session: &mail.Session{User: "eve", Client: netip.MustParseAddr("192.0.2.1")}, From: address("eve@corp.example"),
		Recipients: []mail.Recipient{{Address: address(to)}}, Stage: mail.StageRcpt,
		Message: mail.NewMessage([]byte("From: eve@corp.example\r\nMessage-ID: <one@corp.example>\r\n\r\nHello.\r\n"))}
}

// Of a hundred recipients side by side fifty pass, and one line in the log tells the admin.
func TestManyAtOnce(t *testing.T) {
	var log lockedBuffer
	f, _ := newWith(t, slog.New(slog.NewTextHandler(&log, nil)), 100_000)
	var wait sync.WaitGroup
	var mu sync.Mutex
	stopped := 0
	for i := range 100 {
		wait.Go(func() {
			tx := outbound(fmt.Sprintf("victim%d@example.net", i))
			found, _ := f.Inspect(context.Background(), tx)
			f.Decided(context.Background(), tx, []filters.Decision{{Recipient: address("friend@example.org"), Disposition: mail.Accept}})
			mu.Lock()
			defer mu.Unlock()
			stopped += len(found)
		})
	}
	wait.Wait()
	if stopped < 50 {
		t.Errorf("%d of 100 were stopped, want 50 at least", stopped)
	}
	if n := strings.Count(log.String(), "user frozen"); n != 1 {
		t.Errorf("the log tells it %d times, want once", n)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

// Half of the recipients know the sender: half of the weight.
func TestWeight(t *testing.T) {
	f, memory := newWith(t, slog.New(slog.DiscardHandler), 100_000)
	filters.SetCorrespondent(t.Context(), memory, address("eve@corp.example"), address("bob@example.org"), 1e12)
	found := f.known(t.Context(), inbound("eve@corp.example", "carla@corp.example"))
	if len(found) != 1 || found[0].Value.(share).Weight() != 0.5 {
		t.Errorf("found %v, want a weight of 0.5", found)
	}
}

func inbound(to ...string) *mail.Transaction {
	tx := &mail.Transaction{Session: &mail.Session{Client: netip.MustParseAddr("192.0.2.1")}, From: address("bob@example.org"), Stage: mail.StageMessage,
		Findings: []filters.Finding{{Symbol: "R_SPF_ALLOW", Value: filters.SPF{Result: "pass", Domain: "example.org"}}},
		Message:  mail.NewMessage([]byte("From: bob@example.org\r\nIn-Reply-To: <one@corp.example>\r\nReferences: <zero@example.org> <one@corp.example>\r\n\r\nHello.\r\n"))}
	for _, r := range to {
		tx.Recipients = append(tx.Recipients, mail.Recipient{Address: address(r)})
	}
	return tx
}

func BenchmarkRcptOutbound(b *testing.B) {
	f, memory := newWith(b, slog.New(slog.DiscardHandler), 1_000_000)
	filters.SetCorrespondent(b.Context(), memory, address("eve@corp.example"), address("bob@example.org"), 1e15)
	tx := outbound("bob@example.org")
	b.ReportAllocs()
	for b.Loop() {
		_, _ = f.Inspect(b.Context(), tx)
	}
}

func BenchmarkMessageInbound(b *testing.B) {
	f, memory := newWith(b, slog.New(slog.DiscardHandler), 1_000_000)
	filters.SetCorrespondent(b.Context(), memory, address("eve@corp.example"), address("bob@example.org"), 1e15)
	f.Decided(b.Context(), outbound("bob@example.org"), []filters.Decision{{Recipient: address("bob@example.org"), Disposition: mail.Accept}})
	tx := inbound("eve@corp.example")
	b.ReportAllocs()
	for b.Loop() {
		if found, _ := f.Inspect(b.Context(), tx); len(found) != 2 {
			b.Fatal(found)
		}
	}
}
