package imapd_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"postern/internal/testing/dovecottest"
	"postern/proxy/access"
	"postern/proxy/frame"
	"postern/proxy/imapd"
	"postern/proxy/retrieval"
)

// Whatever way a password takes, it stands in no log, no record, and no answer. LG-09.
func TestNoSecretAnywhere(t *testing.T) {
	v := dovecottest.Start(t, dovecottest.Options{})
	d := open(t, access.Backend{Address: v.IMAP, TLS: access.TLSNone}, func(_ *imapd.Options, gate *access.Options, _ *frame.Options) { gate.Tokens = true })
	const canary = "kanarienvogel"
	heard := ""
	for _, way := range []string{
		"a LOGIN bob " + canary + "\r\n",
		"a LOGIN {3+}\r\nbob {13+}\r\n" + canary + "\r\n",
		"a LOGIN bob \"" + canary + "\r\n",
		"a LOGIN bob " + canary + " x\r\n",
		canary + " " + canary + "\r\n",
		"a AUTHENTICATE PLAIN AGJvYgBrYW5hcmllbnZvZ2Vs\r\n",
		"a AUTHENTICATE PLAIN AGJvYgBrYW5hcmllbnZvZ2Vs!\r\n",
		"a AUTHENTICATE LOGIN Ym9i\r\na2FuYXJpZW52b2dlbA==\r\n",
		"a AUTHENTICATE XOAUTH2 dXNlcj1ib2IBYXV0aD1CZWFyZXIga2FuYXJpZW52b2dlbAEB\r\n",
		"a LOGIN bob " + canary + "\x00\r\n",
	} {
		c := dial(t, d.address, nil)
		c.until("* OK")
		c.send(way + "z LOGOUT\r\n")
		heard += strings.ReplaceAll(c.rest(), canary+" BAD", "") // a tag is repeated
	}
	d.records.wait(t, 10)
	text := d.log.String() + heard + fmt.Sprintf("%+v", d.records.all)
	for _, secret := range []string{canary, "a2FuYXJpZW52b2dlbA", "YW5hcmllbnZvZ2Vs"} {
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("%q is told: %q", secret, text[max(0, i-100):min(len(text), i+50)])
		}
	}
}

// The record of a connection says how it ended, and what was seen.
func TestRecords(t *testing.T) {
	v := dovecottest.Start(t, dovecottest.Options{})
	cert, roots := dovecottest.Certificate(t)
	for name, c := range map[string]struct{ send, symbol, end string }{
		"logout":    {"a LOGIN bob secret\r\nb LOGOUT\r\n", "", "logout"},
		"http":      {"GET / HTTP/1.1\r\n", "HTTP_COMMAND", "spoke HTTP"},
		"injection": {"a STARTTLS\r\nb NOOP\r\n", "STARTTLS_INJECTION", "input between STARTTLS and the handshake"},
		"line":      {strings.Repeat("A", 9000), "LINE_LIMIT", "line too long"},
		"literal":   {"a LOGIN {9999+}\r\n", "LITERAL_LIMIT", "literal too large"},
		"bad":       {"a A\r\nb B\r\nc C\r\n", "TOO_MANY_BAD_COMMANDS", "too many bad commands"},
		"sasl":      {"a AUTHENTICATE PLAIN !\r\nb LOGOUT\r\n", "SASL_GARBAGE", "logout"},
		"refused":   {"a LOGIN bob wrong\r\nb LOGOUT\r\n", "LOGIN_FAILED", "logout"},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, access.Backend{Address: v.IMAP, TLS: access.TLSNone}, func(o *imapd.Options, _ *access.Options, _ *frame.Options) {
				o.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
			})
			cl := dial(t, d.address, nil)
			cl.send(c.send)
			cl.rest()
			r := d.records.wait(t, 1)
			found := c.symbol == "" && len(r.Findings) == 0
			for _, f := range r.Findings {
				found = found || f.Symbol == c.symbol
			}
			if r.End != c.end || !found {
				t.Errorf("it ended %q with %v, want %q with %s", r.End, r.Findings, c.end, c.symbol)
			}
		})
	}
	t.Run("alpn", func(t *testing.T) {
		d := open(t, access.Backend{Address: v.IMAP, TLS: access.TLSNone}, func(o *imapd.Options, _ *access.Options, _ *frame.Options) {
			o.TLS, o.Implicit = &tls.Config{Certificates: []tls.Certificate{cert}}, true
		})
		if _, err := tls.Dial("tcp", d.address, &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: []string{"h2", "http/1.1"}}); err == nil {
			t.Error("a handshake for HTTP succeeds")
		}
		if r := d.records.wait(t, 1); len(r.Findings) != 1 || r.Findings[0].Symbol != "ALPN_MISMATCH" {
			t.Errorf("%+v", r)
		}
	})
}

// Who may not come in hears why in the words of the protocol.
func TestRefusal(t *testing.T) {
	d := open(t, access.Backend{Address: "127.0.0.1:1", TLS: access.TLSNone}, func(_ *imapd.Options, _ *access.Options, l *frame.Options) { l.MaxPerNetwork = 1 })
	dial(t, d.address, nil).until("* OK")
	if got := dial(t, d.address, nil).rest(); !strings.HasPrefix(got, "* BYE ") {
		t.Errorf("%q", got)
	}
	if r := d.records.wait(t, 1); !strings.HasPrefix(r.End, "refused: ") {
		t.Errorf("%+v", r)
	}
	c := dial(t, d.address, nil)
	c.rest()
}

