package app_test

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A command line is read up to a bound, refused above it, and never read as two. RFC 5321 section 4.5.3.1.4. LL-01.
func TestLongCommandLines(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	c := g.dial("mx")
	c.say("NOOP "+strings.Repeat("x", 500), 250)
	c.say("NOOP "+strings.Repeat("x", 1000), 250)
	for _, n := range []int{2100, 12289, 60000} {
		if said := c.say("NOOP "+strings.Repeat("x", n)+" RCPT TO:<u@far.test>", 500); !strings.HasPrefix(said, "500 5.5.2 ") {
			t.Errorf("%d octets: %s", n, said)
		}
		c.say("NOOP", 250)
	}
	endless := g.dial("mx")
	go func() {
		block := strings.Repeat("x", 64<<10)
		for range 64 {
			endless.send(block)
		}
	}()
	if said := endless.ended(); said != "" && !strings.HasPrefix(said, "500 5.5.2 ") { // it may be lost: input follows it
		t.Errorf("an endless line: %q", said)
	}
}

// Lines of the body are as long as they are: never split, never cut. One rule, whatever the length. LL-02.
func TestLongBodyLinesAreKept(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	c := g.dial("mx")
	var want []string
	for _, n := range []int{998, 999, 1000, 2049, 8193, 65537, 1 << 20} {
		text := head + "\r\n" + strings.Repeat("x", n) + "\r\n" + strings.Repeat(" y", n/2) + "\r\n"
		if code, said := c.message("anna@friend.example", "ben@ours.test", text); code != 250 {
			t.Fatalf("%d octets: %d %s", n, code, said)
		}
		want = append(want, text)
	}
	for i, m := range g.settle() {
		if got := below(m.Data); got != want[i] {
			t.Errorf("a message of %d octets is delivered with %d", len(want[i]), len(got))
		}
	}
}

// Header sections are bounded, in octets and in fields. LL-03, LL-06, LL-07.
func TestLargeHeaders(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	body := "\r\nAt noon?\r\n"
	for name, text := range map[string]string{
		"a field of 100 KB":         head + "X-Long: " + strings.Repeat("x", 100<<10) + "\r\n" + body,
		"encoded words of 5 MB":     head + "Subject: " + strings.Repeat("=?utf-8?B?4pyT4pyT?=\r\n ", 200_000) + "\r\n" + body,
		"100 000 recipients in To":  head + "Cc: a@ours.test" + strings.Repeat(",\r\n a@ours.test", 100_000) + "\r\n" + body,
		"a DKIM-Signature of 1 MB":  head + "DKIM-Signature: v=1; b=" + strings.Repeat("A", 1<<20) + "\r\n" + body,
		"References of 1 MB":        head + "References: " + strings.Repeat("<x@friend.example>\r\n ", 50_000) + "x\r\n" + body,
		"100 000 Received":          strings.Repeat("Received: from a by b; Mon, 02 Nov 2026 10:00:00 +0000\r\n", 100_000) + head + body,
		"10 MB of folded blanks":    head + "X: " + strings.Repeat("\r\n "+strings.Repeat(" ", 500), 20_000) + "x\r\n" + body,
		"no end of the header":      head + strings.Repeat("X-A: b\r\n", 200_000),
		"a boundary of 100 KB":      head + "Content-Type: multipart/mixed; boundary=\"" + strings.Repeat("b", 100<<10) + "\"\r\n" + body,
		"a field name of 2000":      head + strings.Repeat("N", 2000) + ": x\r\n" + body,
		"a boundary of 1 KB folded": head + "Content-Type: multipart/mixed;\r\n boundary=\"" + strings.Repeat("b", 1000) + "\"\r\n" + body,
	} {
		c := g.dial("mx")
		start := time.Now()
		code, said := c.message("anna@friend.example", "ben@ours.test", text)
		t.Logf("%-28s %8d octets: %d %.80s (%v)", name, len(text), code, said, time.Since(start).Round(time.Millisecond))
		if code == 0 || code >= 400 && code < 500 {
			t.Errorf("%s: %d %s", name, code, said)
		}
		if len(text) > 1<<20 && code < 500 {
			t.Errorf("%s is let in: %d %s", name, code, said)
		}
		_ = c.conn.Close()
	}
	g.settle()
}

