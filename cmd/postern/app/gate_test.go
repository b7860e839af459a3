package app_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/cmd/postern/app"
	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/testing/hoptest"
	"postern/policy/records/quarantine"
)

// gate is a whole gateway as it is shipped, ours.test behind it, with recording servers: inside gets inbound mail,
// outside gets the mail of its users.
type gate struct {
	t               testing.TB
	app             *app.App
	inside, outside *hoptest.Hop
	doors           map[string]string
	dir             string
	config          *config.Config
	log             *logText

	mu       sync.Mutex
	accepted int // messages that were answered with 250
}

// logText is a log in memory.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

const settings = `hostname = "gw.test"
data_dir = "data"
domains = ["ours.test"]
trusted_networks = ["127.0.0.99/32", "10.0.0.0/8"]
[[door]]
name = "mx"
listen = "127.0.0.1:0"
[[door]]
name = "proxied"
listen = "127.0.0.1:0"
proxy_protocol = true
proxy_networks = ["127.0.0.5"]
xclient_networks = ["127.0.0.6"]
[[door]]
name = "staff"
protocol = "submission"
listen = "127.0.0.1:0"
auth = "smtp"
[[door]]
name = "staff-tls"
protocol = "submission"
listen = "127.0.0.1:0"
tls = "implicit"
auth = "smtp"
[next_hop."default"]
addresses = ["INSIDE"]
tls = "none"
[outbound]
addresses = ["OUTSIDE"]
tls = "none"
[dns]
servers = ["127.0.0.1:9"]
timeout = "200ms"
[log]
level = "debug"
`

// newGate opens one with an unreachable DNS server. more is appended to the settings.
func newGate(t testing.TB, more ...string) *gate {
	t.Helper()
	return newGateIn(t, nil, more...)
}

// newGateIn opens one with this resolver.
func newGateIn(t testing.TB, resolver *dns.Resolver, more ...string) *gate {
	t.Helper()
	return openGate(t, app.Outside{Resolver: resolver}, more...)
}

// openGate opens one in this world, without health checks of its servers.
func openGate(t testing.TB, out app.Outside, more ...string) *gate {
	t.Helper()
	out.Unwatched = true
	return openWatchedGate(t, out, more...)
}

