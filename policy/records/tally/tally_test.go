package tally

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"postern/policy"
	"postern/policy/records/ledger"
)

func message(at time.Time, d policy.Disposition, fate ledger.Word, from string) *ledger.Transaction {
	return &ledger.Transaction{Time: at, Client: netip.MustParseAddr("192.0.2.77"), From: from, Size: 100, Reply: "250 ok",
		Findings:   []policy.Reason{{Symbol: "LURE", Score: 3}, {Symbol: "NOTED"}},
		Recipients: []ledger.Recipient{{Address: "ann@corp.example", Disposition: d, Fate: fate}}}
}

// Each message is counted once, by the strictest of what became of it, and old hours go.
func TestSince(t *testing.T) {
	now := time.Date(2026, 12, 1, 10, 30, 0, 0, time.UTC)
	c := New(func() time.Time { return now })
	c.Add(message(now.Add(-9*24*time.Hour), policy.Accept, ledger.Delivered, "a@old.example"))
	c.Add(message(now.Add(-2*time.Hour), policy.Accept, ledger.Delivered, "a@good.example"))
	c.Add(message(now, policy.Tag, ledger.Delivered, "a@good.example"))
	c.Add(message(now, policy.Quarantine, ledger.Held, "a@Bad.example"))
	c.Add(message(now, policy.Reject, ledger.Refused, "a@bad.example"))
	c.Add(message(now, policy.Accept, ledger.Deferred, "a@good.example"))
	early := message(now, policy.Reject, ledger.Refused, "a@worse.example")
	early.Size, early.Reply = 0, "550 5.1.1 no such user"
	c.Add(early)
	gone := message(now, policy.Accept, ledger.Abandoned, "a@good.example")
	gone.Size, gone.Reply = 0, "none: quit"
	c.Add(gone)

	s := c.Since(now.Add(-3*time.Hour), 10)
	if got := fmt.Sprint(s.Total); got != "map[deferred:1 delivered:1 early:1 held:1 rejected:1 tagged:1]" {
		t.Error(got)
	}
	if len(s.Hours) != 4 || s.Hours[1].Counts[Delivered] != 1 || !s.Hours[0].Start.Equal(now.Add(-3*time.Hour).Truncate(time.Hour)) {
		t.Errorf("%+v", s.Hours)
	}
	for what, got := range map[string][]Count{"[{LURE 6}]": s.Symbols[:1], "[{bad.example 2}]": s.Senders, "[{192.0.2.0/24 3}]": s.Networks, "[{550 5.1.1 no such user 1}]": s.Refusals} {
		if fmt.Sprint(got) != what {
			t.Errorf("%v, want %s", got, what)
		}
	}
}

// Whoever sends under ever new names fills no memory, and nothing is lost from the sum.
func TestManyNames(t *testing.T) {
	now := time.Date(2026, 12, 1, 10, 30, 0, 0, time.UTC)
	c := New(func() time.Time { return now })
	for i := range maxNames + 50 {
		c.Add(message(now, policy.Reject, ledger.Refused, fmt.Sprintf("a@%d.example", i)))
	}
	s := c.Since(now, 1)
	if len(c.hours[now.Unix()/3600].names[senders]) > maxNames+1 || s.Senders[0] != (Count{Others, 50}) {
		t.Errorf("%d names, %v", len(c.hours[now.Unix()/3600].names[senders]), s.Senders)
	}
	for range 9 {
		c.Add(message(now, policy.Reject, ledger.Refused, "a@77.example"))
	}
	now = now.Add(time.Hour) // the hour is over
	c.Add(message(now, policy.Accept, ledger.Delivered, "a@good.example"))
	s = c.Since(now.Add(-time.Hour), 2)
	if n := len(c.hours[now.Unix()/3600-1].names[senders]); n > keptNames+1 || s.Senders[0] != (Count{Others, 50 + maxNames - keptNames}) || s.Senders[1] != (Count{"77.example", 10}) {
		t.Errorf("%d names of the hour before, %v", n, s.Senders)
	}
}
