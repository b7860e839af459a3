package smtpd_test

import (
	"strings"
	"testing"
)

// XCLIENT is allowed by the address of the client that the PROXY protocol names, never of the proxy itself: all clients
// come through it.
func TestXClientIsNotForEverybodyBehindTheProxy(t *testing.T) {
	b := newBench(t, map[string]string{"xclient": "yes"})
	said := connection(t, b, "203.0.113.9:99", "EHLO evil.example\nXCLIENT ADDR=127.0.0.1 LOGIN=boss\n")
	if !strings.Contains(said, "550 5.7.0 ") || strings.Contains(said, "XCLIENT NAME") {
		t.Errorf("the server said %q", said)
	}
}
