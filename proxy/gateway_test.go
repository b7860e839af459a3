package proxy_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/testing/hoptest"
	"postern/policy"
	"postern/policy/records/ledger"
	"postern/policy/records/quarantine"
	"postern/proxy"
	"postern/proxy/relay"
)

// Every case is one message with recipients whose policies and servers differ. The domain of a recipient says both:
// VERDICT.ROUTE.test.
func TestFates(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			b := newBench(t, string(text))
			for line := range strings.Lines(string(text)) {
				if word, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok && word != "#" {
					b.step(t, word, rest)
				}
			}
		})
	}
}

// bench is a gateway with four routes, a quarantine and a queue in memory.
type bench struct {
	hops        map[string]*hoptest.Hop
	gateway     *proxy.Gateway
	connection  *proxy.Connection
	transaction *proxy.Transaction
	store       *store
}

func newBench(t *testing.T, text string) *bench {
	t.Helper()
	b := &bench{hops: map[string]*hoptest.Hop{}, store: &store{}}
	routes := map[string]relay.Route{}
	for _, name := range []string{"one", "two", "three", "four"} {
		hop := hoptest.New(t, hoptest.Options{})
		b.hops[name] = hop
		if strings.Contains(text, "\ndown "+name) {
			hop.Close()
		}
		routes[name] = relay.Route{Inbound: true, Hops: []relay.Hop{{Address: hop.Addr(), TLS: relay.TLSNone}}}
	}
	r, err := relay.New(relay.Options{Routes: routes, HeloName: "gw.test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	b.gateway = &proxy.Gateway{Hostname: "gw.test", Relay: r, Queue: b.store, Quarantine: b.store, Ledger: b.store,
		Log: slog.New(slog.DiscardHandler), Now: time.Now, JudgeTimeout: time.Minute, DeliverTimeout: time.Minute,
		SealHeader: func(string, [sha256.Size]byte) []byte { return []byte("X-Judged: yes\r\n") }}
	b.gateway.Use(&proxy.Setup{Chain: chain(t, strings.Contains(text, "\nbroken")), Policy: verdicts(t), QueueWhenDown: map[mail.Route]bool{mail.RouteTo("three"): true},
		Route: func(domain string) (mail.Route, bool) {
			parts := strings.Split(domain, ".")
			return mail.RouteTo(parts[len(parts)-2]), parts[len(parts)-1] == "test"
		}})
	b.connection = b.gateway.Connection(t.Context(), &mail.Session{ID: "SESSION", Client: netip.MustParseAddr("192.0.2.1"), Helo: "mail.example.org", Started: time.Now()})
	x, reply := b.connection.Begin(t.Context(), mail.Address{Local: "bob", Domain: "example.org"}, mail.Params{}, 0)
	if !reply.Positive() {
		t.Fatal(reply)
	}
	b.transaction = x
	return b
}

// chain has one filter, which finds TEST in every message, unless it is broken.
func chain(t *testing.T, broken bool) *filters.Chain {
	t.Helper()
	c, err := filters.NewChain([]filters.Link{{Spec: filters.Spec{Name: "test", Stages: mail.StageMessage}, Filter: finder{broken}}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type finder struct{ broken bool }

func (f finder) Inspect(context.Context, *mail.Transaction) ([]mail.Finding, error) {
	if f.broken {
		return nil, errors.New("the scanner is away")
	}
	body := filters.PartSpan{Start: 37, End: 44, Name: "hello.exe"} // of the message below, which is all attachment
	return []mail.Finding{{Symbol: "TEST", Value: filters.Located{Spans: []filters.PartSpan{body}}}}, nil
}

// verdicts is a policy in which the domain of the recipient decides.
func verdicts(t *testing.T) *policy.Policy {
	t.Helper()
	text := "[on_failure]\ndefault = \"accept\"\n"
	for word, action := range map[string]string{"tag": "tag", "hold": "quarantine", "reject": "reject", "defer": "defer", "strip": "strip"} {
		for _, route := range []string{"one", "two", "three", "four"} {
			text += "[domain.\"" + word + "." + route + ".test\"]\nactions = { TEST = \"" + action + "\" }\n"
		}
	}
	settings, problems := policy.Parse("policy.toml", []byte(text))
	if len(problems) > 0 {
		t.Fatal(config.Problems(problems))
	}
	p, problems := policy.Compile(settings, append(proxy.Symbols(), filters.Symbol{Name: "TEST", Score: 1}))
	if len(problems) > 0 {
		t.Fatal(config.Problems(problems))
	}
	return p
}

func (b *bench) step(t *testing.T, word, rest string) {
	t.Helper()
	first, after, _ := strings.Cut(rest, " ")
	switch word {
	case "hop":
		prefix, reply, _ := strings.Cut(after, " => ")
		b.hops[first].Reply(prefix, reply)
	case "down", "broken":
	case "fail":
		b.store.failing = first
	case "to":
		if r := b.rcpt(t, first); !r.Positive() {
			t.Fatalf("to %s: %s", first, r)
		}
	case "refused":
		if r := b.rcpt(t, first); !fits(after, r.String()) {
			t.Fatalf("to %s: %s, want %s", first, r, after)
		}
	case "reply":
		message := mail.NewMessage([]byte("From: bob@example.org\r\nSubject: x\r\n\r\nhello\r\n"))
		if r := b.gateway.Handle(t.Context(), b.transaction, message); !fits(rest, r.String()) {
			t.Fatalf("reply %s, want %s", r, rest)
		}
	case "text":
		b.text(t, first, after)
	case "fate":
		if b.transaction != nil {
			b.transaction.Close("end of test")
			b.transaction = nil
		}
		if got := b.store.fate(first); got != after {
			t.Errorf("fate of %s: %s, want %s", first, got, after)
		}
	case "held":
		b.count(t, word, first, len(b.store.held))
	case "queued":
		b.count(t, word, first, len(b.store.queued))
	default:
		b.messages(t, word, first, after)
	}
}

func (b *bench) count(t *testing.T, what, want string, got int) {
	t.Helper()
	if want != string(rune('0'+got)) {
		t.Errorf("%s: %d, want %s", what, got, want)
	}
}

// text wants words in some message that a server got, or in none with "no" in front.
func (b *bench) text(t *testing.T, hop, want string) {
	t.Helper()
	words, absent := strings.CutPrefix(want, "no ")
	found := false
	for _, m := range b.hops[hop].Messages() {
		found = found || strings.Contains(string(m.Data), words)
	}
	if found == absent {
		t.Errorf("%q at %s: %v", words, hop, found)
	}
}

// messages compares what a server got: the number, and the recipients of each, "a b|c" for two messages.
func (b *bench) messages(t *testing.T, hop, want, to string) {
	t.Helper()
	got := b.hops[hop].Messages()
	b.count(t, "messages at "+hop, want, len(got))
	var who []string
	for _, m := range got {
		var names []string
		for _, path := range m.To {
			name, _, _ := strings.Cut(strings.Trim(path, "<>"), "@")
			names = append(names, name)
		}
		who = append(who, strings.Join(names, " "))
		if len(m.Defects) > 0 {
			t.Errorf("%s got %v", hop, m.Defects)
		}
	}
	if strings.Join(who, "|") != to {
		t.Errorf("%s delivered to %q, want %q", hop, who, to)
	}
}

func (b *bench) rcpt(t *testing.T, text string) mail.Reply {
	t.Helper()
	a, err := mail.ParseAddress(text)
	if err != nil {
		t.Fatal(err)
	}
	return b.transaction.Rcpt(t.Context(), mail.Recipient{Address: a})
}

func fits(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(text)
}

// store is a quarantine, a queue and a ledger in memory, one of which may fail.
type store struct {
	failing      string
	held, queued []string
	transaction  ledger.Transaction
}

var errFull = errors.New("no space left on device")

func (s *store) Hold(_ context.Context, item quarantine.Item, _ mail.Copy) error {
	if s.failing == "quarantine" {
		return errFull
	}
	s.held = append(s.held, item.ID)
	return nil
}

func (s *store) HoldRejected(ctx context.Context, item quarantine.Item, c mail.Copy, _ time.Duration) error {
	return s.Hold(ctx, item, c)
}

func (s *store) Drop(_ context.Context, id string) error {
	s.held = slices.DeleteFunc(s.held, func(one string) bool { return one == id })
	return nil
}

func (s *store) Put(_ context.Context, item proxy.QueueItem, _ mail.Copy) error {
	if s.failing == "queue" {
		return errFull
	}
	s.queued = append(s.queued, item.ID)
	return nil
}

func (s *store) Connection(ledger.Connection)      {}
func (s *store) Transaction(tx ledger.Transaction) { s.transaction = tx }

func (s *store) fate(address string) string {
	for _, r := range s.transaction.Recipients {
		if r.Address == address {
			return string(r.Fate)
		}
	}
	return "none"
}
