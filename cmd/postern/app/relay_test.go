package app_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"postern/internal/mail"
)

// relayTricks are addresses that ask for delivery to far.test, or might make the server behind us relay there. RFC 5321
// section 3.6, appendix F.2 (source routes), section 4.1.2 (quoted local parts). Where taken is set the address is one
// of ours, and that is what the server behind must have been asked about.
func relayTricks() []struct{ id, from, rcpt, taken string } {
	return []struct{ id, from, rcpt, taken string }{
		{"OR-01", "<>", "<u@far.test>", ""},
		{"OR-02", "<s@far.test>", "<u@far.test>", ""},
		{"OR-03", "<s@ours.test>", "<u@far.test>", ""},
		{"OR-04", "<s@gw.test>", "<u@far.test>", ""},
		{"OR-05", "<s@[127.0.0.1]>", "<u@far.test>", ""},
		{"OR-06", "<s@localhost>", "<u@far.test>", ""},
		{"OR-06", "<s@[IPv6:::1]>", "<u@far.test>", ""},
		{"OR-07", "<s>", "<u@far.test>", ""},
		{"OR-08", "", "<u%far.test@[127.0.0.1]>", ""},
		{"OR-09", "", "<u%far.test@gw.test>", ""},
		{"OR-09", "", "<u%far.test@ours.test>", ""},
		{"OR-09", "", "<u%25far.test@ours.test>", ""},
		{"OR-10", "", `<"u@far.test">`, ""},
		{"OR-11", "", `<"u%far.test">`, ""},
		{"OR-11", "", `<"u%far.test"@ours.test>`, ""},
		{"OR-12", "", "<u@far.test@[127.0.0.1]>", ""},
		{"OR-12", "", "<u@far.test@gw.test>", ""},
		{"OR-12", "", "<u@far.test@ours.test>", ""},
		{"OR-12", "", "<u@ours.test@far.test>", ""},
		{"OR-13", "", `<"u@far.test"@[127.0.0.1]>`, ""},
		{"OR-13", "", `<"u@far.test"@ours.test>`, ""},
		{"OR-14", "", "<@[127.0.0.1]:u@far.test>", ""},
		{"OR-14", "", "<@gw.test:u@far.test>", ""},
		{"OR-14", "", "<@ours.test:u@far.test>", ""},
		{"OR-14", "", "<@ours.test,@gw.test:u@far.test>", ""},
		{"OR-15", "", "<far.test!u>", ""},
		{"OR-15", "", "<far.test!u@[127.0.0.1]>", ""},
		{"OR-15", "", "<far.test!u@gw.test>", ""},
		{"OR-15", "", "<far.test!u@ours.test>", ""},
		{"OR-15", "", "<ours.test!far.test!u>", ""},
		{"OR-16", "", "<u@far.test.>", ""},
		{"OR-16", "", "<u@ours.test.far.test>", ""},
		{"OR-16", "", "<u@far.test%00.ours.test>", ""},
		{"OR-16", "", "<u@far.test\x00@ours.test>", ""},
		{"OR-16", "", "<u@far.test\x00.ours.test>", ""},
		{"OR-17", "", "<u@ours.test\t@far.test>", ""},
		{"OR-17", "", "<u@far.test\r@ours.test>", ""},
		{"OR-17", "", "<u@far.test\v>", ""},
		{"OR-18", "", "<u@ours.test>,<v@far.test>", ""},
		{"OR-18", "", "<u@ours.test> <v@far.test>", ""},
		{"OR-18", "", "<u@ours.test>, NOTIFY=NEVER", ""},
		{"OR-18", "", "<u@ours.test> RCPT TO:<v@far.test>", ""},
		{"OR-19", "", "<u@ours.test> ORCPT=rfc822;u@far.test", "u@ours.test"},
		{"OR-19", "", "<u@ours.test> ORCPT=rfc822;u+00@far.test", ""},
		{"OR-19", "", "<u@ours.test> ORCPT=rfc822;u+0D+0ARCPT", ""},
		{"OR-20", "", "<u@ours.test.xn--far-x>", ""},
		{"OR-20", "", "<u@\uff4furs.test>", ""},
		{"OR-21", "", "<u=far.test@ours.test>", "u=far.test@ours.test"},
		{"OR-21", "", "<u+x%far.test@ours.test>", ""},
		{"OR-29", "", `<"victim@far.test> NOTIFY=NEVER ORCPT=rfc822;x"@ours.test>`, ""},
		{"OR-29", "", `<"victim> X=\""@ours.test>`, `"victim> X=\""@ours.test`},
		{"OR-29", `<"a> SIZE=1 AUTH=<"@friend.example>`, "<u@ours.test>", "u@ours.test"},
		{"OR-30", "", `<"a b"@ours.test>`, `"a b"@ours.test`},
		{"OR-30", "", `<"a\\\"b"@ours.test>`, `"a\\\"b"@ours.test`},
		{"OR-30", "", `<""@ours.test>`, `""@ours.test`},
		{"OR-30", "", "<\"a\rb\"@ours.test>", ""},
		{"OR-30", "", "<\"a\x00b\"@ours.test>", ""},
	}
}

