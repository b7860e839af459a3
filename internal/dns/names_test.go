package dns

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// The names of our own servers are asked of the servers that are set, the next one where one is silent, and of nobody else.
func TestNames(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if rr, err := dns.NewRR(q.Question[0].Name + " 60 A 127.0.0.7"); err == nil && q.Question[0].Qtype == dns.TypeA {
			m.Answer = append(m.Answer, rr)
		}
		_ = w.WriteMsg(m) // the test sees whether it came
	})}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })

	r, err := Names([]string{"127.0.0.1:1", pc.LocalAddr().String()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if all, err := r.LookupHost(ctx, "exchange.corp.example."); err != nil || len(all) != 1 || all[0] != "127.0.0.7" {
		t.Errorf("%q, %v", all, err)
	}
	if _, err := Names([]string{"not an address"}); err == nil {
		t.Error("a name is taken for a server")
	}
}
