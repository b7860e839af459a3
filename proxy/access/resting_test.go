package access

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A server that hangs is waited for once; a login a moment later fails within seconds.
func TestAServerThatHangsIsHurried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := func(ctx context.Context, _ *Backend, _ Attempt) error {
			select {
			case <-ctx.Done():
			case <-time.After(30 * time.Second):
			}
			return errors.New("no greeting")
		}
		var o Options
		o.fill()
		var r resting
		for i, want := range []time.Duration{30 * time.Second, hurry, hurry} {
			begun := time.Now()
			if err := r.tryAll(t.Context(), &o, []Backend{{Name: "boxes", Address: "192.0.2.1:143"}}, Attempt{}, hangs); !errors.Is(err, ErrUnavailable) {
				t.Fatal(err)
			}
			if took := time.Since(begun); took != want {
				t.Errorf("login %d waited %v, want %v", i+1, took, want)
			}
		}

		time.Sleep(rest + time.Second)
		begun := time.Now()
		answers := func(context.Context, *Backend, Attempt) error { return nil }
		if err := r.tryAll(t.Context(), &o, []Backend{{Name: "boxes", Address: "192.0.2.1:143"}}, Attempt{}, answers); err != nil || time.Since(begun) != 0 {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}
