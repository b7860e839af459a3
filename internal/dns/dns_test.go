package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const world = `
# a small world
example.org      TXT   v=spf1 mx -all
example.org      TXT   "two " "strings"
example.org      MX    20 b.example.org
example.org      MX    10 a.example.org
a.example.org    A     192.0.2.1
a.example.org    AAAA  2001:db8::1
192.0.2.1        PTR   a.example.org
www.example.org  CNAME a.example.org
loop.example     CNAME loop.example
slow.example     TIMEOUT
bad.example      SERVFAIL TXT
bad.example      A     192.0.2.9
x.y.example      A     192.0.2.7
`

func resolver(t *testing.T, text string) *Resolver {
	t.Helper()
	r, err := NewZoneResolver(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLookups(t *testing.T) {
	ctx := t.Context()
	r := resolver(t, world)
	if got, err := r.LookupTXT(ctx, "EXAMPLE.org"); err != nil || fmt.Sprint(got) != "[v=spf1 mx -all two strings]" {
		t.Errorf("TXT: %q, %v", got, err)
	}
	if got, err := r.LookupMX(ctx, "example.org."); err != nil || len(got) != 2 || got[0].Host != "a.example.org." {
		t.Errorf("MX: %v, %v, want a before b", got, err)
	}
	if got, err := r.LookupIPAddr(ctx, "www.example.org"); err != nil || fmt.Sprint(got) != "[{192.0.2.1 } {2001:db8::1 }]" {
		t.Errorf("addresses behind an alias: %v, %v", got, err)
	}
	if got, err := r.LookupAddr(ctx, "192.0.2.1"); err != nil || fmt.Sprint(got) != "[a.example.org.]" {
		t.Errorf("PTR: %v, %v", got, err)
	}
}

func TestErrorsTellNoNameFromNoAnswer(t *testing.T) {
	ctx := t.Context()
	r := resolver(t, world)
	for _, c := range []struct {
		name     string
		notFound bool
		timeout  bool
	}{
		{"nothing.example", true, false},
		{"a.example.org", true, false}, // exists, has no TXT
		{"slow.example", false, true},
		{"bad.example", false, false},
		{"with\x00nul.example", true, false},
		{strings.Repeat("a", 64) + ".example", true, false},
		{strings.Repeat("abc.", 70) + "example", true, false},
		{"", true, false},
	} {
		_, err := r.LookupTXT(ctx, c.name)
		var e *net.DNSError
		if !errors.As(err, &e) || e.IsNotFound != c.notFound || e.IsTimeout != c.timeout || e.IsTemporary == c.notFound {
			t.Errorf("%q: %#v, want not found %v, timeout %v", c.name, err, c.notFound, c.timeout)
		}
	}
	if _, err := r.LookupA(ctx, "loop.example"); err == nil {
		t.Error("an alias loop gives an answer")
	}
}

func TestExistsIsAboutTheNameNotItsRecords(t *testing.T) {
	r := resolver(t, world)
	for name, want := range map[string]bool{"example.org": true, "y.example": true, "none.example": false, "a..b": false} {
		if got, err := r.Exists(t.Context(), name); err != nil || got != want {
			t.Errorf("%s exists: %v, %v, want %v", name, got, err, want)
		}
	}
}

// counting answers every question for an A record and counts them.
type counting struct {
	n     atomic.Int32
	delay time.Duration
	ttl   uint32
}

func (c *counting) Exchange(_ context.Context, q *dns.Msg, _, _ string) (*dns.Msg, error) {
	c.n.Add(1)
	time.Sleep(c.delay)
	m := new(dns.Msg)
	m.SetReply(q)
	h := dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: c.ttl}
	m.Answer = []dns.RR{&dns.A{Hdr: h, A: net.IPv4(192, 0, 2, 1)}}
	return m, nil
}

func TestCacheHonoursTTL(t *testing.T) {
	now := time.Unix(1e9, 0)
	ex := &counting{ttl: 60}
	r, err := New(Options{Exchange: ex, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(name string) {
		if _, err := r.LookupA(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	ask("a.example")
	ask("A.Example.")
	if ex.n.Load() != 1 {
		t.Errorf("%d queries for one name, want 1", ex.n.Load())
	}
	now = now.Add(61 * time.Second)
	ask("a.example")
	if ex.n.Load() != 2 {
		t.Errorf("%d queries after the TTL, want 2", ex.n.Load())
	}
}

func TestCacheIsBounded(t *testing.T) {
	r, err := New(Options{Exchange: &counting{ttl: 3600}, CacheSize: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2000 {
		if _, err := r.LookupA(t.Context(), fmt.Sprintf("n%d.example", i)); err != nil {
			t.Fatal(err)
		}
	}
	if r.cache.used > 100_000 || len(r.cache.items) != r.cache.order.Len() {
		t.Errorf("cache holds %d octets in %d entries", r.cache.used, len(r.cache.items))
	}
}

func TestOneQueryInFlight(t *testing.T) {
	ex := &counting{ttl: 60, delay: 30 * time.Millisecond}
	r, err := New(Options{Exchange: ex})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := r.LookupA(t.Context(), "same.example"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := ex.n.Load(); n != 1 {
		t.Errorf("%d queries, want 1", n)
	}
}

func TestBudget(t *testing.T) {
	r := resolver(t, world)
	ctx := WithBudget(t.Context(), Budget{Queries: 2, Time: time.Minute})
	for i, want := range []bool{false, false, true} {
		_, err := r.LookupTXT(ctx, "example.org")
		if got := err != nil; got != want {
			t.Errorf("query %d: %v", i+1, err)
		}
		if err != nil && !IsTemporary(err) {
			t.Errorf("over budget is not temporary: %v", err)
		}
	}
	slow, err := New(Options{Exchange: &counting{delay: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err = slow.LookupA(WithBudget(t.Context(), Budget{Queries: 5, Time: 20 * time.Millisecond}), "a.example")
	if !IsTemporary(err) || time.Since(start) > 500*time.Millisecond {
		t.Errorf("budget of 20 ms ended after %v with %v", time.Since(start), err)
	}
}

// lying answers with whatever the test says.
type lying func(q *dns.Msg, server, network string) *dns.Msg

func (l lying) Exchange(_ context.Context, q *dns.Msg, server, network string) (*dns.Msg, error) {
	return l(q, server, network), nil
}

func TestForgedAnswersAreIgnored(t *testing.T) {
	truth := &counting{ttl: 60}
	for what, spoil := range map[string]func(*dns.Msg){
		"id":       func(m *dns.Msg) { m.Id++ },
		"question": func(m *dns.Msg) { m.Question[0].Name = "other.example." },
		"query":    func(m *dns.Msg) { m.Response = false },
		"stranger": func(m *dns.Msg) { m.Answer[0].Header().Name = "other.example." },
		"servfail": func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure },
		"two":      func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
	} {
		r, err := New(Options{Attempts: 1, Exchange: lying(func(q *dns.Msg, s, n string) *dns.Msg {
			m, _ := truth.Exchange(context.Background(), q, s, n)
			spoil(m)
			return m
		})})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.LookupA(t.Context(), "a.example"); err == nil {
			t.Errorf("%s: %v was believed", what, got)
		}
	}
}

func TestTheSecondServerHelpsOut(t *testing.T) {
	truth := &counting{ttl: 60}
	r, err := New(Options{Servers: []string{"192.0.2.1", "192.0.2.2"}, Exchange: lying(func(q *dns.Msg, s, n string) *dns.Msg {
		m, _ := truth.Exchange(context.Background(), q, s, n)
		if s == "192.0.2.1:53" {
			m.Rcode = dns.RcodeRefused
		}
		return m
	})})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.LookupA(t.Context(), "a.example"); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestWireFallsBackToTCP(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", pc.LocalAddr().String())
	if err != nil {
		t.Skip("the TCP port of that number is taken")
	}
	long := strings.Repeat("x", 255)
	serve := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		h := dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}
		if w.LocalAddr().Network() == "udp" {
			m.Truncated = true
		} else {
			m.Answer = []dns.RR{&dns.TXT{Hdr: h, Txt: []string{long, long, long, long, long, long}}}
		}
		_ = w.WriteMsg(m)
	})
	var up sync.WaitGroup
	up.Add(2)
	udp := &dns.Server{PacketConn: pc, Handler: serve, NotifyStartedFunc: up.Done}
	tcp := &dns.Server{Listener: l, Handler: serve, NotifyStartedFunc: up.Done}
	go func() { _ = udp.ActivateAndServe() }()
	go func() { _ = tcp.ActivateAndServe() }()
	up.Wait()
	defer func() { _ = udp.Shutdown(); _ = tcp.Shutdown() }()
	r, err := New(Options{Servers: []string{pc.LocalAddr().String()}, RandomCase: true})
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.LookupTXT(t.Context(), "long.example")
	if err != nil || len(got) != 1 || len(got[0]) != 6*255 {
		t.Errorf("%d records, %v", len(got), err)
	}
}

func TestServersAreAddresses(t *testing.T) {
	for _, s := range []string{"192.0.2.1", "192.0.2.1:5353", "2001:db8::1", "[2001:db8::1]:53"} {
		if _, err := New(Options{Servers: []string{s}}); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	if _, err := New(Options{Servers: []string{"dns.example"}}); err == nil {
		t.Error("a name was taken for a server")
	}
}

func FuzzZone(f *testing.F) {
	f.Add(world)
	f.Add("a TXT \"")
	f.Add("1.2.3.4 PTR")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := NewZoneResolver(text)
		if err != nil {
			return
		}
		for line := range strings.Lines(text) {
			name, _ := cutField(line)
			_, _ = r.LookupTXT(t.Context(), name)
			_, _ = r.LookupIPAddr(t.Context(), name)
		}
	})
}
