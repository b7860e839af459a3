package smtpd_test

import (
	"context"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/proxy/smtpd"
)

// A fault of ours ends one connection, not all of them.
func TestAPanicEndsOneSession(t *testing.T) {
	b := newBench(t, nil)
	o := options(t, map[string]string{"door": "submission"})
	o.AuthInClear = true
	o.Login = func(context.Context, *mail.Session, string, string) (bool, error) { panic("a bug") }
	b.server = smtpd.New(o, b.gateway, b.gateway.Log)
	said := connection(t, b, "203.0.113.9:99", "EHLO a.example\nAUTH PLAIN AHVzZXIAc2VjcmV0\n")
	if !strings.Contains(said, "421 4.3.0 ") {
		t.Errorf("the server said %q", said)
	}
	if n := len(b.ledger.connections); n != 1 {
		t.Errorf("%d records", n)
	}
}
