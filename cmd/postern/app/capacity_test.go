package app_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// Load from one group of clients does not slow the others: beside each of these loads, good mail from 20 other networks
// arrives, ten messages a second, as on an idle gateway. The log has the times.
func TestGoodMailBesideACrowd(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes a minute")
	}
	for _, crowd := range []struct {
		name    string
		clients int
		join    func(g *gate, n int, c *client)
	}{
		{"nobody", 0, nil},
		{"200 idle after RCPT, 10 networks", 200, func(_ *gate, n int, c *client) {
			c.send(fmt.Sprintf("MAIL FROM:<x%d@idle.example>\r\nRCPT TO:<ben@ours.test>\r\n", n))
		}},
		{"200 idle, NOOP now and then", 200, func(_ *gate, n int, c *client) {
			c.send(fmt.Sprintf("MAIL FROM:<x%d@idle.example>\r\nRCPT TO:<ben@ours.test>\r\n", n))
			for range 10 {
				time.Sleep(time.Second)
				c.send("NOOP\r\n")
			}
		}},
		{"100 senders with silent DNS", 100, func(_ *gate, n int, c *client) {
			c.send("MAIL FROM:<x@silent.example>\r\nRCPT TO:<ben@ours.test>\r\nDATA\r\n")
			c.send(hello + ".\r\n")
		}},
		{"200 who ask for recipients that the hop answers after 5 s", 200, func(_ *gate, n int, c *client) {
			c.send(fmt.Sprintf("MAIL FROM:<x%d@idle.example>\r\nRCPT TO:<slow%d@ours.test>\r\nRCPT TO:<slow%d@ours.test>\r\n", n, n, n+1000))
		}},
	} {
		t.Run(crowd.name, func(t *testing.T) {
			t.Parallel()
			resolver := nameServer(t, "friend.example TXT v=spf1 ip4:192.0.0.0/16 -all\n", map[string]fault{"silent.example.": silent, "_dmarc.silent.example.": silent})
			g := newGateIn(t, resolver, "[filters]\nratelimit.enabled = false\nharvest.enabled = false\ndnslists.enabled = false\ngreylist.enabled = false\n[smtp]\nmax_per_network = 100")
			g.inside.Reply("RCPT TO:<slow", "AFTER 5s 550 5.1.1 no such user")

			var wait sync.WaitGroup
			for n := range crowd.clients {
				c := g.as(fmt.Sprintf("198.51.%d.%d", n%10, 1+n/10))
				wait.Go(func() { crowd.join(g, n, c) })
			}
			time.Sleep(500 * time.Millisecond)

			took := goodMail(t, g, 80)
			slices.Sort(took)
			t.Logf("%-60s p50 %5d ms, p99 %5d ms", crowd.name, took[len(took)/2].Milliseconds(), took[len(took)*99/100].Milliseconds())
			wait.Wait()
		})
	}
}

// goodMail sends messages from 20 networks, ten a second, each over a connection of its own, and gives how long each took.
func goodMail(t *testing.T, g *gate, messages int) []time.Duration {
	t.Helper()
	took := make([]time.Duration, messages)
	var wait sync.WaitGroup

	for n := range messages {
		wait.Go(func() {
			time.Sleep(time.Duration(n) * 100 * time.Millisecond)
			began := time.Now()
			c := g.as(fmt.Sprintf("192.0.%d.%d", n%20, 1+n/20))
			if code, said := c.message("anna@friend.example", "ben@ours.test", hello); code != 250 {
				t.Errorf("message %d after %v: %d %s", n, time.Since(began), code, said)
			}
			took[n] = time.Since(began)
		})
	}
	wait.Wait()

	return took
}

// as connects as a client of this address, behind a proxy that is trusted to say so, and greets.
func (g *gate) as(address string) *client {
	g.t.Helper()
	c := g.from("127.0.0.5", "proxied")
	c.send("PROXY TCP4 " + address + " 10.0.0.1 4000 25\r\n")
	c.say("", 220)
	c.say("EHLO mail.friend.example", 250)

	return c
}
