package relay_test

import (
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/testing/hoptest"
	"postern/proxy/relay"
)

func BenchmarkSend10KB(b *testing.B) {
	hop := hoptest.New(b, hoptest.Options{})
	r := newRelay(b, relay.Timeouts{}, hops(hop.Addr()))
	c := letter(strings.Repeat(strings.Repeat("x", 68)+"\r\n", 10_000/70))
	to := rcpts(b, "bob@corp.example")
	e := envelope(b)
	b.SetBytes(c.Size())
	b.ReportAllocs()
	for b.Loop() {
		d := r.Open(mail.RouteTo("in"), e)
		if reply := d.Rcpt(b.Context(), to[0]); !reply.Positive() {
			b.Fatal(reply)
		}
		if replies := d.Send(b.Context(), to, c); !replies[0].Positive() {
			b.Fatal(replies[0])
		}
		d.Close()
	}
	hop.Forget()
}
