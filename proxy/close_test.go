package proxy_test

import (
	"context"
	"testing"

	"postern/internal/mail"
)

// When the door closes while a message is judged, there is no verdict: the sender keeps the message.
func TestNothingIsTakenUnjudged(t *testing.T) {
	b := newBench(t, "\ndown three\n")
	b.step(t, "to", "a@accept.three.test")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := mail.NewMessage([]byte("From: bob@example.org\r\n\r\nhello\r\n"))
	if r := b.gateway.Handle(ctx, b.transaction, m); !r.Temporary() || len(b.store.queued) > 0 {
		t.Errorf("%s, queued %v", r, b.store.queued)
	}
}
