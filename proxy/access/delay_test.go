package access

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// The time of a refusal does not disclose how long the server took, and no refusal comes sooner because no server was
// asked.
func TestRefusalsHideTheServersTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, func(o *Options) { o.FailDelay = 2 * time.Second })
		begun := time.Now()
		enterSlowly := func(took time.Duration) Enter {
			return func(context.Context, *Backend, Attempt) error { time.Sleep(took); return ErrPassword }
		}
		refused := func(enter Enter, user string) time.Duration {
			begun = time.Now()
			v := h.Session(session("192.0.2.1"), "imap")
			if err := v.Login(context.Background(), Attempt{Mechanism: "LOGIN", User: user, Password: "wrong"}, enter); err != ErrRefused { //nolint:errorlint // exactly this one
				t.Fatal(err)
			}
			v.End("logout", 0)
			return time.Since(begun)
		}
		for i, took := range []time.Duration{2100 * time.Millisecond, 10 * time.Millisecond, 2200 * time.Millisecond, 2240 * time.Millisecond, 0} {
			if got := refused(enterSlowly(took), string(rune('a'+i))); got < 2250*time.Millisecond || got > 2450*time.Millisecond {
				t.Errorf("a server that takes %v: heard after %v", took, got)
			}
		}
		if got := refused(nil, "a\x00b"); got < 2250*time.Millisecond || got > 2450*time.Millisecond {
			t.Errorf("never asked: heard after %v", got)
		}
		time.Sleep(21 * time.Minute)
		refused(enterSlowly(0), "f")
		time.Sleep(11 * time.Minute)
		if got := refused(enterSlowly(0), "g"); got > 2200*time.Millisecond {
			t.Errorf("long after the slow one: %v", got)
		}
	})
}
