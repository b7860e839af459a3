package dnslists

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/testing/filtertest"
)

// world is what the lists answer, which may change, or hang.
type world struct {
	zone  atomic.Pointer[dns.Zone]
	hang  atomic.Bool
	mu    sync.Mutex
	names map[string]int
}

func (w *world) Exchange(ctx context.Context, q *miekg.Msg, server, network string) (*miekg.Msg, error) {
	w.mu.Lock()
	w.names[strings.TrimSuffix(q.Question[0].Name, ".")]++
	w.mu.Unlock()
	if w.hang.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return w.zone.Load().Exchange(ctx, q, server, network)
}

func (w *world) becomes(t testing.TB, text string) {
	t.Helper()
	z, err := dns.ParseZone(text)
	if err != nil {
		t.Fatal(err)
	}
	w.zone.Store(z)
}

func (w *world) asked(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.names[name]
}

// house is a filter with its world, clock and log.
type house struct {
	*filter
	world *world
	now   atomic.Int64
	logMu sync.Mutex
	log   bytes.Buffer
	chain *filters.Chain
}

func (h *house) Write(p []byte) (int, error) {
	h.logMu.Lock()
	defer h.logMu.Unlock()
	return h.log.Write(p)
}

func (h *house) logged() string {
	h.logMu.Lock()
	defer h.logMu.Unlock()
	return h.log.String()
}

func (h *house) clock() time.Time     { return time.Unix(0, h.now.Load()) }
func (h *house) pass(d time.Duration) { h.now.Add(int64(d)) }

