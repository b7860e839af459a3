package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// Trouble is told once when it has lasted, once when it is over, and again later if nobody could be told.
func TestAlarm(t *testing.T) {
	now := time.Unix(0, 0)
	var told []string
	var deaf error
	a := NewAlarm(time.Minute, func() time.Time { return now }, func(_ context.Context, t Trouble, over bool) error {
		if deaf == nil {
			told = append(told, fmt.Sprint(t.Kind, over))
		}
		return deaf
	})
	hop, disk := Trouble{Kind: "hop", Subject: "a"}, Trouble{Kind: "disk"}
	step := func(after time.Duration, want []string, troubles ...Trouble) {
		t.Helper()
		now, told = now.Add(after), nil
		if err := a.Look(context.Background(), troubles); (err != nil) != (deaf != nil && err != nil) {
			t.Error(err)
		}
		if !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	}
	step(0, nil, hop)
	step(30*time.Second, nil, hop)
	step(10*time.Second, nil) // it was nothing
	step(10*time.Second, nil, hop)
	step(59*time.Second, nil, hop, disk)
	step(time.Second, []string{"hopfalse"}, hop, disk)
	deaf = errors.New("the webhook is away")
	step(time.Minute, nil, hop, disk)
	deaf = nil
	step(time.Second, []string{"diskfalse"}, hop, disk)
	step(time.Hour, nil, hop, disk)
	step(time.Second, nil, disk)
	step(30*time.Second, nil, hop, disk) // it comes and goes
	step(time.Second, nil, disk)
	step(time.Minute, []string{"hoptrue"}, disk)
	step(time.Hour, nil, disk)

	// what lasts for longer than it takes to be told is told at once; what was slow and is away now is told anew
	lasts := Trouble{Kind: "ldap", Since: now.Add(-time.Minute), State: Slow}
	step(0, []string{"ldapfalse"}, lasts)
	step(time.Hour, []string{"disktrue"}, lasts)
	lasts.State, lasts.Since = Away, now
	step(0, nil, lasts)
	step(time.Minute, []string{"ldapfalse"}, lasts)
	step(time.Minute, nil)
	step(time.Minute, []string{"ldaptrue"})
}
