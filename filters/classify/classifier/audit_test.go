package classifier

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"postern/filters"
	"postern/filters/classify/lessonlog"
	"postern/internal/mail"
)

// About one message in fifty is kept, and it is one of those with the least certain odds.
func TestDoubt(t *testing.T) {
	r, d := rand.New(rand.NewPCG(1, 2)), doubt{}
	kept, n, sum, all := 0, 20_000, 0.0, 0.0
	for range n {
		odds := 6 * r.NormFloat64()
		all += odds * odds
		if d.doubtful(odds) {
			kept++
			sum += odds * odds
		}
	}
	if kept < n*15/1000 || kept > n*25/1000 || sum/float64(kept) > all/float64(n)/100 {
		t.Errorf("%d of %d kept, mean square of their odds %.3f of %.3f", kept, n, sum/float64(kept), all/float64(n))
	}
}

func (w *world) decided(raw []byte, d mail.Disposition) {
	w.t.Helper()
	w.Decided(context.Background(), &mail.Transaction{ID: "01M1.1", Session: &mail.Session{}, Message: message(raw)}, []filters.Decision{{Disposition: d}})
}

func (w *world) uncertain() []lessonlog.Uncertain {
	w.t.Helper()
	all, err := w.o.Book.Uncertain(context.Background(), 10)
	if err != nil {
		w.t.Fatal(err)
	}

	return all
}

// A message that it is not sure about waits for an answer. The answer teaches what teaching the message itself teaches, to the bit; it
// is asked once, not for refused mail, and not for longer than a week.
func TestAnswer(t *testing.T) {
	asked, taught := open(t, t.TempDir(), rules()), open(t, t.TempDir(), rules())
	raw := letter(777, true)
	for _, w := range []*world{asked, taught} {
		w.teachMany(0, 20)
		w.doubt.bound = 100 // all of them
	}
	asked.decided(raw, mail.Reject)
	if n := len(asked.uncertain()); n != 0 {
		t.Fatalf("%d refused messages are kept", n)
	}
	asked.doubt.bound = 100
	asked.decided(raw, mail.Accept)
	asked.decided(raw, mail.Accept)
	all := asked.uncertain()
	if len(all) != 1 || all[0].Message != "01M1.1" {
		t.Fatalf("kept %+v", all)
	}
	if err := asked.Answer(context.Background(), all[0].ID.String(), true, "admin"); err != nil {
		t.Fatal(err)
	}
	taught.says("admin", raw, true, true)
	if !bytes.Equal(asked.octets(), taught.octets()) {
		t.Error("an answer teaches other than the message")
	}
	if err := asked.Answer(context.Background(), all[0].ID.String(), true, "admin"); !errors.Is(err, lessonlog.ErrNotKept) {
		t.Errorf("answered twice: %v", err)
	}

	asked.doubt.bound = 100
	asked.decided(letter(778, true), mail.Accept)
	asked.time = asked.time.Add(8 * 24 * time.Hour)
	asked.doubt.bound = 100
	asked.decided(letter(779, true), mail.Accept)
	if all := asked.uncertain(); len(all) != 1 || !all[0].Time.Equal(asked.time) {
		t.Errorf("after a week %+v", all)
	}
}
