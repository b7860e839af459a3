package frame

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/proxy/line"
	"postern/proxy/listen"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// echo is a protocol that greets with the client's address and answers each line, or serves as it is told.
type echo struct {
	serve    func(s *greeter)
	refuse   func(c *Conn, why Reason) string
	implicit *tls.Config
}

func (e *echo) Open(ctx context.Context, c *Conn) Dialogue {
	return &greeter{Session: Begin(ctx, c, c.Mail("test", time.Now()), &line.Buffers{}), e: e, client: c.Client, out: line.NewWriter(c.Conn, nil)}
}

func (e *echo) Refuse(c *Conn, why Reason) string {
	if e.refuse == nil {
		return ""
	}
	return e.refuse(c, why)
}

func (e *echo) Implicit() *tls.Config { return e.implicit }

type greeter struct {
	*Session
	e      *echo
	client netip.AddrPort
	out    *line.Writer
}

func (s *greeter) Run() {
	defer s.Close()
	if s.e.implicit != nil {
		t, err := s.Handshake(s.e.implicit, time.Now().Add(200*time.Millisecond))
		if err != nil {
			return
		}
		s.out.Attach(t)
	}
	if s.e.serve != nil {
		s.e.serve(s)
		return
	}
	s.greet()
}

func (s *greeter) greet() {
	s.In.Idle, s.In.Before = time.Minute, s.out.Flush
	s.out.Say("hello " + s.client.String() + "\r\n")
	for {
		s.Await(true)
		text, err := s.In.Line(line.Rules{Limit: 1000})
		s.Await(false)
		if err != nil {
			break
		}
		s.out.Say("you said " + string(text) + "\r\n")
	}
	if s.Hurried() {
		s.out.Say("bye\r\n")
	}
	_ = s.out.Flush()
}

func start(t *testing.T, o Options, e echo) *Listener {
	t.Helper()
	o.Name, o.Address = "test", "127.0.0.1:0"
	l, err := New(o, &e)
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Go(l.Run)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if err := l.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		wait.Wait()
		if n := l.Counts().Open; n != 0 {
			t.Errorf("%d connections left", n)
		}
	})
	return l
}

// talk sends something and gives the first line that comes back, "" if the connection ends without one.
func talk(t *testing.T, l *Listener, first string) (string, net.Conn) {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, first); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	line, _ := bufio.NewReaderSize(c, 16).ReadString('\n')
	return strings.TrimSpace(line), c
}