// An address is bounded as a whole, so that it fits a command line; its domain as DNS bounds it. LL-04.
func TestLongAddresses(t *testing.T) {
	t.Parallel()
	g := newGate(t, "[smtp]\nmax_errors = 100")
	c := g.dial("mx")
	c.say("MAIL FROM:<>", 250)
	label := strings.Repeat("d", 63)
	for address, want := range map[string]int{
		strings.Repeat("l", 64) + "@ours.test":                                   250,
		strings.Repeat("l", 65) + "@ours.test":                                   250, // SRS, VERP
		strings.Repeat("l", 300) + "@ours.test":                                  250,
		strings.Repeat("l", 480) + "@ours.test":                                  501,
		`"` + strings.Repeat("l", 70) + `"@ours.test`:                            250,
		"u@" + label + ".test":                                                   550, // a name, but none of ours
		"u@" + label + "d.test":                                                  501,
		"u@" + label + "." + label + "." + label + "." + label + ".test":         501,
		"u@" + strings.Repeat("d.", 130) + "test":                                501,
		strings.Repeat("l", 64) + "@" + label + "." + label + "." + label + ".x": 550,
	} {
		c.send("RCPT TO:<" + address + ">\r\n")
		if code, said := c.reply(); code != want {
			t.Errorf("%s: %d %s, want %d", address, code, said, want)
		}
	}
	for _, line := range g.inside.Commands() {
		if len(line) > 512 {
			t.Errorf("a line of %d octets went inside", len(line))
		}
	}
}

// A thousand recipients are accepted, further ones are deferred to another transaction, and a client that continues is
// disconnected. Those accepted get the message. LL-05.
func TestManyRecipients(t *testing.T) {
	t.Parallel()
	g := newGate(t, "[filters]\nratelimit.enabled = false")
	c := g.dial("mx")
	c.say("MAIL FROM:<anna@friend.example>", 250)
	go func() {
		for i := range 1010 {
			c.send(fmt.Sprintf("RCPT TO:<u%d@ours.test>\r\n", i))
		}
	}()
	for i := range 1010 {
		want := 250
		if i >= 1000 {
			want = 452
		}
		c.say("", want)
	}
	c.say("DATA", 354)
	c.send(hello + ".\r\n")
	code, said := c.reply()
	c.count(code)
	if m := g.settle(); len(m) != 1 || len(m[0].To) != 1000 {
		t.Errorf("%d %s: %d messages", code, said, len(m))
	}
}

// The limit is counted in octets of the message, dots unstuffed: at it the message is taken, one above it is not, and
// what size is claimed changes nothing. LL-08.
func TestSizeLimitIsExact(t *testing.T) {
	t.Parallel()
	const limit = 100_000
	g := newGate(t, fmt.Sprintf("[smtp]\nmax_message_size = %d", limit))
	pad := func(n int) string {
		body := strings.Repeat(".\r\n", (n-len(head)-2)/3)
		return head + "\r\n" + strings.Repeat("x", n-len(head)-2-len(body)) + body
	}
	for size, want := range map[int]int{limit - 1: 250, limit: 250, limit + 1: 552, 2 * limit: 552} {
		text := pad(size)
		if len(text) != size {
			t.Fatal(len(text), size)
		}
		c := g.dial("mx")
		if code, said := c.message("anna@friend.example", "ben@ours.test", strings.ReplaceAll(text, "\r\n.", "\r\n..")); code != want {
			t.Errorf("%d octets by DATA: %d %s, want %d", size, code, said, want)
		}
		c.say("MAIL FROM:<anna@friend.example> SIZE=10", 250)
		c.say("RCPT TO:<ben@ours.test>", 250)
		c.send(fmt.Sprintf("BDAT %d LAST\r\n%s", size, text))
		code, said := c.reply()
		c.count(code)
		if code != want {
			t.Errorf("%d octets by BDAT: %d %s, want %d", size, code, said, want)
		}
		claimed := want
		c.send(fmt.Sprintf("MAIL FROM:<anna@friend.example> SIZE=%d\r\n", size))
		if code, said := c.reply(); code != claimed {
			t.Errorf("SIZE=%d: %d %s", size, code, said)
		}
		_ = c.conn.Close()
	}
	for _, m := range g.settle() {
		if n := len(below(m.Data)); n > limit || n < limit-1 {
			t.Errorf("%d octets were delivered", n)
		}
	}
}

