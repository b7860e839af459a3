package frame

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// Robots from many networks take all there is to take, and who is known as good gets in at once.
func TestTheKnownGetInUnderAttack(t *testing.T) {
	known := netip.MustParsePrefix("198.51.100.0/24")
	l := start(t, Options{MaxConnections: 100, MaxPerNetwork: 50, V4Bits: 24, Reserve: 20, ProxyProtocol: true, Trusted: loopback,
		Known: func(a netip.Addr) bool { return known.Contains(a) }}, echo{refuse: func(_ *Conn, why Reason) string { return "421 " + string(why) + "\r\n" }})
	from := func(client string) string {
		got, _ := talk(t, l, "PROXY TCP4 "+client+" 10.0.0.1 5 25\r\n")
		return got
	}
	in := 0
	for i := range 120 {
		if strings.HasPrefix(from(fmt.Sprintf("203.0.%d.%d", i%40, 1+i/40)), "hello") {
			in++
		}
	}
	if in != 100 {
		t.Errorf("%d robots are in, want 100", in)
	}
	if !l.Pressed() {
		t.Error("strangers hold all there is, and nobody is asked to hurry")
	}
	if got := from("192.0.2.1"); got != "421 too many connections" {
		t.Errorf("a stranger: %q", got)
	}
	for i := range 15 {
		if got := from(fmt.Sprintf("198.51.100.%d", i+1)); !strings.HasPrefix(got, "hello") {
			t.Errorf("known client %d: %q", i, got)
		}
	}
	if !l.Pressed() {
		t.Error("it does not say that connections are scarce")
	}
}
