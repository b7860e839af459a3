package imapd_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/proxy/access"
	"postern/proxy/frame"
	"postern/proxy/imapd"
	"postern/proxy/retrieval"
)

// library is an IMAP server with so many messages, of which some are bad and some can't be judged.
func library(t *testing.T, messages int) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	speak := func(c net.Conn) {
		defer c.Close()
		out := bufio.NewWriter(c)
		fmt.Fprint(out, "* OK [CAPABILITY IMAP4rev1] ready\r\n")
		out.Flush()
		for lines := bufio.NewScanner(c); lines.Scan(); out.Flush() {
			tag, command, _ := strings.Cut(lines.Text(), " ")
			if strings.HasPrefix(command, "SELECT") {
				fmt.Fprintf(out, "* %d EXISTS\r\n* OK [UIDVALIDITY 5] ok\r\n", messages)
			}
			if set, ok := strings.CutPrefix(command, "UID FETCH "); ok {
				set, _, _ = strings.Cut(set, " ")
				for one := range strings.SplitSeq(set, ",") {
					from, to, _ := strings.Cut(one, ":")
					first, _ := strconv.Atoi(from)
					last, err := strconv.Atoi(to)
					if err != nil {
						last = first
					}
					for n := first; n <= min(last, messages); n++ {
						text := book(n)
						fmt.Fprintf(out, "* %d FETCH (UID %d BODY[] {%d}\r\n%s FLAGS (\\Seen))\r\n", n, n, len(text), text)
					}
				}
			}
			if strings.HasPrefix(command, "LOGIN") {
				fmt.Fprint(out, "* CAPABILITY IMAP4rev1\r\n")
			}
			fmt.Fprintf(out, "%s OK done\r\n", tag)
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go speak(c)
		}
	}()
	return l.Addr().String()
}

// book is the n-th message.
func book(n int) string {
	head := fmt.Sprintf("Subject: number %d.\r\n", n)
	switch n % 10 {
	case 3:
		return head + "X-Mask: yes\r\n\r\n" + marker + "\r\n"
	case 7:
		return head + "X-Later: yes\r\n\r\nlater\r\n"
	}
	return head + "\r\ngood " + strconv.Itoa(n) + "\r\n"
}

// What a client fetches in a row, by one command, by many at once or by one after the other, comes in its order, each as its
// own judgement says, and takes a fraction of the time of all judgements.
func TestJudgedAhead(t *testing.T) {
	const messages, pause = 60, 50 * time.Millisecond
	for name, fetch := range map[string]func(*client) string{
		"one command": func(c *client) string { return c.do("f", fmt.Sprintf("UID FETCH 1:%d (UID BODY.PEEK[])", messages)) },
		"pipelined": func(c *client) (all string) {
			for n := 1; n <= messages; n++ {
				c.send(fmt.Sprintf("f%d. UID FETCH %d (UID BODY.PEEK[])\r\n", n, n))
			}
			for n := 1; n <= messages; n++ {
				all += c.until(fmt.Sprintf("f%d. ", n))
			}
			return all
		},
		"in turn": func(c *client) (all string) {
			for n := 1; n <= messages; n++ {
				all += c.do(fmt.Sprintf("f%d.", n), fmt.Sprintf("UID FETCH %d (UID BODY.PEEK[])", n))
			}
			return all
		},
		"downwards": func(c *client) (all string) {
			for n := messages; n > 0; n-- {
				all = c.do(fmt.Sprintf("f%d.", n), fmt.Sprintf("UID FETCH %d (UID BODY.PEEK[])", n)) + all
			}
			return all
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, access.Backend{Address: library(t, messages), TLS: access.TLSNone}, func(o *imapd.Options, _ *access.Options, _ *frame.Options) {
				o.VerdictCache.(*verdicts).pause = pause
			})
			c := dial(t, d.address, nil)
			c.login("bob", "x")
			c.do("s", "SELECT INBOX")
			begun := time.Now()
			text := fetch(c)
			took := time.Since(begun)
			at := 0
			for n := 1; n <= messages; n++ {
				i := strings.Index(text[at:], fmt.Sprintf("Subject: number %d.", n))
				good := strings.Contains(text, "good "+strconv.Itoa(n)+"\r\n")
				if n%10 == 7 && i >= 0 || n%10 != 7 && (i < 0 || good == (n%10 == 3)) {
					t.Fatalf("number %d is at %d, good is %v", n, i, good)
				}
				at += max(i, 0)
			}
			if strings.Contains(text, marker) || !strings.Contains(text, " NO [UNAVAILABLE]") {
				t.Error("what must not be shown is, or what is left out is not told")
			}
			if took > messages*pause/2 {
				t.Errorf("it took %v", took)
			}
			if name == "pipelined" && strings.Count(text, " NO [UNAVAILABLE]") != messages/10 {
				t.Errorf("NO for others than those that were left out: %d", strings.Count(text, " NO "))
			}
		})
	}
}

// late is a verdicts that calls a message back just after it was judged.
type late struct{ *verdicts }

func (r late) Known(ctx context.Context, p retrieval.Place) (retrieval.Ruling, bool) {
	known, ok := r.verdicts.Known(ctx, p)
	if ok && p.UID == 5 {
		known.Masked = true
	}
	return known, ok
}

// A message that is called back between its judgement and its turn is masked.
func TestCalledBackBeforeItsTurn(t *testing.T) {
	d := open(t, access.Backend{Address: library(t, 6), TLS: access.TLSNone}, func(o *imapd.Options, _ *access.Options, _ *frame.Options) {
		o.VerdictCache = late{o.VerdictCache.(*verdicts)}
	})
	c := dial(t, d.address, nil)
	c.login("bob", "x")
	c.do("s", "SELECT INBOX")
	text := c.do("f", "UID FETCH 1:6 (UID BODY.PEEK[])")
	if strings.Contains(text, "good 5") || !strings.Contains(text, "number 5") || !strings.Contains(text, "good 4") || !strings.Contains(text, "good 6") {
		t.Error(text)
	}
}

// breaking is a verdicts that panics when it hears that a message was fetched.
type breaking struct{ *verdicts }

func (breaking) Fetched(context.Context, *mail.Session, retrieval.Place, retrieval.Ruling) {
	panic("a desk that breaks later")
}

// A panic while messages are sent in their turn ends that session, and nothing but it.
func TestAPanicInItsTurnEndsOneSession(t *testing.T) {
	d := open(t, access.Backend{Address: library(t, 20), TLS: access.TLSNone}, func(o *imapd.Options, _ *access.Options, _ *frame.Options) {
		o.VerdictCache = breaking{o.VerdictCache.(*verdicts)}
	})
	for range 2 {
		c := dial(t, d.address, nil)
		c.login("bob", "x")
		c.do("s", "SELECT INBOX")
		c.send("f UID FETCH 1:20 (UID BODY.PEEK[])\r\n")
		if got := c.rest(); !strings.Contains(got, "* BYE") || strings.Contains(got, "f OK") {
			t.Errorf("%q", got)
		}
	}
	d.records.wait(t, 2)
	d.log.mu.Lock()
	defer d.log.mu.Unlock()
	if text := d.log.b.String(); strings.Count(text, "a desk that breaks later") < 2 {
		t.Errorf("no panic in the log: %s", text)
	}
	d.log.b.Reset() // it was looked at
}
