package imapd_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/policy/records/ledger"
	"postern/proxy/access"
	"postern/proxy/frame"
	"postern/proxy/imapd"
	"postern/proxy/retrieval"
)

// marker stands in the content of every message that must be masked, and nowhere else.
const marker = "EVIL"

const notice = "This message was withheld"

// verdicts masks what holds the marker.
type verdicts struct {
	pause time.Duration
	id    string

	mu      sync.Mutex
	known   map[retrieval.Place]retrieval.Ruling
	judged  int
	fetched int
	carried []retrieval.Place
}

func (d *verdicts) Known(_ context.Context, p retrieval.Place) (retrieval.Ruling, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.known[p]
	return r, ok
}

func (d *verdicts) Judge(_ context.Context, _ *mail.Session, p retrieval.Place, m *mail.Message) retrieval.Ruling {
	raw, err := io.ReadAll(m.Open())
	if err != nil {
		panic(err)
	}
	time.Sleep(d.pause)
	d.mu.Lock()
	defer d.mu.Unlock()
	r := retrieval.Ruling{ID: d.id, Masked: bytes.Contains(raw, []byte("X-Mask: yes")), SHA256: sha256.Sum256(raw)}
	if bytes.Contains(raw, []byte("X-Later: yes")) {
		r.Masked, r.Later = true, true
	}
	d.judged++
	if p.UID != 0 && !r.Later {
		d.known[p] = r
	}
	return r
}

func (d *verdicts) Fetched(context.Context, *mail.Session, retrieval.Place, retrieval.Ruling) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fetched++
}

func (d *verdicts) Carry(_ context.Context, from, to retrieval.Place) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.carried = append(d.carried, from, to)
	if r, ok := d.known[from]; ok {
		d.known[to] = r
	}
}

// bans let everybody in; records keeps what is left of connections.
type bans struct{}

func (bans) Admit(context.Context, netip.Addr, string) bool     { return true }
func (bans) Failed(context.Context, netip.Addr, string, string) {}
func (bans) Passed(context.Context, netip.Addr, string)         {}

type records struct {
	mu  sync.Mutex
	all []ledger.Connection
}

func (r *records) Connection(c ledger.Connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, c)
}

// last waits for the n-th record.
func (r *records) wait(t testing.TB, n int) ledger.Connection {
	t.Helper()
	for range 500 {
		r.mu.Lock()
		if len(r.all) >= n {
			defer r.mu.Unlock()
			return r.all[n-1]
		}
		r.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("no record %d", n)
	return ledger.Connection{}
}

// door is a door in front of a backend.
type door struct {
	address  string
	verdicts *verdicts
	records  *records
	log      *syncBuffer
	listener *frame.Listener
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// open makes a door. change may set more of the options.
func open(t testing.TB, b access.Backend, change func(*imapd.Options, *access.Options, *frame.Options)) *door {
	t.Helper()
	d := &door{verdicts: &verdicts{known: map[retrieval.Place]retrieval.Ruling{}}, records: &records{}, log: &syncBuffer{}}
	logger := slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if b.Name == "" {
		b.Name = "default"
	}
	gate := access.Options{Routes: []access.Route{{Name: "default", IMAP: []access.Backend{b}}}, Bans: bans{}, Ledger: d.records,
		MaxSessions: 100000, FailDelay: 50 * time.Millisecond, Log: logger}
	o := imapd.Options{Name: "imap", Hostname: "gw.test", AuthInClear: true, VerdictCache: d.verdicts, Notice: notice, SpoolDir: t.TempDir(), Log: logger}
	l := frame.Options{Name: "imap", Address: "127.0.0.1:0", MaxConnections: 100000, MaxPerNetwork: 100000, Log: logger}
	if change != nil {
		change(&o, &gate, &l)
	}
	o.Gate = access.New(gate)
	var err error
	if d.listener, err = frame.New(l, imapd.New(o)); err != nil {
		t.Fatal(err)
	}
	d.address = d.listener.Addr().String()
	go d.listener.Run()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := d.listener.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if strings.Contains(d.log.String(), "panicked") {
			t.Error(d.log.String())
		}
	})
	return d
}

// client is a client that shows all it hears.
type client struct {
	t    testing.TB
	conn net.Conn
	in   []byte
}

func dial(t testing.TB, address string, c *tls.Config) *client {
	t.Helper()
	var conn net.Conn
	var err error
	if c != nil {
		conn, err = tls.Dial("tcp", address, c)
	} else {
		conn, err = net.Dial("tcp", address)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(90 * time.Second))
	return &client{t: t, conn: conn}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := c.conn.Write([]byte(text)); err != nil {
		c.t.Fatalf("send %.60q: %v", text, err)
	}
}

// until reads until the text ends with a line that begins with the prefix, and gives all that was read.
func (c *client) until(prefix string) string {
	c.t.Helper()
	from := 0
	for {
		for {
			i := bytes.IndexByte(c.in[from:], '\n')
			if i < 0 {
				break
			}
			line := c.in[from : from+i+1]
			from += i + 1
			if n, ok := literalOf(line); ok {
				for len(c.in) < from+n {
					c.more()
				}
				from += n
				// the rest of the response goes on behind the literal
				continue
			}
			if bytes.HasPrefix(line, []byte(prefix)) {
				text := string(c.in[:from])
				c.in = append([]byte(nil), c.in[from:]...)
				return text
			}
		}
		c.more()
	}
}

func (c *client) more() {
	c.t.Helper()
	b := make([]byte, 64<<10)
	n, err := c.conn.Read(b)
	c.in = append(c.in, b[:n]...)
	if n == 0 {
		c.t.Fatalf("read: %v, have %.500q", err, c.in)
	}
}

// rest reads until the connection is closed.
func (c *client) rest() string {
	c.t.Helper()
	b, err := io.ReadAll(c.conn)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		c.t.Fatalf("the connection stands, after %.300q", append(c.in, b...))
	}
	return string(c.in) + string(b)
}

func literalOf(line []byte) (n int, ok bool) {
	line, ok = bytes.CutSuffix(line, []byte("}\r\n"))
	i := bytes.LastIndexByte(line, '{')
	if !ok || i < 0 || i == len(line)-1 {
		return 0, false
	}
	for _, ch := range line[i+1:] {
		if ch < '0' || ch > '9' {
			return 0, false
		}
		n = n*10 + int(ch-'0')
	}
	return n, true
}

// do sends a command and reads up to its completion.
func (c *client) do(tag, command string) string {
	c.t.Helper()
	c.send(tag + " " + command + "\r\n")
	return c.until(tag + " ")
}

func (c *client) login(user, password string) {
	c.t.Helper()
	c.until("* OK")
	if got := c.do("l", "LOGIN "+user+" "+password); !strings.Contains(got, "l OK") {
		c.t.Fatalf("login: %q", got)
	}
}