// RFC 8314 section 3: a client of implicit TLS reads nothing in the clear.
func TestRefusalInTLS(t *testing.T) {
	cert, roots := dovecottest.Certificate(t)
	d := open(t, access.Backend{Address: "127.0.0.1:1", TLS: access.TLSNone}, func(o *imapd.Options, _ *access.Options, l *frame.Options) {
		o.TLS, o.Implicit, l.MaxConnections = &tls.Config{Certificates: []tls.Certificate{cert}}, true, 1
	})
	config := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
	dial(t, d.address, config).until("* OK")
	if got := dial(t, d.address, config).rest(); !strings.HasPrefix(got, "* BYE [UNAVAILABLE] ") {
		t.Errorf("%q", got)
	}
}

// A shutdown says goodbye to those who wait, before the login, behind it, and in IDLE.
func TestShutdown(t *testing.T) {
	v := dovecottest.Start(t, dovecottest.Options{})
	d := open(t, access.Backend{Address: v.IMAP, TLS: access.TLSNone}, nil)
	early, late, idle := dial(t, d.address, nil), dial(t, d.address, nil), dial(t, d.address, nil)
	early.until("* OK")
	late.login("bob", dovecottest.Password)
	late.do("a", "NOOP")
	idle.login("bob", dovecottest.Password)
	idle.send("a IDLE\r\n")
	idle.until("+")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	begun := time.Now()
	_ = d.listener.Shutdown(ctx)
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	for name, c := range map[string]*client{"early": early, "late": late, "idle": idle} {
		if got := c.rest(); !strings.Contains(got, "* BYE [UNAVAILABLE] gw.test is shutting down") {
			t.Errorf("%s hears %q", name, got)
		}
	}
}

// A client that goes away, or a backend, leaves nothing behind.
func TestNothingIsLeftBehind(t *testing.T) {
	v := dovecottest.Start(t, dovecottest.Options{})
	d := open(t, access.Backend{Address: v.IMAP, TLS: access.TLSNone}, nil)
	before := runtime.NumGoroutine()
	for n := range 20 {
		c := dial(t, d.address, nil)
		c.login("bob", dovecottest.Password)
		c.send([]string{"", "a IDLE\r\n", "a APPEND INBOX {100}\r\n", "a APPEND INBOX {100+}\r\nxx", "a LOGOUT\r\n"}[n%5])
		_ = c.conn.Close()
	}
	d.records.wait(t, 20)
	for range 100 {
		if runtime.NumGoroutine() <= before+1 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}

// A client that does not read, and one that says half a command, hold nobody up.
func TestSlowClients(t *testing.T) {
	d := open(t, access.Backend{Address: "127.0.0.1:1", TLS: access.TLSNone}, func(o *imapd.Options, _ *access.Options, _ *frame.Options) {
		o.PreAuth = 300 * time.Millisecond
	})
	for _, half := range []string{"", "a NOOP ((((", "a LOGIN {100}\r\n", "a LOGIN {100+}\r\nxx", "a AUTHENTICATE PLAIN\r\n", "a NO\r"} {
		c, err := net.Dial("tcp", d.address)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		cl := &client{t: t, conn: c}
		cl.send(half)
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		if got := cl.rest(); !strings.Contains(got, "* BYE") || time.Since(begun) > 20*time.Second {
			t.Errorf("%q: %q after %v", half, got, time.Since(begun))
		}
		_ = c.Close()
	}
}

// broken is a verdicts that panics.
type broken struct{ *verdicts }

func (broken) Known(context.Context, retrieval.Place) (retrieval.Ruling, bool) {
	panic("a desk that breaks")
}

// A panic ends one session, is in the log with its stack, and tells no password of the session that it ended.
func TestPanicTellsNoSecret(t *testing.T) {
	const canary = "kanarienvogel"
	v := dovecottest.Start(t, dovecottest.Options{Extra: "\npassdb {\n  driver = static\n  args = password=" + canary + "\n}\n"})
	d := open(t, access.Backend{Address: v.IMAP, TLS: access.TLSNone}, func(o *imapd.Options, _ *access.Options, _ *frame.Options) {
		o.VerdictCache = broken{o.VerdictCache.(*verdicts)}
	})
	for _, way := range []string{"LOGIN bob " + canary, "AUTHENTICATE PLAIN AGJvYgBrYW5hcmllbnZvZ2Vs"} {
		c := dial(t, d.address, nil)
		c.until("* OK")
		c.do("a", way)
		appendMessage(c, "INBOX", "Subject: x\r\n\r\nx\r\n")
		c.do("b", "SELECT INBOX")
		c.send("c UID FETCH 1 BODY.PEEK[1]\r\n")
		if got := c.rest(); !strings.Contains(got, "* BYE") {
			t.Errorf("%q", got)
		}
	}
	d.records.wait(t, 2)
	text := d.log.String() + fmt.Sprintf("%+v", d.records.all)
	if strings.Count(text, "a desk that breaks") < 2 || !strings.Contains(text, "goroutine") {
		t.Errorf("no panic in the log: %s", text)
	}
	for _, secret := range []string{canary, "AGJvYgBrYW5hcmllbnZvZ2Vs", "YW5hcmllbnZvZ2Vs"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is told: %s", secret, text)
		}
	}
	d.log.mu.Lock()
	d.log.b.Reset() // it was looked at
	d.log.mu.Unlock()
}
