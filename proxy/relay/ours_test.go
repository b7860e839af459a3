package relay_test

import (
	"testing"

	"postern/internal/testing/hoptest"
	"postern/proxy/relay"
)

// A hop that demands TLS or a login complains about our settings, not the mail: no mail bounces for that.
func TestWhatTheHopWantsOfUsIsA4xx(t *testing.T) {
	for _, step := range []string{"MAIL", "RCPT", "DATA", "."} {
		for _, said := range []string{"530 5.7.57 Client not authenticated to send mail", "530 5.7.0 Must issue a STARTTLS command first", "538 5.7.11 Encryption required"} {
			hop := hoptest.New(t, hoptest.Options{Replies: map[string]string{step: said}})
			asked, sent := pass(t, newRelay(t, relay.Timeouts{}, hops(hop.Addr())), envelope(t), letter("x"), "bob@corp.example")
			got := append(asked, sent...)
			if last := got[len(got)-1]; !last.Temporary() {
				t.Errorf("%s at %s became %s", said, step, last)
			}
		}
	}
}
