package retrieval_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy"
	"postern/proxy/retrieval"
	"postern/proxy/retrieval/seal"
)

// shelf keeps originals by their ids.
type shelf struct {
	held map[string]string
	gone error
	asks int
}

func (s *shelf) Keep(_ context.Context, o retrieval.Original) error {
	s.asks++
	if s.gone != nil {
		return s.gone
	}
	raw, err := o.Message.Head(o.Message.Size())
	s.held[o.ID] = string(raw)
	return err
}

// grants are hash and user.
type grants map[[2]string]bool

func (g grants) Granted(_ context.Context, r retrieval.Grant) bool {
	return g[[2]string{r.SHA256, r.User}]
}

func keeping(t *testing.T) (*office, *shelf, grants) {
	s, g := &shelf{held: map[string]string{}}, grants{}
	o := open(t, func(opt *retrieval.Options) { opt.Originals, opt.Grants = s, g })
	return o, s, g
}

// Nobody gets a masked message whose original is not kept, and it is kept once for a mailbox.
func TestAMaskKeepsTheOriginal(t *testing.T) {
	o, s, _ := keeping(t)
	r, _ := o.ask(place(1), bad)
	if !r.Masked || s.held[r.ID] != bad || o.records[0].ID != r.ID {
		t.Fatalf("%+v, held %q, record %s", r, s.held, o.records[0].ID)
	}
	for uid := range uint32(3) {
		if again, _ := o.ask(place(uid+1), bad); again.ID != r.ID {
			t.Errorf("%+v", again)
		}
	}
	other := place(1)
	other.User = "x@d.example"
	if r, _ := o.ask(other, bad); !r.Masked || len(s.held) != 2 || s.held[r.ID] != bad {
		t.Errorf("another mailbox: %+v, held %d", r, len(s.held))
	}
	s.gone = errors.New("disk full")
	other.User = "y@d.example"
	if r, _ := o.ask(other, bad); !r.Later || !r.Masked {
		t.Errorf("can't be kept: %+v", r)
	}
	if _, ok := o.verdicts.Known(context.Background(), other); ok {
		t.Error("what could not be kept is remembered")
	}
	m := mail.NewMessage([]byte(bad))
	if r := o.verdicts.Keep(context.Background(), session(), other, m, retrieval.Ruling{Masked: true, Why: "too large"}); !r.Later {
		t.Errorf("can't be kept: %+v", r)
	}
	s.gone = nil
	if r := o.verdicts.Keep(context.Background(), session(), other, m, retrieval.Ruling{Masked: true, Why: "too large"}); r.Later || !r.Masked || s.held[r.ID] != bad {
		t.Errorf("too large: %+v", r)
	}
}

// What was shown before and is called back then is kept before it is masked.
func TestARecallKeepsTheOriginal(t *testing.T) {
	o, s, _ := keeping(t)
	o.ask(place(1), good)
	o.back["<1@b.example>"] = "a late find"
	if r, ok := o.verdicts.Known(context.Background(), place(1)); ok {
		t.Fatalf("known as %+v, and not kept", r)
	}
	r, _ := o.ask(place(1), good)
	if !r.Masked || s.held[r.ID] != good {
		t.Errorf("%+v", r)
	}
	if r, ok := o.verdicts.Known(context.Background(), place(1)); !ok || !r.Masked {
		t.Errorf("then known as %+v %v", r, ok)
	}
}

func TestReleased(t *testing.T) {
	o, _, g := keeping(t)
	sum := sha256.Sum256([]byte(bad))
	o.ask(place(1), bad)
	g[[2]string{hex.EncodeToString(sum[:]), "c@d.example"}] = true
	if r, ok := o.verdicts.Known(context.Background(), place(1)); !ok || r.Masked {
		t.Errorf("known as %+v %v", r, ok)
	}
	if r, asked := o.ask(place(2), bad); r.Masked || asked != 0 {
		t.Errorf("%+v", r)
	}
	o.now = o.now.Add(1000 * time.Hour)
	if r, _ := o.ask(place(1), bad); r.Masked {
		t.Errorf("after the time of trust: %+v", r)
	}
	other := place(1)
	other.User = "x@d.example"
	if r, _ := o.ask(other, bad); !r.Masked {
		t.Errorf("somebody else's: %+v", r)
	}
}

// What an entry of a list let in at the SMTP door is shown however old that is, until it is called back.
func TestLetInStaysReadable(t *testing.T) {
	o, _, _ := keeping(t)
	raw := "Return-Path: <a@b.example>\r\n" + string(seal.LetIn(sealKey(), "01HSMTP.1", "0", o.now.Add(-5000*time.Hour), sha256.Sum256([]byte(bad)))) + bad
	if r, asked := o.ask(place(1), raw); r.Masked || asked != 0 || r.ID != "01HSMTP.1" {
		t.Errorf("%+v, asked %d", r, asked)
	}
	o.now = o.now.Add(48 * time.Hour)
	if r, asked := o.ask(place(1), raw); r.Masked || asked != 0 {
		t.Errorf("later: %+v, asked %d", r, asked)
	}
	if r, _ := o.ask(place(2), strings.Replace(raw, "v=2", "v=1", 1)); !r.Masked {
		t.Errorf("a seal that was changed: %+v", r)
	}
	o.back["01HSMTP.1"] = "a late find"
	if r, _ := o.ask(place(1), raw); !r.Masked {
		t.Errorf("called back: %+v", r)
	}
}