func newHouse(t testing.TB, zone string, settings map[string]any) *house {
	t.Helper()
	h := &house{world: &world{names: map[string]int{}}}
	h.now.Store(filtertest.Now().UnixNano())
	h.world.becomes(t, zone)
	resolver, err := dns.New(dns.Options{Exchange: h.world, Now: h.clock, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(h, nil))
	f, err := newFilter(config.NewSection("filters.dnslists", settings), filters.Env{
		DNS: resolver, Log: log, Now: h.clock, Hostname: filtertest.Hostname,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.filter = f.(*filter)
	h.chain, err = filters.NewChain([]filters.Link{{Spec: Spec, Filter: f}}, log)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// visit is one connection up to MAIL; it gives the symbols found.
func (h *house) visit(t testing.TB, client string) string {
	t.Helper()
	from, _ := mail.ParseAddress("bob@example.org")
	tx := &mail.Transaction{ID: "T", Session: &mail.Session{Client: netip.MustParseAddr(client), Helo: "mail.example.org"}, From: from}
	run := h.chain.Start(t.Context(), tx)
	defer run.Close()
	for _, s := range []mail.Stage{mail.StageConnect, mail.StageHelo, mail.StageMail} {
		run.Stage(t.Context(), s)
	}
	var names []string
	for _, f := range tx.Findings {
		names = append(names, f.Symbol)
	}
	return strings.Join(names, " ")
}

// until visits until it finds that, for what a probe in the background changes.
func (h *house) until(t *testing.T, want string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		got := h.visit(t, "192.0.2.1")
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("found %q, want %q; log:\n%s", got, want, h.logged())
		}
	}
}

const healthy = "2.0.0.127.bl.spamcop.net A 127.0.0.2\n1.2.0.192.bl.spamcop.net A 127.0.0.2\n"

func TestABadListRaisesTheAlarmOnceAndComesBack(t *testing.T) {
	for what, c := range map[string]struct {
		zone, reason string
		partly       bool // the probe sees nothing wrong
	}{
		"refuses":   {"2.0.0.127.bl.spamcop.net A 127.0.0.2\n1.2.0.192.bl.spamcop.net A 127.255.255.254\n", "refuses our questions", true},
		"says .1":   {"1.0.0.127.bl.spamcop.net A 127.0.0.1\n2.0.0.127.bl.spamcop.net A 127.0.0.1\n1.2.0.192.bl.spamcop.net A 127.0.0.1\n", "refuses our questions", false},
		"expired":   {"2.0.0.127.bl.spamcop.net A 203.0.113.7\n1.2.0.192.bl.spamcop.net A 203.0.113.7\n", "answers outside 127.0.0.0/8", false},
		"the world": {healthy + "1.0.0.127.bl.spamcop.net A 127.0.0.2\n", "lists the world", false},
		"dead":      {"x.bl.spamcop.net A 127.0.0.2\n", "is dead", false},
		"servfail":  {"1.0.0.127.bl.spamcop.net SERVFAIL\n2.0.0.127.bl.spamcop.net SERVFAIL\n1.2.0.192.bl.spamcop.net SERVFAIL\n", "does not answer", false},
	} {
		t.Run(what, func(t *testing.T) {
			h := newHouse(t, healthy, map[string]any{"use": []string{"spamcop"}})
			h.until(t, "RBL_SPAMCOP")
			h.world.becomes(t, c.zone)
			h.pass(11 * time.Minute) // the probe is due, and what is cached is old
			h.until(t, "DNSLIST_MUTED")
			for range 20 {
				h.visit(t, "192.0.2.1")
			}
			if n := strings.Count(h.logged(), "level=WARN"); n != 1 || !strings.Contains(h.logged(), "list=spamcop reason=\""+c.reason) {
				t.Errorf("want one alarm that says %q:\n%s", c.reason, h.logged())
			}
			h.pass(61 * time.Minute)
			h.visit(t, "192.0.2.1") // it is probed again and is as bad as before
			h.settle()
			got := h.visit(t, "192.0.2.1")
			if n := strings.Count(h.logged(), "level=WARN"); got != "DNSLIST_MUTED" || n != 1 && !c.partly || n > 2 {
				t.Errorf("%s an hour later; log:\n%s", got, h.logged())
			}
			h.world.becomes(t, healthy)
			h.pass(61 * time.Minute)
			h.until(t, "RBL_SPAMCOP")
			if !strings.Contains(h.logged(), "asked again") {
				t.Errorf("nobody is told that it is asked again:\n%s", h.logged())
			}
		})
	}
}

// settle waits until no probe is under way.
func (h *house) settle() {
	for _, l := range h.lists {
		l.health.mu.Lock()
		probing := l.health.probing
		l.health.mu.Unlock()
		if probing != nil {
			<-probing
		}
	}
}

func TestMailFlowsWhileAListHangs(t *testing.T) {
	h := newHouse(t, healthy, map[string]any{"use": []string{"spamcop", "psbl", "spamhaus-zen"}, "timeout": "200ms"})
	h.world.hang.Store(true)
	start := time.Now()
	// the first probe and the deadline end together: either may be what is said of a list
	got := strings.ReplaceAll(h.visit(t, "192.0.2.1"), "DNSLIST_TIMEOUT", "DNSLIST_MUTED")
	if got != "DNSLIST_MUTED DNSLIST_MUTED DNSLIST_MUTED" {
		t.Errorf("found %q", got)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("MAIL waited %v, the deadline is 200 ms", took)
	}
	h.settle()
	if got := h.visit(t, "192.0.2.2"); got != "DNSLIST_MUTED DNSLIST_MUTED DNSLIST_MUTED" {
		t.Errorf("then found %q", got)
	}
	if n := strings.Count(h.logged(), "level=WARN"); n != 3 {
		t.Errorf("%d alarms for 3 lists:\n%s", n, h.logged())
	}
}

func TestAClientThatLeavesSaysNothingOfTheLists(t *testing.T) {
	h := newHouse(t, healthy, map[string]any{"use": []string{"spamcop"}})
	h.until(t, "RBL_SPAMCOP")
	h.world.hang.Store(true)
	for i := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		tx := &mail.Transaction{Stage: mail.StageMail, Session: &mail.Session{Client: netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)})}}
		time.AfterFunc(time.Millisecond, cancel)
		if _, err := h.Inspect(ctx, tx); err == nil {
			t.Fatal("what was broken off looks like an answer")
		}
	}
	if phase, why := h.lists[0].state(); phase != good {
		t.Errorf("the list is muted: %s", why)
	}
}