// No known relay trick gets a message out, or makes us ask the server behind about a recipient that is not ours; and
// the address it is asked about is the one that was judged, octet for octet.
func TestNoOpenRelay(t *testing.T) {
	t.Parallel()
	g := newGate(t, "[smtp]\nmax_per_network = 200")
	var taken []string
	for _, trick := range relayTricks() {
		c := g.dial("mx")
		from := trick.from
		if from == "" {
			from = "<anna@friend.example>"
		}
		c.send("MAIL FROM:" + from + "\r\n")
		code, text := c.reply()
		if code == 250 {
			c.send("RCPT TO:" + trick.rcpt + "\r\n")
			code, text = c.reply()
		}
		switch {
		case trick.taken == "" && (code < 500 || code > 559):
			t.Errorf("%s %s to %q: %d %s", trick.id, from, trick.rcpt, code, text)
		case trick.taken != "" && code != 250:
			t.Errorf("%s to %q is one of ours: %d %s", trick.id, trick.rcpt, code, text)
		case trick.taken != "":
			taken = append(taken, "<"+trick.taken+">")
			c.say("DATA", 354)
			c.send(hello + ".\r\n")
			code, _ = c.reply()
			c.count(code)
		}
		_ = c.conn.Close()
	}
	var got []string
	for _, m := range g.settle() {
		got = append(got, m.To...)
	}
	if fmt.Sprint(got) != fmt.Sprint(taken) {
		t.Errorf("the server behind took\n%v, want\n%v", got, taken)
	}
	// the connection that asked for the server's extensions at the start may end only now
	outside := slices.DeleteFunc(g.outside.Commands(), func(line string) bool { return line == "QUIT" })
	if wrong := askedOutside(g.inside.Commands()); wrong != nil || len(outside) > 0 {
		t.Errorf("asked inside %q, outside %q", wrong, outside)
	}
}

