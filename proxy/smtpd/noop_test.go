package smtpd_test

import (
	"strings"
	"testing"
)

// Commands that bring a message no further have an end within a transaction too.
func TestNoopsInATransactionEnd(t *testing.T) {
	b := newBench(t, map[string]string{"max-commands": "20"})
	said := connection(t, b, "203.0.113.9:99", "HELO a.example\nMAIL FROM:<a@b.example>\n"+strings.Repeat("NOOP\n", 15)+strings.Repeat("HELP\n", 15))
	if !strings.Contains(said, "421 4.7.0 ") {
		t.Errorf("the server said %q", said)
	}
}