func TestLimits(t *testing.T) {
	var mu sync.Mutex
	var refused []Reason
	refuse := func(_ *Conn, why Reason) string {
		mu.Lock()
		defer mu.Unlock()
		refused = append(refused, why)
		return "421 " + string(why) + "\r\n"
	}
	l := start(t, Options{MaxConnections: 2}, echo{refuse: refuse})
	for range 2 {
		if got, _ := talk(t, l, ""); !strings.HasPrefix(got, "hello 127.0.0.1:") {
			t.Errorf("got %q", got)
		}
	}
	if got, _ := talk(t, l, ""); got != "421 too many connections" {
		t.Errorf("got %q", got)
	}
	l = start(t, Options{MaxPerNetwork: 1, V4Bits: 24, ProxyProtocol: true, Trusted: loopback}, echo{refuse: refuse})
	for _, c := range [][2]string{
		{"192.0.2.1", "hello 192.0.2.1:5"}, {"192.0.2.200", "421 too many connections from this network"}, {"192.0.3.1", "hello 192.0.3.1:5"},
	} {
		if got, _ := talk(t, l, "PROXY TCP4 "+c[0]+" 10.0.0.1 5 25\r\n"); got != c[1] {
			t.Errorf("got %q, want %q", got, c[1])
		}
	}
	for _, c := range [][2]string{{"2001:db8::1", "hello [2001:db8::1]:5"}, {"2001:db8::2:1", "421 too many connections from this network"}, {"2001:db8:1::1", "hello [2001:db8:1::1]:5"}} {
		if got, _ := talk(t, l, "PROXY TCP6 "+c[0]+" ::1 5 25\r\n"); got != c[1] {
			t.Errorf("got %q, want %q", got, c[1])
		}
	}
	l = start(t, Options{Banned: func(a netip.Addr) bool { return a.IsLoopback() }}, echo{refuse: refuse})
	if got, _ := talk(t, l, ""); got != "421 banned" {
		t.Errorf("got %q", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(refused) != 4 {
		t.Errorf("records of refusals: %q", refused)
	}
}

func TestAPlaceIsFreeAgain(t *testing.T) {
	l := start(t, Options{MaxConnections: 1, MaxPerNetwork: 1}, echo{})
	for range 20 {
		got, c := talk(t, l, "")
		if !strings.HasPrefix(got, "hello") {
			t.Fatalf("got %q", got)
		}
		_ = c.Close()
		for l.Counts().Open > 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

const v2 = "\r\n\r\n\x00\r\nQUIT\n"

func TestProxyProtocol(t *testing.T) {
	var refused atomic.Int64
	l := start(t, Options{ProxyProtocol: true, Trusted: loopback, Timeout: 200 * time.Millisecond}, echo{refuse: func(_ *Conn, why Reason) string {
		if why == NoProxyHeader {
			refused.Add(1)
		}
		return "told\r\n"
	}})
	for _, c := range []struct{ name, send, want string }{
		{"v1", "PROXY TCP4 192.0.2.1 10.0.0.1 1234 25\r\n", "hello 192.0.2.1:1234"},
		{"v1 with a command behind it", "PROXY TCP6 2001:db8::1 ::1 1234 25\r\nEHLO x\r\n", "hello [2001:db8::1]:1234"},
		{"v1 unknown", "PROXY UNKNOWN what ever\r\n", "hello 127.0.0.1:*"},
		{"v2 IPv4", v2 + "\x21\x11\x00\x0c\xc0\x00\x02\x07\x0a\x00\x00\x01\x04\xd2\x00\x19", "hello 192.0.2.7:1234"},
		{"v2 IPv4 with TLV", v2 + "\x21\x11\x00\x10\xc0\x00\x02\x07\x0a\x00\x00\x01\x04\xd2\x00\x19\x04\x00\x01\x00", "hello 192.0.2.7:1234"},
		{"v2 IPv6", v2 + "\x21\x21\x00\x24" + strings.Repeat("\x00", 15) + "\x02" + strings.Repeat("\x00", 15) + "\x01\x04\xd2\x00\x19", "hello [::2]:1234"},
		{"v2 local", v2 + "\x20\x00\x00\x00", "hello 127.0.0.1:*"},
		{"v2 unspecified", v2 + "\x21\x00\x00\x00", "hello 127.0.0.1:*"},
		{"none", "EHLO mail.example.org\r\n", ""},
		{"silence", "", ""},
		{"v1 bare LF", "PROXY TCP4 192.0.2.1 10.0.0.1 1234 25\n", ""},
		{"v1 family", "PROXY TCP4 2001:db8::1 ::1 1234 25\r\n", ""},
		{"v1 zone", "PROXY TCP6 fe80::1%eth0 ::1 1234 25\r\n", ""},
		{"v1 port", "PROXY TCP4 192.0.2.1 10.0.0.1 65536 25\r\n", ""},
		{"v1 sign", "PROXY TCP4 192.0.2.1 10.0.0.1 +1 25\r\n", ""},
		{"v1 short", "PROXY TCP4 192.0.2.1\r\n", ""},
		{"v1 endless", "PROXY UNKNOWN " + strings.Repeat("a", 200), ""},
		{"v2 version", v2 + "\x11\x11\x00\x0c\xc0\x00\x02\x07\x0a\x00\x00\x01\x04\xd2\x00\x19", ""},
		{"v2 UDP", v2 + "\x21\x12\x00\x0c\xc0\x00\x02\x07\x0a\x00\x00\x01\x04\xd2\x00\x19", ""},
		{"v2 too short", v2 + "\x21\x11\x00\x04\xc0\x00\x02\x07", ""},
		{"v2 huge", v2 + "\x21\x11\xff\xff", ""},
		{"v2 cut", v2 + "\x21\x11\x00\x0c\xc0", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := refused.Load()
			got, _ := talk(t, l, c.send)
			if records := refused.Load() - before; (records == 1) != (c.want == "") {
				t.Errorf("%d records of a refusal", records)
			}
			if front, ok := strings.CutSuffix(c.want, "*"); ok && strings.HasPrefix(got, front) {
				return
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	// From elsewhere the header is not one: the door sees it as what the client says.
	l = start(t, Options{ProxyProtocol: true, Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, echo{})
	if got, _ := talk(t, l, "PROXY TCP4 192.0.2.1 10.0.0.1 1234 25\r\n"); !strings.HasPrefix(got, "hello 127.0.0.1:") {
		t.Errorf("got %q", got)
	}
}

func FuzzProxyHeader(f *testing.F) {
	for _, seed := range []string{
		"PROXY TCP4 192.0.2.1 10.0.0.1 1234 25\r\nrest", "PROXY TCP6 ::1 ::2 1 2\r\n", "PROXY UNKNOWN\r\nx", "PROXY UNKNOWN \r\n", "PROXY  TCP4\r\n", "PROXY TCP4\r\n\r\n",
		v2 + "\x21\x11\x00\x0c\xc0\x00\x02\x07\x0a\x00\x00\x01\x04\xd2\x00\x19rest", v2 + "\x20\x00\x00\x00", v2 + "\x21\x21\x00\x04aaaa", v2,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, wire string) {
		r := strings.NewReader(wire)
		client, err := readProxyHeader(r)
		if err != nil {
			return
		}
		used := wire[:len(wire)-r.Len()]
		if !strings.HasPrefix(used, v2) && (len(used) > maxProxyV1 || !strings.HasSuffix(used, "\r\n") || strings.Count(used, "\n") != 1) {
			t.Errorf("took %q", used)
		}
		if client.IsValid() && (client.Addr().Zone() != "" || client.Addr().Is4In6()) {
			t.Errorf("client %s", client)
		}
	})
}

func TestShutdownWakesTheIdleAndClosesAll(t *testing.T) {
	busy := make(chan struct{})
	l := start(t, Options{}, echo{serve: func(s *greeter) {
		s.In.Idle = time.Minute
		if text, _ := s.In.Line(line.Rules{Limit: 100}); string(text) == "busy" {
			close(busy)
			<-s.Ctx.Done() // as one that waits for a next hop
			return
		}
		s.greet()
	}})
	_, idle := talkRaw(t, l, "idle\r\n")
	got, _ := idle.ReadString('\n')
	_, stuck := talkRaw(t, l, "busy\r\n")
	<-busy
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := l.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if bye, _ := idle.ReadString('\n'); !strings.HasPrefix(got, "hello") || bye != "bye\r\n" {
		t.Errorf("idle connection heard %q, %q", got, bye)
	}
	if _, err := stuck.ReadString('\n'); err == nil {
		t.Error("the busy connection is still open")
	}
	if n := l.Counts().Open; n != 0 {
		t.Errorf("%d connections left", n)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("still accepts")
	}
}

func talkRaw(t *testing.T, l *Listener, first string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, first); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

// One connection too many of a door with implicit TLS hears so in TLS: in the clear it could not read it.
func TestImplicitTLS(t *testing.T) {
	certs, err := listen.NewCertificates(listen.CertificateOptions{Dir: t.TempDir(), HostName: "mx.corp.example"})
	if err != nil {
		t.Fatal(err)
	}
	l := start(t, Options{MaxConnections: 1}, echo{implicit: certs.Config(), refuse: func(_ *Conn, why Reason) string { return "421 " + string(why) + "\r\n" }})
	secured := func(l *Listener) (string, net.Conn) {
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		said, _ := bufio.NewReader(c).ReadString('\n')
		return said, c
	}
	said, c := secured(l)
	if !strings.HasPrefix(said, "hello 127.0.0.1") {
		t.Errorf("%q", said)
	}
	for range 2 * maxRefusals {
		if said, _ := secured(l); said != "421 too many connections\r\n" {
			t.Fatalf("one too many hears %q", said)
		}
	}
	if got, _ := talk(t, l, "EHLO x\r\n"); strings.Contains(got, "421") {
		t.Errorf("one too many hears %q in the clear", got)
	}
	_ = c.Close()
	for banned, o := range map[bool]Options{false: {MaxPerNetwork: 1}, true: {Banned: func(netip.Addr) bool { return true }}} {
		strict := start(t, o, echo{implicit: certs.Config(), refuse: func(_ *Conn, why Reason) string { return "421 " + string(why) + "\r\n" }})
		if !banned {
			secured(strict)
		}
		if said, _ := secured(strict); said != map[bool]string{false: "421 too many connections from this network\r\n", true: "421 banned\r\n"}[banned] {
			t.Errorf("%q", said)
		}
	}
	for _, plain := range []string{"EHLO x\r\n", "GET / HTTP/1.1\r\n\r\n", ""} {
		for l.Counts().Open > 0 {
			time.Sleep(time.Millisecond)
		}
		if got, _ := talk(t, l, plain); strings.Contains(got, "hello") {
			t.Errorf("%q was greeted: %q", plain, got)
		}
	}
}

func TestAHeaderFromAnyoneIsNotTaken(t *testing.T) {
	if _, err := New(Options{ProxyProtocol: true}, &echo{}); err == nil {
		t.Error("a PROXY header from anyone was taken")
	}
}

// A fault of ours ends one session, and is in the log.
func TestGuard(t *testing.T) {
	var log strings.Builder
	sorry := make(chan bool, 1)
	l := start(t, Options{}, echo{serve: func(s *greeter) {
		s.Guard(slog.New(slog.NewTextHandler(&log, nil)), func() { panic("a bug") }, func() { sorry <- true })
	}})
	if got, _ := talk(t, l, ""); got != "" {
		t.Errorf("%q", got)
	}
	if <-sorry; !strings.Contains(log.String(), "a bug") {
		t.Errorf("%q", log.String())
	}
}