// openWatchedGate opens one with health checks of its dependencies.
func openWatchedGate(t testing.TB, out app.Outside, more ...string) *gate {
	t.Helper()
	users := map[string]string{"ben@ours.test": canary}
	g := &gate{t: t, doors: map[string]string{}, dir: t.TempDir(), log: &logText{}}
	g.inside = hoptest.New(t, hoptest.Options{Users: users, Replies: map[string]string{"RCPT TO:<nosuch@": "550 5.1.1 no such user"}})
	g.outside = hoptest.New(t, hoptest.Options{})
	base := settings
	for i, one := range more { // this prefix replaces a section
		if strings.HasPrefix(one, "[dns]") {
			before, after, _ := strings.Cut(base, "[dns]\nservers = [\"127.0.0.1:9\"]\ntimeout = \"200ms\"\n")
			base, more[i] = before+one+after, ""
			continue
		}
		// this prefix adds to an existing section
		if in, ok := strings.CutPrefix(one, "[outbound]"); ok {
			base, more[i] = strings.Replace(base, "[outbound]", "[outbound]"+in, 1), ""
		}
	}
	text := strings.NewReplacer("INSIDE", g.inside.Addr(), "OUTSIDE", g.outside.Addr()).Replace(base + strings.Join(more, "\n"))
	cfg, err := config.Parse(filepath.Join(g.dir, "postern.toml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if problems := cfg.Check(app.KnownFilters()); len(problems) > 0 {
		t.Fatal(problems)
	}
	g.config = cfg
	out.Log = slog.New(slog.NewTextHandler(g.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if g.app, err = app.Open(cfg, out); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.app.Close)
	if err := g.app.Listen(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, a := range g.app.Addresses() {
		g.doors[a.Name] = a.Address
	}
	g.inside.Forget()
	g.outside.Forget()
	return g
}

// client speaks SMTP line by line.
type client struct {
	t    testing.TB
	g    *gate
	conn net.Conn
	in   *bufio.Reader
}

// from connects to a door from an address of 127.0.0.0/8.
func (g *gate) from(address, door string) *client {
	g.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: 10 * time.Second}
	conn, err := d.Dial("tcp", g.doors[door])
	if err != nil {
		g.t.Fatal(err)
	}
	return g.over(conn)
}

func (g *gate) over(conn net.Conn) *client {
	g.t.Helper()
	if err := conn.SetDeadline(time.Now().Add(3 * time.Minute)); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	return &client{g.t, g, conn, bufio.NewReader(conn)}
}

// dial connects to a door and greets.
func (g *gate) dial(door string) *client {
	g.t.Helper()
	c := g.from("127.0.0.1", door)
	c.say("", 220)
	c.say("EHLO mail.friend.example", 250)
	return c
}

// overTLS goes on over TLS.
func (c *client) overTLS(config *tls.Config) *client {
	c.t.Helper()
	conn := tls.Client(c.conn, config)
	if err := conn.Handshake(); err != nil {
		c.t.Fatalf("handshake: %v", err)
	}
	return c.g.over(conn)
}

func trusting() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// login dials a door, does STARTTLS and logs in as ben.
func (g *gate) login(door string) *client {
	g.t.Helper()
	c := g.dial(door)
	c.say("STARTTLS", 220)
	c = c.overTLS(trusting())
	c.say("EHLO laptop.ours.test", 250)
	c.say("AUTH PLAIN "+plain("ben@ours.test", canary), 235)
	return c
}

func plain(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}

// send sends octets; if the door has closed, the next reply shows it.
func (c *client) send(octets string) { _, _ = io.WriteString(c.conn, octets) }

// say sends a line, none if it is empty, and expects a code, any if it is 0. It gives the reply.
func (c *client) say(line string, want int) string {
	c.t.Helper()
	if line != "" {
		c.send(line + "\r\n")
	}
	code, text := c.reply()
	if want != 0 && code != want {
		c.t.Fatalf("%.120q: got %d %.200s, want %d", line, code, text, want)
	}
	return text
}

// reply reads a reply; its code is 0 when the connection is closed.
func (c *client) reply() (code int, all string) {
	for {
		line, err := c.in.ReadString('\n')
		all += line
		if err != nil || len(line) < 4 {
			return 0, all
		}
		if line[3] == ' ' {
			_, _ = fmt.Sscanf(line[:3], "%d", &code) // 0 says it as well
			return code, strings.TrimRight(all, "\r\n")
		}
	}
}

// ended reads until the door closes the connection, which it must.
func (c *client) ended() string {
	c.t.Helper()
	rest, err := io.ReadAll(c.in)
	if e, ok := err.(net.Error); ok && e.Timeout() {
		c.t.Errorf("the connection stands, after %.300q", rest)
	}
	return string(rest)
}

// message sends a message, which must be dot-stuffed and end in CRLF, and counts it if it is accepted.
func (c *client) message(from, to, stuffed string) (code int, text string) {
	c.t.Helper()
	for _, line := range []string{"MAIL FROM:<" + from + ">", "RCPT TO:<" + to + ">", "DATA"} {
		c.send(line + "\r\n")
		if code, text = c.reply(); code >= 400 || code == 0 {
			c.send("RSET\r\n")
			c.reply()
			return code, text
		}
	}
	c.send(stuffed + ".\r\n")
	code, text = c.reply()
	c.count(code)
	return code, text
}

// count counts a message that was answered with this code.
func (c *client) count(code int) {
	if code == 250 {
		c.g.mu.Lock()
		c.g.accepted++
		c.g.mu.Unlock()
	}
}

// settle checks that every message answered with 250 is inside, outside or held, once, and that none contains octets
// that another server might read as the end of a message or of a line; it gives the messages delivered inside.
func (g *gate) settle() []hoptest.Message {
	g.t.Helper()
	inside, outside := g.inside.Messages(), g.outside.Messages()
	held := g.held()
	if n := len(inside) + len(outside) + held; n != g.accepted {
		g.t.Errorf("said 250 to %d messages; inside %d, outside %d, held %d", g.accepted, len(inside), len(outside), held)
	}
	for _, m := range append(inside, outside...) {
		if len(m.Defects) > 0 {
			g.t.Errorf("%v in %.300q", m.Defects, m.Raw)
		}
	}
	return inside
}

func (g *gate) held() int {
	g.t.Helper()
	items, err := g.app.Quarantine.List(context.Background(), quarantine.Filter{Limit: 1000})
	if err != nil {
		g.t.Fatal(err)
	}
	return len(items)
}

// askedOutside lists the recipients a server was asked about that are not ours.
func askedOutside(commands []string) (wrong []string) {
	for _, line := range commands {
		path, ok := strings.CutPrefix(line, "RCPT TO:")
		if !ok {
			continue
		}
		a, _, err := mail.ParsePath(path, true)
		if err != nil || a.ASCIIDomain() != "ours.test" {
			wrong = append(wrong, line)
		}
	}
	return wrong
}

const (
	canary = "CANARY-pa55word"
	head   = "From: Anna <anna@friend.example>\r\nTo: ben@ours.test\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@friend.example>\r\n"
	hello  = head + "Subject: lunch\r\n\r\nAt noon?\r\n"
)
