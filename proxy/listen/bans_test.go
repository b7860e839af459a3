package listen

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/internal/state"
)

type clock struct{ now time.Time }

func (c *clock) Now() time.Time          { return c.now }
func (c *clock) pass(much time.Duration) { c.now = c.now.Add(much) }

func newTestBans(t *testing.T) (*Bans, *clock) {
	t.Helper()
	c := &clock{time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}
	s, err := state.NewMemory(state.MemoryOptions{Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return NewBans(BanOptions{State: s, Now: c.Now}), c
}

func guess(b *Bans, client, user string, times int) {
	for i := range times { // never the same password twice
		b.Failed(context.Background(), netip.MustParseAddr(client), user, fmt.Sprint("guess ", i, b.Now()))
	}
}

func admits(t *testing.T, b *Bans, client, user string, want bool) {
	t.Helper()
	if got := b.Admit(t.Context(), netip.MustParseAddr(client), user); got != want {
		t.Errorf("%s from %s admitted: %v, want %v", user, client, got, want)
	}
}

func TestAGuesserIsKeptOutAndTheUserIsNot(t *testing.T) {
	b, c := newTestBans(t)
	guess(b, "203.0.113.5", "ann", 5)
	admits(t, b, "203.0.113.5", "ann", false)
	admits(t, b, "203.0.113.5", "ANN ", false)
	admits(t, b, "203.0.113.5", "bob", true)
	admits(t, b, "198.51.100.7", "ann", true) // the same user, elsewhere
	c.pass(61 * time.Second)
	admits(t, b, "203.0.113.5", "ann", true)
	for _, lasts := range []time.Duration{2 * time.Minute, 4 * time.Minute, 8 * time.Minute} {
		guess(b, "203.0.113.5", "ann", 5)
		c.pass(lasts - time.Second)
		admits(t, b, "203.0.113.5", "ann", false)
		c.pass(2 * time.Second)
		admits(t, b, "203.0.113.5", "ann", true)
	}
}

func TestOneClientThatTriesManyUsers(t *testing.T) {
	b, _ := newTestBans(t)
	for i := range 20 {
		guess(b, "203.0.113.5", fmt.Sprint("user", i), 1)
	}
	admits(t, b, "203.0.113.5", "ann", false)
	if !b.Banned(netip.MustParseAddr("203.0.113.5")) {
		t.Error("it may still connect")
	}
	if b.Banned(netip.MustParseAddr("203.0.113.6")) {
		t.Error("its neighbour may not connect")
	}
	if list := b.List(t.Context(), 10); len(list) != 1 || list[0].Who != "203.0.113.5" {
		t.Errorf("the list shows %v", list)
	}
	if err := b.Lift(t.Context(), "203.0.113.5"); err != nil {
		t.Error(err)
	}
	admits(t, b, "203.0.113.5", "ann", true)
	if err := b.Lift(t.Context(), "203.0.113.5"); err == nil {
		t.Error("a ban can be lifted twice")
	}
}

// 10,000 guesses from many clients of one network, for one user: credential stuffing.
func TestOneNetworkThatSpreadsItsGuesses(t *testing.T) {
	b, _ := newTestBans(t)
	b.Passed(t.Context(), netip.MustParseAddr("203.0.113.200"), "ann")
	for i := range 100 {
		guess(b, fmt.Sprintf("203.0.113.%d", i+1), "ann", 1)
	}
	admits(t, b, "203.0.113.150", "ann", false)
	admits(t, b, "203.0.113.200", "ann", true) // she has logged in from there before
	admits(t, b, "203.0.114.150", "ann", true)
	if b.Banned(netip.MustParseAddr("203.0.113.150")) {
		t.Error("a client that did nothing may not even connect")
	}
}

func TestUsersBehindOneAddressKeepTheirWayIn(t *testing.T) {
	b, _ := newTestBans(t)
	b.Passed(t.Context(), netip.MustParseAddr("203.0.113.5"), "ann")
	for i := range 30 {
		guess(b, "203.0.113.5", fmt.Sprint("user", i), 1)
	}
	admits(t, b, "203.0.113.5", "ann", true)
	admits(t, b, "203.0.113.5", "bob", false)
	if b.Banned(netip.MustParseAddr("203.0.113.5")) {
		t.Error("ann's address may not connect")
	}
}

func TestAnOldPasswordInADeviceIsNoGuessing(t *testing.T) {
	b, _ := newTestBans(t)
	for range 20 {
		b.Failed(t.Context(), netip.MustParseAddr("2001:db8::1"), "ann", "last year's")
	}
	admits(t, b, "2001:db8::1", "ann", true)
	guess(b, "2001:db8::1", "ann", 5)
	admits(t, b, "2001:db8::2", "ann", false) // its /64 is one client
	admits(t, b, "2001:db8:0:1::1", "ann", true)
}

// A name that looks like an address must not ban that address.
func TestANameBansNobodyElse(t *testing.T) {
	b, _ := newTestBans(t)
	guess(b, "203.0.113.5", "x from 198.51.100.1 port 22", 10)
	guess(b, "203.0.113.5", "198.51.100.1", 10)
	if b.Banned(netip.MustParseAddr("198.51.100.1")) {
		t.Error("a third party is banned")
	}
}

// AUTH takes kilobytes; what is kept and shown of them is bounded, and can be lifted as it is shown.
func TestANameOfKilobytes(t *testing.T) {
	b, _ := newTestBans(t)
	name := strings.Repeat("\xff\x00 Ü", 2000)
	guess(b, "203.0.113.5", name, 5)
	admits(t, b, "203.0.113.5", name, false)
	list := b.List(t.Context(), 10)
	if len(list) != 1 || len(list[0].Who) > 1000 {
		t.Fatalf("%d bans: %v", len(list), list)
	}
	if err := b.Lift(t.Context(), list[0].Who); err != nil {
		t.Error(err)
	}
	admits(t, b, "203.0.113.5", name, true)
}
