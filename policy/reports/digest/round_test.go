package digest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/policy/records/quarantine"
)

// office is a quarantine and all that a round of digests needs.
type office struct {
	*Round
	q    *quarantine.Quarantine
	n    int
	put  []string // which digests were sent
	fail bool
}

func newOffice(t *testing.T) *office {
	t.Helper()
	q, err := quarantine.Open(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close() })
	o := &office{q: q}
	o.Round = &Round{
		Held: q, Store: openStore(t, "sqlite:"+filepath.Join(t.TempDir(), "d.db"), at), Builder: builder(t, 0),
		Access: NewAccess(Rules{Aliases: map[mail.Address]mail.Address{address("as@ours.test"): address("ann@ours.test")},
			Deputies: map[mail.Address][]mail.Address{address("eva@ours.test"): {address("info@ours.test")}}, Shared: []mail.Address{address("info@ours.test")}}),
		Local:    func(_ context.Context, a mail.Address) (bool, error) { return a.Domain == "ours.test", nil },
		Language: func(mail.Address) string { return "en" },
		Put: func(_ context.Context, id string, to mail.Address, message []byte) error {
			if o.fail {
				return errors.New("the disk is full")
			}
			if !bytes.Contains(message, []byte("To: <"+to.String()+">")) || !mail.ValidID(id) {
				t.Errorf("%s for %s:\n%s", id, to, message)
			}
			o.put = append(o.put, to.Local)
			return nil
		},
		Schedule: Schedule{Hours: []int{12}}, Log: slog.New(slog.DiscardHandler),
	}
	return o
}

func (o *office) hold(t *testing.T, when time.Time, to ...string) {
	t.Helper()
	o.n++
	item := quarantine.Item{ID: fmt.Sprintf("A%d", o.n), Time: when, From: address("bob@example.org"), Subject: "x"}
	for _, one := range to {
		item.Recipients = append(item.Recipients, mail.Recipient{Address: address(one)})
	}
	if err := o.q.Hold(t.Context(), item, mail.Copy{Message: mail.NewMessage([]byte("Subject: x\r\n\r\n"))}); err != nil {
		t.Fatal(err)
	}
}

// told sends due digests and gives their recipients.
func (o *office) told(t *testing.T, now time.Time) string {
	t.Helper()
	o.put = nil
	n, err := o.Send(t.Context(), now)
	if err != nil && !o.fail || n != len(o.put) {
		t.Errorf("%d sent, %v", n, err)
	}
	slices.Sort(o.put)
	return strings.Join(o.put, " ")
}

func TestRound(t *testing.T) {
	o := newOffice(t)
	before := at().Add(-time.Hour)
	o.hold(t, before, "ann@ours.test", "as@ours.test", "info@ours.test", "stranger@example.net")
	o.hold(t, before, "as@ours.test")
	o.hold(t, at().Add(time.Minute), "late@ours.test")
	o.hold(t, before, "ben@ours.test")
	if err := o.q.DeleteCopies(t.Context(), "A4", "ben"); err != nil {
		t.Fatal(err)
	}
	if got := o.told(t, at().Add(2*time.Minute)); got != "ann eva" {
		t.Errorf("told: %q", got)
	}
	if got := o.told(t, at().Add(3*time.Minute)); got != "" {
		t.Errorf("told twice: %q", got)
	}
	o.done = time.Time{} // as after a restart, or in another gateway
	if got := o.told(t, at().Add(4*time.Minute)); got != "" {
		t.Errorf("told twice after a restart: %q", got)
	}
	if got := o.told(t, at().Add(24*time.Hour)); got != "late" {
		t.Errorf("the next day: %q", got)
	}
	if got := o.told(t, at().Add(48*time.Hour)); got != "" {
		t.Errorf("nothing new was held, and yet: %q", got)
	}
}

func TestADigestThatFailedIsTriedAgain(t *testing.T) {
	o := newOffice(t)
	o.hold(t, at().Add(-time.Hour), "ann@ours.test")
	o.fail = true
	if got := o.told(t, at()); got != "" {
		t.Errorf("%q", got)
	}
	o.fail = false
	if got := o.told(t, at().Add(time.Minute)); got != "ann" {
		t.Errorf("%q", got)
	}
}
