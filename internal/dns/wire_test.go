package dns

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// serve runs a name server on loopback, UDP and TCP, and gives its address.
func serve(t *testing.T, answer func(network string, q, reply *dns.Msg) bool) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", pc.LocalAddr().String())
	if err != nil {
		t.Skip("the TCP port of that number is taken")
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg)
		reply.SetReply(q)
		if answer(w.LocalAddr().Network(), q, reply) {
			_ = w.WriteMsg(reply)
		}
	})
	var up sync.WaitGroup
	up.Add(2)
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: handler, NotifyStartedFunc: up.Done}, {Listener: l, Handler: handler, NotifyStartedFunc: up.Done}} {
		go func() { _ = s.ActivateAndServe() }()
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	up.Wait()
	return pc.LocalAddr().String()
}

func header(q *dns.Msg, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: q.Question[0].Name, Rrtype: kind, Class: dns.ClassINET, Ttl: 60}
}

func txt(q, reply *dns.Msg) {
	reply.Answer = []dns.RR{&dns.TXT{Hdr: header(q, dns.TypeTXT), Txt: []string{"yes"}}}
}

func wired(t *testing.T, o Options) *Resolver {
	t.Helper()
	o.Timeout = 50 * time.Millisecond
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A server that never answers is asked so often and no more, and ends as a time-out.
func TestSilenceEnds(t *testing.T) {
	var asked atomic.Int32
	silent := serve(t, func(string, *dns.Msg, *dns.Msg) bool { asked.Add(1); return false })
	r := wired(t, Options{Servers: []string{silent}, Attempts: 3})
	_, err := r.LookupTXT(t.Context(), "a.example")
	e, ok := err.(*net.DNSError)
	if !ok || !e.IsTimeout || !e.IsTemporary || asked.Load() != 3 {
		t.Errorf("%v after %d questions", err, asked.Load())
	}
}

// Who asks is not held by a server that says nothing.
func TestTheAskerMayLeave(t *testing.T) {
	silent := serve(t, func(string, *dns.Msg, *dns.Msg) bool { return false })
	r, err := New(Options{Servers: []string{silent}, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := r.LookupTXT(ctx, "a.example"); !IsTemporary(err) {
		t.Error(err)
	}
}

// A dead server costs one time-out, not one for every question.
func TestADeadServerIsAskedLast(t *testing.T) {
	var asked atomic.Int32
	silent := serve(t, func(string, *dns.Msg, *dns.Msg) bool { asked.Add(1); return false })
	good := serve(t, func(_ string, q, reply *dns.Msg) bool { txt(q, reply); return true })
	now := time.Unix(1e9, 0)
	r := wired(t, Options{Servers: []string{silent, good}, Now: func() time.Time { return now }})
	ask := func(from, to int) {
		for i := from; i < to; i++ {
			if got, err := r.LookupTXT(t.Context(), fmt.Sprintf("n%d.example", i)); err != nil || len(got) != 1 {
				t.Fatal(got, err)
			}
		}
	}
	ask(0, 10)
	if asked.Load() != 1 {
		t.Errorf("the dead server was asked %d times", asked.Load())
	}
	now = now.Add(shun + time.Second)
	ask(10, 20)
	if asked.Load() != 2 {
		t.Errorf("the dead server was asked %d times, want a second try after a while", asked.Load())
	}
}

// TCP that takes the question and says nothing.
func TestSilenceByTCPEnds(t *testing.T) {
	var asked atomic.Int32
	address := serve(t, func(network string, _, reply *dns.Msg) bool {
		reply.Truncated = true
		asked.Add(1)
		return network == "udp"
	})
	r := wired(t, Options{Servers: []string{address}, Attempts: 1})
	if _, err := r.LookupTXT(t.Context(), "a.example"); !IsTemporary(err) || asked.Load() != 2 {
		t.Errorf("%v after %d questions", err, asked.Load())
	}
}

// Aliases without end: a new one at each question, and one that points to itself.
func TestAliasesEnd(t *testing.T) {
	var asked atomic.Int32
	address := serve(t, func(_ string, q, reply *dns.Msg) bool {
		asked.Add(1)
		target := "x." + q.Question[0].Name
		if strings.HasPrefix(q.Question[0].Name, "loop.") {
			target = q.Question[0].Name
		}
		reply.Answer = []dns.RR{&dns.CNAME{Hdr: header(q, dns.TypeCNAME), Target: target}}
		return true
	})
	r := wired(t, Options{Servers: []string{address}, Attempts: 1})
	for _, name := range []string{"a.example", "loop.example"} {
		asked.Store(0)
		if _, err := r.LookupTXT(t.Context(), name); err == nil || asked.Load() > MaxAliases+1 {
			t.Errorf("%s: %v after %d questions", name, err, asked.Load())
		}
	}
}

// Only a resolver on this machine may say that DNSSEC vouches for an answer, and each link of a chain must have it.
func TestSecure(t *testing.T) {
	address := serve(t, func(_ string, q, reply *dns.Msg) bool {
		reply.AuthenticatedData = q.AuthenticatedData && !strings.HasPrefix(q.Question[0].Name, "plain.")
		if strings.HasPrefix(q.Question[0].Name, "alias.") {
			reply.Answer = []dns.RR{&dns.CNAME{Hdr: header(q, dns.TypeCNAME), Target: "plain.example."}}
		} else {
			txt(q, reply)
		}
		return true
	})
	r := wired(t, Options{Servers: []string{address}})
	for name, want := range map[string]bool{"good.example": true, "plain.example": false, "alias.example": false} {
		for range 2 { // the second time from the cache
			if records, secure, err := r.LookupSecure(t.Context(), name, dns.TypeTXT); err != nil || len(records) != 1 || secure != want {
				t.Errorf("%s: secure %v, %v", name, secure, err)
			}
		}
	}
	far := wired(t, Options{Servers: []string{"192.0.2.1"}, Exchange: lying(func(q *dns.Msg, _, _ string) *dns.Msg {
		reply := new(dns.Msg)
		reply.SetReply(q)
		reply.AuthenticatedData = true
		txt(q, reply)
		return reply
	})})
	if _, secure, err := far.LookupSecure(t.Context(), "good.example", dns.TypeTXT); err != nil || secure {
		t.Errorf("a far resolver was believed: %v", err)
	}
}

// That no resolver is there is something else than that one has no answer: a stranger can bring about the second only.
func TestNobodyIsThere(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close() // takes queries and says nothing
	_ = closed.Close()
	for _, c := range []struct {
		servers []string
		nobody  bool
	}{
		{[]string{closed.LocalAddr().String()}, true},
		{[]string{pc.LocalAddr().String()}, false},
		{[]string{closed.LocalAddr().String(), pc.LocalAddr().String()}, false},
	} {
		r, err := New(Options{Servers: c.servers, Timeout: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.LookupTXT(t.Context(), "example.org"); !IsTemporary(err) || IsNobody(err) != c.nobody {
			t.Errorf("%v: %v, nobody %v", c.servers, err, IsNobody(err))
		}
	}
	cut, err := New(Options{Exchange: refusesTCP{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cut.LookupTXT(t.Context(), "example.org"); !IsTemporary(err) || IsNobody(err) {
		t.Errorf("cut off: %v", err)
	}
}

// refusesTCP cuts off what it says by UDP.
type refusesTCP struct{}

func (refusesTCP) Exchange(_ context.Context, query *dns.Msg, _, network string) (*dns.Msg, error) {
	if network == "tcp" {
		return nil, syscall.ECONNREFUSED
	}
	reply := new(dns.Msg)
	reply.SetReply(query)
	reply.Truncated = true
	return reply, nil
}