// No client gains trust by what it says of itself: a PROXY header or XCLIENT from a stranger, the name of ours in EHLO,
// the outbound doors from outside. OR-23, OR-24, OR-28.
func TestTrustCannotBeClaimed(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x0a\x00\x00\x01\x7f\x00\x00\x01\x10\x00\x00\x19"
	for name, preface := range map[string]string{
		"PROXY 1 at a door for proxies": "proxied PROXY TCP4 10.0.0.1 127.0.0.1 4711 25\r\n", "PROXY 2 at a door for proxies": "proxied " + v2,
		"PROXY 1": "mx PROXY TCP4 10.0.0.1 127.0.0.1 4711 25\r\n", "PROXY 2": "mx " + v2,
	} {
		door, header, _ := strings.Cut(preface, " ")
		c := g.from("127.0.0.1", door)
		c.send(header)
		c.send("EHLO x.example\r\nMAIL FROM:<s@ours.test>\r\nRCPT TO:<u@far.test>\r\nQUIT\r\n")
		if said := c.ended(); strings.Count(said, "\r\n250 ") > 3 || replies(said, "354") {
			t.Errorf("%s: %s", name, said)
		}
	}
	for _, claim := range []string{"XCLIENT ADDR=10.0.0.1", "XCLIENT LOGIN=ben@ours.test", "XFORWARD ADDR=10.0.0.1", "EHLO [10.0.0.5]", "EHLO localhost", "EHLO ours.test", "EHLO gw.test", "HELO 127.0.0.1"} {
		for _, door := range []string{"mx", "proxied"} {
			c := g.dial(door)
			c.say(claim, 0)
			c.say("MAIL FROM:<s@ours.test>", 250)
			c.say("RCPT TO:<u@far.test>", 550)
			c.say("QUIT", 221)
		}
	}
	staff := g.dial("staff")
	staff.say("MAIL FROM:<s@ours.test>", 530)
	staff.say("RCPT TO:<u@far.test>", 503)
	// a proxy that may speak for clients does not get trust for them: it is the client's address that counts
	c := g.from("127.0.0.5", "proxied")
	c.send("PROXY TCP4 192.0.2.9 127.0.0.1 4711 25\r\n")
	c.say("", 220)
	c.say("EHLO x.example", 250)
	c.say("MAIL FROM:<s@ours.test>", 250)
	c.say("RCPT TO:<u@far.test>", 550)
	c = g.from("127.0.0.6", "proxied")
	c.say("", 220)
	c.say("EHLO x.example", 250)
	c.say("XCLIENT ADDR=192.0.2.9", 220)
	c.say("EHLO x.example", 250)
	c.say("MAIL FROM:<s@ours.test>", 250)
	c.say("RCPT TO:<u@far.test>", 550)
	g.settle()
	// the connection that asked for the server's extensions at the start may end only now
	outside := slices.DeleteFunc(g.outside.Commands(), func(line string) bool { return line == "QUIT" })
	if wrong := askedOutside(g.inside.Commands()); wrong != nil || len(outside) > 0 {
		t.Errorf("asked inside %q, outside %q", wrong, outside)
	}
}

// Trusted clients may relay: a trusted network, a proxy that speaks for one, a logged-in user. So the tests above
// refuse for the right reason.
func TestOurOwnGetOut(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	trusted := g.from("127.0.0.99", "mx")
	trusted.say("", 220)
	trusted.say("EHLO exchange.ours.test", 250)
	proxied := g.from("127.0.0.5", "proxied")
	proxied.send("PROXY TCP4 10.0.0.1 127.0.0.1 4711 25\r\n")
	proxied.say("", 220)
	proxied.say("EHLO exchange.ours.test", 250)
	for _, c := range []*client{trusted, proxied, g.login("staff")} {
		mine := strings.Replace(hello, "anna@friend.example", "ben@ours.test", 1)
		if code, text := c.message("ben@ours.test", "u@far.test", mine); code != 250 {
			t.Errorf("%d %s", code, text)
		}
	}
	g.settle()
	if n := len(g.outside.Messages()); n != 3 {
		t.Errorf("%d messages outside", n)
	}
}

// VRFY and the like disclose nothing, and postmaster always exists. OR-25, OR-26, OR-27.
func TestNothingIsDisclosed(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	c := g.dial("mx")
	for line, want := range map[string]int{"VRFY u@far.test": 252, "VRFY ben": 252, "EXPN list": 502, "ETRN far.test": 502, "TURN": 502,
		"ATRN far.test": 502, "SEND FROM:<s@far.test>": 502, "SAML FROM:<s@far.test>": 502, "SOML FROM:<s@far.test>": 502, "HELP": 214} {
		if text := c.say(line, want); strings.Contains(text, "ben") || strings.Contains(text, "far.test") {
			t.Errorf("%s: %s", line, text)
		}
	}
	for _, to := range []string{"postmaster", "Postmaster", "POSTMASTER@ours.test"} {
		c.say("MAIL FROM:<>", 250)
		c.say("RCPT TO:<"+to+">", 250)
		c.say("RSET", 250)
	}
	if code, _ := c.message("victim@far.test", "nosuch@ours.test", hello); code != 550 {
		t.Errorf("an unknown recipient: %d", code)
	}
	g.settle()
	if n := len(g.outside.Commands()); n > 0 {
		t.Errorf("a bounce went out: %q", g.outside.Commands())
	}
	for _, line := range g.inside.Commands() {
		if a, _, err := mail.ParsePath(strings.TrimPrefix(line, "RCPT TO:"), true); strings.HasPrefix(line, "RCPT") && (err != nil || a.Domain == "") {
			t.Errorf("asked inside: %s", line)
		}
	}
}
