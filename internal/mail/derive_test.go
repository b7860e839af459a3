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

type closing struct{ order *[]string }

func (c closing) Close() error { *c.order = append(*c.order, "closed"); return nil }

func TestDerivedIsClosedWithTheMessage(t *testing.T) {
	m := mail.NewMessage([]byte("Subject: x\r\n\r\n"))
	var order []string
	build := func() any { return closing{&order} }
	m.Derive("early", build)
	m.Derive("early", build)
	if err := m.Close(); err != nil || len(order) != 1 {
		t.Errorf("closed %d times, %v; want once", len(order), err)
	}
	m.Derive("late", build)
	if err := m.Close(); err != nil || len(order) != 2 {
		t.Errorf("what came too late is open still: %d closed, %v", len(order), err)
	}
}
