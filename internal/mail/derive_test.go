package mail_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"postern/internal/mail"
)

func TestDerivedOnceForAll(t *testing.T) {
	type key struct{}
	m := mail.NewMessage([]byte("Subject: x\r\n\r\n"))
	var built atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if got := m.Derive(key{}, func() any { return built.Add(1) }); got != int64(1) {
				t.Error(got)
			}
		})
	}
	all.Wait()
	if m.Derive("another", func() any { return "other" }) != "other" {
		t.Error("keys are mixed up")
	}
}