func TestQuestionsAreAskedBeforeMAIL(t *testing.T) {
	h := newHouse(t, healthy+"dbltest.com.dbl.spamhaus.org A 127.0.1.2\n", map[string]any{"use": []string{"spamcop", "spamhaus-dbl"}})
	s := &mail.Session{Client: netip.MustParseAddr("192.0.2.1")}
	for stage, name := range map[mail.Stage]string{mail.StageConnect: "1.2.0.192.bl.spamcop.net", mail.StageHelo: "mail.example.org.dbl.spamhaus.org"} {
		if stage == mail.StageHelo {
			s.Helo = "mail.example.org"
		}
		if found, err := h.Inspect(t.Context(), &mail.Transaction{Stage: stage, Session: s}); found != nil || err != nil {
			t.Fatal(found, err)
		}
		for deadline := time.Now().Add(10 * time.Second); h.world.asked(name) == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s was not asked at %s", name, stage)
			}
		}
	}
	s.Helo = "mail.example.org"
	if _, err := h.Inspect(t.Context(), &mail.Transaction{Stage: mail.StageMail, Session: s}); err != nil {
		t.Fatal(err)
	}
	if n := h.world.asked("1.2.0.192.bl.spamcop.net"); n != 1 {
		t.Errorf("the client was asked about %d times, want once", n)
	}
}

func TestSideBySide(t *testing.T) {
	h := newHouse(t, eightLists, eightSettings())
	h.until(t, "RBL_SPAMHAUS_XBL RBL_SPAMCOP DBL_SPAM")
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			for range 5 {
				if got := h.visit(t, "192.0.2.1"); got != "RBL_SPAMHAUS_XBL RBL_SPAMCOP DBL_SPAM" {
					t.Errorf("found %q", got)
				}
				h.visit(t, fmt.Sprintf("198.51.100.%d", i))
				_, _ = h.Rows(t.Context(), 10)
			}
		})
		if i == 50 {
			h.pass(11 * time.Minute) // probes while mail flows
		}
	}
	all.Wait()
	h.settle()
}

// eightLists is a world in which all lists are well.
const eightLists = `
2.0.0.127.zen.spamhaus.org A 127.0.0.2
2.0.0.127.bl.spamcop.net A 127.0.0.2
2.0.0.127.b.barracudacentral.org A 127.0.0.2
2.0.0.127.psbl.surriel.com A 127.0.0.2
2.0.0.127.dnsbl-1.uceprotect.net A 127.0.0.2
2.0.0.127.list.dnswl.org A 127.0.10.0
dbltest.com.dbl.spamhaus.org A 127.0.1.2
1.2.0.192.zen.spamhaus.org A 127.0.0.4
1.2.0.192.bl.spamcop.net A 127.0.0.2
mail.example.org.dbl.spamhaus.org A 127.0.1.2
`

func eightSettings() map[string]any {
	return map[string]any{"use": []string{"spamhaus-zen", "spamcop", "barracuda", "psbl", "uceprotect-1", "mailspike", "dnswl", "spamhaus-dbl"}}
}

func BenchmarkConnection(b *testing.B) {
	h := newHouse(b, eightLists, eightSettings())
	h.visit(b, "192.0.2.1")
	h.settle()
	from, _ := mail.ParseAddress("bob@example.org")
	b.ReportAllocs()
	for b.Loop() {
		tx := &mail.Transaction{Session: &mail.Session{Client: netip.MustParseAddr("192.0.2.1"), Helo: "mail.example.org"}, From: from}
		for _, tx.Stage = range []mail.Stage{mail.StageConnect, mail.StageHelo, mail.StageMail} {
			if _, err := h.Inspect(b.Context(), tx); err != nil {
				b.Fatal(err)
			}
		}
	}
}
