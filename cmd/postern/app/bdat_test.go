package app_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// begin has a client ready for a message of anna's to ben.
func (g *gate) begin(door string) *client {
	g.t.Helper()
	c := g.dial(door)
	c.say("MAIL FROM:<anna@friend.example>", 250)
	c.say("RCPT TO:<ben@ours.test>", 250)
	return c
}

// below is the message below our own fields, as it was sent.
func below(data []byte) string {
	_, rest, _ := bytes.Cut(data, []byte("\r\nX-Postern: "))
	for {
		_, next, ok := bytes.Cut(rest, []byte("\r\n"))
		rest = next
		if !ok || len(rest) == 0 || rest[0] != ' ' && rest[0] != '\t' {
			return string(rest)
		}
	}
}

// A chunk that can't be accepted, or is out of sequence, is never read as commands: either its octets are thrown away
// or the connection ends. RFC 3030 section 2. BD-02 to BD-06, BD-08.
func TestBDATOutOfPlace(t *testing.T) {
	t.Parallel()
	g := newGate(t, "[smtp]\nmax_message_size = \"64KiB\"")
	inner := "MAIL FROM:<smuggled@friend.example>\r\nRCPT TO:<ben@ours.test>\r\n"
	for _, args := range []string{"4294967296000", "-1", "1e9", "0x10", " 10", "10 LAST x", "99999999999999999999", "", "LAST", "10 last now", "+10", "１０"} {
		c := g.begin("mx")
		c.send("BDAT " + args + "\r\n" + inner)
		if said := c.ended(); !strings.HasPrefix(said, "501") || replies(said, "250") {
			t.Errorf("BDAT %s: %q", args, said)
		}
	}
	chunk := fmt.Sprintf("BDAT %d LAST\r\n%s", len(inner), inner)
	c := g.dial("mx")
	c.say(strings.TrimSuffix(chunk, "\r\n"), 503) // before MAIL
	c.say("MAIL FROM:<anna@friend.example>", 250)
	c.say(strings.TrimSuffix(chunk, "\r\n"), 503) // before RCPT
	c.say("RCPT TO:<u@far.test>", 550)
	c.say(strings.TrimSuffix(chunk, "\r\n"), 503) // every RCPT was refused
	c.say("RCPT TO:<ben@ours.test>", 250)
	c.send("BDAT 5\r\nabcde")
	c.say("", 250)
	c.say("RSET", 250) // between chunks: the first is forgotten
	c.say("MAIL FROM:<anna@friend.example>", 250)
	c.say("RCPT TO:<ben@ours.test>", 250)
	c.send("BDAT 5\r\nabcde")
	c.say("", 250)
	c.say("DATA", 503)
	c.say("RCPT TO:<eva@ours.test>", 503)
	c.say("RSET", 250)
	c.say("BDAT 0 LAST", 503)
	c.say("QUIT", 221)

	big := g.begin("mx") // over the limit in two chunks: refused, and the dialogue goes on in step
	big.send("BDAT 60000\r\n" + strings.Repeat("a", 60000))
	big.say("", 250)
	big.send("BDAT 10000\r\n" + strings.Repeat("b", 10000))
	big.say("", 552)
	big.say("NOOP", 250)
	cut := g.begin("mx")
	cut.send("BDAT 1000 LAST\r\n" + hello)
	_ = cut.conn.Close()
	g.settle()
	for _, line := range g.inside.Commands() {
		if strings.Contains(line, "smuggled") {
			t.Errorf("asked inside: %s", line)
		}
	}
}

// However a message is cut into chunks, the server behind gets the same octets as by DATA. BD-01, BD-09 to BD-12.
func TestBDATGivesWhatDATAGives(t *testing.T) {
	t.Parallel()
	g := newGate(t, "[filters]\nratelimit.enabled = false")
	text := head + "Subject: lunch\r\n folded\r\n\r\nAt noon?\r\n.\r\n..\r\n.x\r\nMAIL FROM:<x@friend.example>\r\n"
	c := g.dial("mx")
	if code, said := c.message("anna@friend.example", "ben@ours.test", strings.ReplaceAll(text, "\r\n.", "\r\n..")); code != 250 {
		t.Fatalf("%d %s", code, said)
	}
	chunks := 0
	for at := 1; at < len(text); at++ {
		c.send(fmt.Sprintf("MAIL FROM:<anna@friend.example>\r\nRCPT TO:<ben@ours.test>\r\nBDAT %d\r\n%sBDAT %d LAST\r\n%s", at, text[:at], len(text)-at, text[at:]))
		for _, want := range []int{250, 250, 250, 250} {
			c.say("", want)
		}
		c.count(250)
		chunks++
	}
	one := g.begin("mx") // octet by octet, an empty chunk last, and the next transaction in the same segment
	var all strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&all, "BDAT 1\r\n%c", text[i])
	}
	one.send(all.String() + "BDAT 0 LAST\r\nMAIL FROM:<anna@friend.example>\r\n")
	for range len(text) + 2 {
		one.say("", 250)
	}
	one.count(250)
	open := g.begin("mx") // without its last CRLF
	open.send(fmt.Sprintf("BDAT %d LAST\r\n%s", len(text)-2, text[:len(text)-2]))
	open.say("", 250)
	open.count(250)
	for i, m := range g.settle() {
		if got := below(m.Data); got != text {
			t.Fatalf("message %d of %d: got\n%q, want\n%q", i, chunks+3, got, text)
		}
	}
}

// A chunk that holds what would end a line or a message elsewhere is refused, or handed on so that it does not. BD-13,
// BD-14, SM-20.
func TestBDATHoldsNoEndOfData(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"reject", "normalise"} {
		g := newGate(t, "[smtp]\nbare_newline = \""+how+"\"\nmax_errors = 1000")
		inner := "\r\nMAIL FROM:<x@friend.example>\r\nRCPT TO:<ben@ours.test>\r\nDATA\r\n" + hello + ".\r\n"
		for _, end := range []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r\n\x00.\r\n", "\x00", "\r", "\n"} {
			c := g.begin("mx")
			text := head + "\r\nline" + end + inner
			c.send(fmt.Sprintf("BDAT %d LAST\r\n%s", len(text), text))
			code, said := c.reply()
			c.count(code)
			if how == "reject" && code != 550 || how == "normalise" && code != 250 {
				t.Errorf("%s: %q: %d %s", how, end, code, said)
			}
			c.say("NOOP", 250)
		}
		g.settle()
	}
	// BINARYMIME is not offered, so no client may use it
	g := newGate(t)
	c := g.dial("mx")
	c.say("MAIL FROM:<anna@friend.example> BODY=BINARYMIME", 501)
	g.settle()
}

// Endless empty chunks are bounded. BD-07.
func TestChunksAreBounded(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	c := g.begin("mx")
	done := make(chan string)
	go func() { done <- c.ended() }()
	many := strings.Repeat("BDAT 0\r\n", 1000)
	for range 110 {
		c.send(many)
	}
	if n := strings.Count(<-done, "\r\n"); n > 100_001 { // the last reply may be lost, as input follows it
		t.Errorf("%d chunks were taken", n)
	}
	g.settle()
}