// The filters look once, and each reader's own policy decides.
func TestTheVerdictIsTheReaders(t *testing.T) {
	strict := func(tx *mail.Transaction) bool { return tx.Recipients[0].Address.Local == "strict" }
	o := open(t, func(opt *retrieval.Options) {
		opt.Decide = func(_ context.Context, tx *mail.Transaction, found policy.Facts) policy.Verdict {
			if len(found.Findings) == 1 && strict(tx) {
				return policy.Verdict{Disposition: policy.Quarantine, Decisive: "strict"}
			}
			return policy.Verdict{}
		}
	})
	o.judge = func(_ context.Context, tx *mail.Transaction) policy.Verdict {
		tx.Findings = append(tx.Findings, mail.Finding{Symbol: "SPAM", Evidence: "x"})
		if strict(tx) {
			return policy.Verdict{Disposition: policy.Quarantine, Decisive: "strict"}
		}
		return policy.Verdict{}
	}
	ask := func(p retrieval.Place, user string) retrieval.Ruling {
		s := session()
		s.User = user
		m := mail.NewMessage([]byte(good))
		defer m.Close()
		return o.verdicts.Judge(context.Background(), s, p, m)
	}
	for round := range 2 {
		for _, user := range []string{"mild@d.example", "strict@d.example"} {
			p := place(1)
			p.User = user
			if r := ask(p, user); r.Masked != strings.HasPrefix(user, "strict") {
				t.Errorf("round %d, %s: %+v", round, user, r)
			}
			shared := place(1)
			shared.User, shared.Reader = "sales@d.example", user
			if r := ask(shared, user); r.Masked != strings.HasPrefix(user, "strict") {
				t.Errorf("round %d, %s in a mailbox of others: %+v", round, user, r)
			}
			if r, ok := o.verdicts.Known(context.Background(), shared); !ok || r.Masked != strings.HasPrefix(user, "strict") {
				t.Errorf("round %d, %s in a mailbox of others: known as %+v %v", round, user, r, ok)
			}
		}
	}
	if n := o.judged.Load(); n != 1 {
		t.Errorf("the filters looked %d times", n)
	}
}

// Policy may hold what a filter could not look at; a message in its mailbox waits there, and is not masked for it.
func TestAFailedFilterIsNoVerdict(t *testing.T) {
	decide := func(found policy.Facts) policy.Verdict {
		for _, f := range found.Findings {
			if f.Symbol == filters.Failed {
				return policy.Verdict{Disposition: policy.Quarantine, Decisive: "antivirus failed"}
			}
		}
		return policy.Verdict{}
	}
	o := open(t, func(opt *retrieval.Options) {
		opt.Decide = func(_ context.Context, _ *mail.Transaction, found policy.Facts) policy.Verdict { return decide(found) }
	})
	o.judge = func(_ context.Context, tx *mail.Transaction) policy.Verdict {
		tx.Findings = append(tx.Findings, mail.Finding{Symbol: filters.Failed, Value: "antivirus"})
		return decide(policy.FactsOf(tx))
	}
	if r, _ := o.ask(place(1), good); !r.Later {
		t.Errorf("%+v", r)
	}
}

// A unique-id that the server uses again names nothing that is known.
func TestTheSameIdOfAnotherMessage(t *testing.T) {
	o := open(t, nil)
	first, second := strings.Replace(good, "hi", "first", 1), strings.Replace(good, "hi", "second", 1)
	p := retrieval.Place{Backend: "default", User: "c@d.example", UIDL: "17", Size: 100, Front: retrieval.FrontOf([]byte(first))}
	o.ask(p, first)
	known := func(change func(*retrieval.Place)) bool {
		q := p
		change(&q)
		_, ok := o.verdicts.Known(context.Background(), q)
		return ok
	}
	for name, ok := range map[string]bool{
		"the same":      known(func(*retrieval.Place) {}),
		"no front yet":  known(func(q *retrieval.Place) { q.Front = [8]byte{} }),
		"no size told":  known(func(q *retrieval.Place) { q.Size = 0 }),
		"not: another":  !known(func(q *retrieval.Place) { q.Front = retrieval.FrontOf([]byte(second)) }),
		"not: its size": !known(func(q *retrieval.Place) { q.Size = 101 }),
	} {
		if !ok {
			t.Error(name)
		}
	}
}

// What a user writes himself is no stranger's mail: a draft has no author yet. A virus it may have all the same.
func TestDraftsAreTheUsersOwn(t *testing.T) {
	draft := "Subject: hi\r\n\r\nevil\r\n"
	for _, c := range []struct {
		raw, symbol string
		own, masked bool
	}{
		{draft, "MISSING_FROM", true, false}, {draft, "MISSING_FROM", false, true}, {draft, "CLAM_VIRUS", true, true},
		{"Received: from x by y; Mon, 2 Nov 2026 10:00:00 +0000\r\n" + draft, "MISSING_FROM", true, true},
	} {
		o := open(t, nil)
		o.judge = func(context.Context, *mail.Transaction) policy.Verdict {
			return policy.Verdict{Disposition: policy.Reject, Decisive: "x", Reasons: []policy.Reason{{Symbol: c.symbol, Score: 20}}}
		}
		p := place(1)
		p.Own = c.own
		if r, _ := o.ask(p, c.raw); r.Masked != c.masked {
			t.Errorf("%+v: %+v", c, r)
		}
	}
}