// Messages of only line ends, dots or NULs are judged in time like any other. LL-09.
func TestMessagesOfNothing(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	const n = 1 << 20
	for _, unit := range []string{"\r\n", "..\r\n", "\x00", "x", "\r", "\n", "--\r\n", "=\r\n", "<", "x\x00", "x\r"} {
		c := g.dial("mx")
		start := time.Now()
		code, said := c.message("anna@friend.example", "ben@ours.test", head+"\r\n"+strings.Repeat(unit, n/len(unit))+"\r\n")
		t.Logf("%q: %d %.60s (%v)", unit, code, said, time.Since(start).Round(time.Millisecond))
		if code == 0 || code >= 400 && code < 500 {
			t.Errorf("%q: %d %s", unit, code, said)
		}
		_ = c.conn.Close()
	}
	g.settle()
}

// A client that only sends NOOP and the like is disconnected. SL-05.
func TestJunkIsBounded(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	for _, line := range []string{"NOOP", "RSET", "HELP", "VRFY ben", "FROB", "EHLO x.example", "DATA", "RCPT TO:<>", "MAIL FROM:<x", "\x00", "", strings.Repeat("x", 3000)} {
		c := g.dial("mx")
		done := make(chan string)
		go func() { done <- c.ended() }()
		many := strings.Repeat(line+"\r\n", 20)
		for range 50 {
			c.send(many)
		}
		if n := strings.Count(<-done, "\r\n"); n > 150 { // the last reply may be lost, as input follows it
			t.Errorf("1000 times %q: %d replies", line, n)
		}
	}
	g.settle()
}

// Clients that disconnect at any point, by QUIT or not, leave nothing behind: no partial message, no connection, no
// open file. SL-07, SL-10, SL-11.
func TestClientsThatGoAway(t *testing.T) {
	g := newGate(t, "[smtp]\nmax_connections = 1000\nmax_per_network = 1000")
	login := func(upTo int, reset bool) {
		d := g.from("127.0.0.1", "mx")
		if tcp, ok := d.conn.(*net.TCPConn); ok && reset {
			_ = tcp.SetLinger(0) // close with RST
		}
		lines := []string{"EHLO x.example\r\n", "MAIL FROM:<anna@friend.example>\r\n", "RCPT TO:<ben@ours.test>\r\n", "DATA\r\n", hello, ".", "\r"}
		for _, line := range lines[:upTo] {
			d.send(line)
			if strings.HasSuffix(line, "\r\n") && line != hello {
				d.reply()
			}
		}
		_ = d.conn.Close()
	}
	around := func(times int) {
		for range times {
			for upTo := range 8 {
				login(upTo, false)
				login(upTo, true)
			}
		}
	}
	around(1)
	settled := func(what func() int, limit int) int {
		n := what()
		for range 200 {
			if n <= limit {
				break
			}
			time.Sleep(20 * time.Millisecond)
			n = what()
		}
		return n
	}
	settled(runtime.NumGoroutine, 0) // what the first round opened, such as pools, stays
	goroutines, files := runtime.NumGoroutine(), openFiles()
	around(20)
	if n := settled(runtime.NumGoroutine, goroutines+5); n > goroutines+5 {
		t.Errorf("%d goroutines, %d before", n, goroutines)
	}
	if n := settled(openFiles, files+5); n > files+5 {
		t.Errorf("%d files open, %d before", n, files)
	}
	g.settle()
	// a client that keeps sending commands and never reads the replies
	deaf := g.dial("mx")
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for range 10_000 {
			deaf.send(strings.Repeat("RCPT TO:<u@far.test>\r\n", 100))
		}
	}()
	<-stopped // it is disconnected after its errors, and its octets are discarded
	g.settle()
}

func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
