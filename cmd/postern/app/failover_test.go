package app_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/testing/hoptest"
)

// Two hops with different extensions alternate, fail in mid-session and return, settings are reloaded, and clients
// continue their sessions. No mail is refused permanently for want of an extension that a hop offered a moment ago: it
// is deferred.
func TestFailoverRefusesNobody(t *testing.T) {
	t.Parallel()
	able := hoptest.Options{Extensions: []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "SIZE 50000000"}}
	plain := hoptest.Options{Extensions: []string{"PIPELINING"}}
	first, second := hoptest.New(t, able), hoptest.New(t, plain)
	able.Address, plain.Address = first.Addr(), second.Addr()
	g := newGate(t, fmt.Sprintf("[filters]\nratelimit.enabled = false\ncorrespondents.enabled = false\n[smtp]\nmax_per_network = 100\n"+
		"[next_hop.\"ours.test\"]\naddresses = [%q, %q]\ntls = \"none\"\n", first.Addr(), second.Addr()))

	const sessions, rounds = 20, 6
	var all, taken, putOff, refused atomic.Int64
	disturbed := make(chan struct{})
	go func() {
		defer close(disturbed)
		disturb(t, rounds, g, &first, able, &second, plain)
	}()

	var wait sync.WaitGroup
	for n := range sessions {
		wait.Go(func() {
			c, offers := g.offered()
			for i := 0; ; i++ {
				select {
				case <-disturbed:
					return
				default:
					all.Add(1)
				}
				params := []string{"", " BODY=8BITMIME", " BODY=8BITMIME SIZE=500", " SMTPUTF8 BODY=8BITMIME", " RET=HDRS"}[(n+i)%5]
				if !offers(params) {
					params = ""
				}
				code, said := c.transaction("MAIL FROM:<anna@friend.example>" + params)
				switch {
				case code == 0: // the session is over; it is closed, as the gateway counts connections
					_ = c.conn.Close()
					c, offers = g.offered()
				case code >= 500:
					if refused.Add(1) < 5 {
						t.Errorf("session %d, %q: %d %s", n, params, code, said)
					}
				case code >= 400:
					putOff.Add(1)
				default:
					taken.Add(1)
				}
			}
		})
	}
	wait.Wait()
	t.Logf("%d transactions: %d taken, %d put off, %d refused", all.Load(), taken.Load(), putOff.Load(), refused.Load())
	if taken.Load() == 0 {
		t.Error("nothing came through")
	}
}

// disturb stops and restarts the hops in turn and reloads the settings, in some rounds.
func disturb(t *testing.T, rounds int, g *gate, first **hoptest.Hop, able hoptest.Options, second **hoptest.Hop, plain hoptest.Options) {
	for n := range rounds * 4 {
		time.Sleep(300 * time.Millisecond)
		switch n % 4 {
		case 0:
			(*first).Close()
		case 1:
			*first = hoptest.New(t, able)
		case 2:
			(*second).Close()
		case 3:
			*second = hoptest.New(t, plain)
			if err := g.app.Reload(g.config); err != nil {
				t.Error(err)
			}
		}
	}
}

// offered dials a door and says whether it offered what parameters need.
func (g *gate) offered() (c *client, offers func(params string) bool) {
	c = g.from("127.0.0.1", "mx")
	c.say("", 220)
	said := c.say("EHLO mail.friend.example", 250)

	return c, func(params string) bool {
		for word, extension := range map[string]string{"BODY": "8BITMIME", "SMTPUTF8": "SMTPUTF8", "RET": "DSN"} {
			if strings.Contains(params, word) && !strings.Contains(said, extension) {
				return false
			}
		}
		return true
	}
}

// transaction runs one to its end.
func (c *client) transaction(mailFrom string) (code int, said string) {
	for _, line := range []string{mailFrom, "RCPT TO:<ben@ours.test>", "DATA", hello + "."} {
		c.send(line + "\r\n")
		code, said = c.reply()
		if code >= 400 || code == 0 {
			c.send("RSET\r\n")
			c.reply()
			return code, said
		}
	}
	return code, said
}
