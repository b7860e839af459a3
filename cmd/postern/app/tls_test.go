package app_test

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"testing"

	"postern/policy/records/ledger"
)

// What is sent in clear behind STARTTLS is never answered within TLS, in one segment or in two: RFC 3207 section 4.2,
// CVE-2011-0411, CVE-2021-38371. TI-01, TI-02.
func TestNothingCrossesIntoTLS(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	transaction := "MAIL FROM:<smuggled@friend.example>\r\nRCPT TO:<ben@ours.test>\r\nDATA\r\n" + hello + ".\r\n"
	for _, behind := range []string{"EHLO x\r\n", "RSET\r\n" + transaction, "NOOP\r\n", transaction, "\r\n", "x"} {
		for _, door := range []string{"mx", "staff"} {
			c := g.dial(door)
			c.send("STARTTLS\r\n" + behind)
			if said := c.ended(); replies(said, "220", "250", "354") {
				t.Errorf("%s: behind STARTTLS %q: %q", door, behind, said)
			}
		}
	}
	// the same, but the octets come when the handshake is due: it fails, and the connection is over
	for _, late := range []string{"EHLO x\r\n", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\xff\xff", "\x80\x2e\x01\x00\x02", strings.Repeat("\x00", 4096)} {
		c := g.dial("mx")
		c.say("STARTTLS", 220)
		c.send(late)
		if conn, ok := c.conn.(*net.TCPConn); ok {
			_ = conn.CloseWrite() // so that the door does not wait for the rest of a record
		}
		if said := c.ended(); replies(said, "250", "500") {
			t.Errorf("instead of a handshake %q: %q", late, said)
		}
	}
	g.settle()
	for _, line := range g.inside.Commands() {
		if strings.Contains(line, "smuggled") {
			t.Errorf("asked inside: %s", line)
		}
	}
}

// replies says whether one of the lines that came is a reply of one of these codes. An id in a text may hold the same digits.
func replies(said string, codes ...string) bool {
	for line := range strings.Lines(said) {
		if slices.ContainsFunc(codes, func(code string) bool { return strings.HasPrefix(line, code) }) {
			return true
		}
	}

	return false
}

// The state from before TLS is discarded, and TLS is not done twice or within a transaction. TI-05, TI-07, TI-08.
func TestTLSBeginsAnew(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	c := g.dial("mx")
	c.say("STARTTLS please", 501)
	c.say("MAIL FROM:<anna@friend.example>", 250)
	c.say("STARTTLS", 503)
	c.say("RSET", 250)
	c.say("STARTTLS", 220)
	c = c.overTLS(trusting())
	c.say("MAIL FROM:<anna@friend.example>", 503)
	c.say("RCPT TO:<ben@ours.test>", 503)
	if offer := c.say("EHLO mail.friend.example", 250); strings.Contains(offer, "STARTTLS") {
		t.Errorf("offered twice: %s", offer)
	}
	c.say("STARTTLS", 503)
	if code, text := c.message("anna@friend.example", "ben@ours.test", hello); code != 250 {
		t.Errorf("%d %s", code, text)
	}
	bare := g.dial("mx")
	bare.send("STARTTLS\n")
	if said := bare.ended(); strings.HasPrefix(said, "220") {
		t.Errorf("STARTTLS ended by LF: %s", said)
	}
	for _, m := range g.settle() {
		if !strings.Contains(string(m.Data), "using TLS 1.3") || !strings.Contains(string(m.Data), "with ESMTPS") {
			t.Errorf("%.400s", m.Data)
		}
	}
}

// A password is never taken in clear, and never offered to be. TI-06.
func TestNoPasswordInClear(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	for _, door := range []string{"mx", "staff"} {
		c := g.from("127.0.0.1", door)
		c.say("", 220)
		if offer := c.say("EHLO x.example", 250); strings.Contains(offer, "AUTH") {
			t.Errorf("%s: %s", door, offer)
		}
		c.say("AUTH PLAIN "+plain("ben@ours.test", canary), map[string]int{"mx": 502, "staff": 538}[door])
		c.say("AUTH LOGIN", map[string]int{"mx": 502, "staff": 538}[door])
	}
	for _, line := range g.inside.Commands() {
		t.Errorf("the server inside heard %s", line)
	}
}

// Old versions and weak suites are refused; an odd name in the hello is no reason to fail. TI-10, TI-11.
func TestTLSVersionsAndNames(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	weak := func(version uint16, suites ...uint16) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: version, CipherSuites: suites}
	}
	for name, config := range map[string]*tls.Config{
		"1.0": weak(tls.VersionTLS10), "1.1": weak(tls.VersionTLS11),
		"RC4":  weak(tls.VersionTLS12, tls.TLS_RSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA, tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA),
		"3DES": weak(tls.VersionTLS12, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA),
	} {
		c := g.from("127.0.0.1", "staff-tls")
		if err := tls.Client(c.conn, config).Handshake(); err == nil {
			t.Errorf("%s: the handshake was done", name)
		}
	}
	for _, name := range []string{"", "gw.test", "other.example", strings.Repeat("a.", 127) + "test", "127.0.0.1", "xn--"} {
		c := g.from("127.0.0.1", "staff-tls").overTLS(&tls.Config{InsecureSkipVerify: true, ServerName: name, MaxVersion: tls.VersionTLS12})
		c.say("", 220)
	}
}

// No door hands out tickets, and the record of a handshake that failed says what the client could have done.
func TestNoTicketsAndWhatWasOffered(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	cache := tls.NewLRUClientSessionCache(4)
	for range 2 {
		c := g.from("127.0.0.1", "staff-tls").overTLS(&tls.Config{InsecureSkipVerify: true, ServerName: "gw.test", ClientSessionCache: cache})
		c.say("", 220)
		if c.conn.(*tls.Conn).ConnectionState().DidResume {
			t.Error("a session was resumed")
		}
	}

	c := g.from("127.0.0.1", "staff-tls")
	old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}}
	if err := tls.Client(c.conn, old).Handshake(); err == nil {
		t.Error("key exchange by RSA was agreed on")
	}
	until(t, "the record names the offer", func() bool {
		all, err := g.app.Ledger.Connections(context.Background(), ledger.Query{Limit: 10})
		return err == nil && slices.ContainsFunc(all, func(r ledger.Connection) bool {
			return strings.Contains(r.End, "offers TLS1.2 TLS_RSA_WITH_AES_128_CBC_SHA")
		})
	})
}

// A web browser redirected to a mail port gets no session: ALPACA, USENIX Security 2021. TI-12.
func TestCrossProtocol(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	request := "POST / HTTP/1.1\r\nHost: mx.ours.test\r\nContent-Length: 200\r\n\r\nEHLO x\r\nMAIL FROM:<a@friend.example>\r\nRCPT TO:<ben@ours.test>\r\nDATA\r\n" + hello + ".\r\n"
	for _, text := range []string{request, "GET / HTTP/1.0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "CONNECT a:25 HTTP/1.1\r\n\r\n"} {
		c := g.from("127.0.0.1", "mx")
		c.say("", 220)
		c.send(text)
		if said := c.ended(); replies(said, "250", "354") {
			t.Errorf("%.20q: %q", text, said)
		}
	}
	c := g.from("127.0.0.1", "staff-tls")
	if err := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}).Handshake(); err == nil {
		t.Error("a browser got a handshake")
	}
	for _, names := range [][]string{nil, {"smtp"}, {"http/1.1", "smtp"}} {
		g.from("127.0.0.1", "staff-tls").overTLS(&tls.Config{InsecureSkipVerify: true, NextProtos: names}).say("", 220)
	}
	g.settle()
}
