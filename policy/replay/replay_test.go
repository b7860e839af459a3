package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/ledger"
)

func symbols() []filters.Symbol {
	var all []filters.Symbol
	for i := range 30 {
		s := filters.Symbol{Name: fmt.Sprintf("S%d", i), Score: float64(i%9) - 2.5}
		if i%10 == 9 {
			s.Action = []filters.Action{filters.ActionReject, filters.ActionQuarantine, filters.ActionTag}[i/10]
		}
		all = append(all, s)
	}
	return all
}

// random makes policies: thresholds, scores, actions, scopes, lists.
func randomPolicy(t testing.TB, r *rand.Rand) *policy.Policy {
	t.Helper()
	c := policy.Default()
	c.Thresholds = policy.Thresholds{Tag: 1 + r.Float64()*4, Quarantine: 5 + r.Float64()*4, Reject: 9 + r.Float64()*6}
	c.Scores = map[string]float64{}
	for range r.IntN(10) {
		c.Scores[fmt.Sprintf("S%d", r.IntN(30))] = float64(r.IntN(2000)-500) / 100
	}
	if r.IntN(2) == 0 {
		tag := 0.5
		c.Domains = map[string]policy.Scope{"a.test": {Tag: &tag, Scores: map[string]float64{"S1": 7}}}
	}
	if r.IntN(2) == 0 {
		c.Allow = []policy.Entry{{Sender: "friend.example", Unauthenticated: r.IntN(2) == 0}}
		c.Block = []policy.Entry{{Sender: "foe.example"}}
	}
	p, problems := policy.Compile(c, symbols())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return p
}

// month is mail as the ledger keeps it, judged by p.
func month(r *rand.Rand, p *policy.Policy, n int, at time.Time) []ledger.Transaction {
	var all []ledger.Transaction
	for i := range n {
		f := policy.Facts{Stage: mail.StageMessage, Client: netip.AddrFrom4([4]byte{192, 0, 2, byte(r.IntN(255))}), From: mail.Address{Local: "x", Domain: []string{"friend.example", "foe.example", "c.example"}[r.IntN(3)]}}
		for range r.IntN(8) {
			f.Findings = append(f.Findings, policy.Finding{Symbol: fmt.Sprintf("S%d", r.IntN(30)), Weight: float64(r.IntN(3)) / 2})
		}
		tx := ledger.Transaction{ID: mail.TransactionID(mail.NewID(at), i+1), ConnID: mail.NewID(at), Time: at.Add(time.Duration(i) * time.Second), Client: f.Client, From: f.From.String(), Facts: &f, PolicyVersion: p.Version()}
		for _, to := range []string{"ann@a.test", "bob@b.test"}[:1+r.IntN(2)] {
			a, _ := mail.ParseAddress(to)
			v := p.Decide(&f, a)
			tx.Recipients = append(tx.Recipients, ledger.Recipient{Address: to, Disposition: v.Disposition, Score: v.Score, Required: v.Required})
		}
		all = append(all, tx)
	}
	return all
}

// stored is a ledger in a slice.
type stored []ledger.Transaction

func (s stored) Walk(_ context.Context, _, _ time.Time, f func(*ledger.Transaction) error) error {
	for i := range s {
		text, err := json.Marshal(s[i]) // as it comes back from a database
		if err != nil {
			return err
		}
		var t ledger.Transaction
		if err := errors.Join(json.Unmarshal(text, &t), f(&t)); err != nil {
			return err
		}
	}
	return nil
}

// The policy that judged finds nothing to change, whatever it is and whatever the mail.
func TestReplayEqualsLive(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := randomPolicy(t, r)
		report, err := Rescore(context.Background(), stored(month(r, p, 100, time.Unix(1_700_000_000, 0))), p, Options{})
		if err != nil || report.Flipped != 0 || report.Scores != 0 || report.Messages != 100 {
			t.Fatalf("seed %d: %+v %v", seed, report, err)
		}
	}
}

// A threshold that moves flips exactly the verdicts whose scores lie between the old and the new place.
func TestMovedThreshold(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	c := policy.Default()
	compiled := func(q float64) *policy.Policy {
		c.Thresholds = policy.Thresholds{Tag: 2, Quarantine: q, Reject: 50}
		p, problems := policy.Compile(c, symbols()[:9]) // none with an action
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return p
	}
	before, after := compiled(6), compiled(8)
	mails := month(r, before, 2000, time.Unix(1_700_000_000, 0))
	want := map[string]bool{}
	for _, m := range mails {
		for _, to := range m.Recipients {
			if to.Score >= 6 && to.Score < 8 {
				want[m.ID+to.Address] = true
			}
		}
	}
	report, err := Rescore(context.Background(), stored(mails), after, Options{Flips: 100000})
	if err != nil || report.Flipped != len(want) || report.Changes["quarantine to tag"] != len(want) || len(want) == 0 {
		t.Fatalf("%d flips, want %d: %v %v", report.Flipped, len(want), report.Changes, err)
	}
	for _, f := range report.Flips {
		if !want[f.ID+f.Recipient] {
			t.Errorf("%+v", f)
		}
	}
}

// The same through a real ledger; messages that were not judged are left out, and users' releases are reported.
func TestThroughALedger(t *testing.T) {
	l, err := ledger.Open(filepath.Join(t.TempDir(), "ledger.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	r := rand.New(rand.NewPCG(3, 3))
	p := randomPolicy(t, r)
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	mails := month(r, p, 500, at)
	for i := range mails {
		mails[i].HeldID = mails[i].ID + "-1"
		l.Transaction(mails[i])
	}
	l.Transaction(ledger.Transaction{ID: mail.TransactionID(mail.NewID(at), 9), Time: at, From: "refused@early.example", Recipients: []ledger.Recipient{{Address: "ann@a.test", Disposition: policy.Reject}}})
	l.Transaction(ledger.Transaction{ID: mail.NewID(at), Time: at, Kind: ledger.Fetch, User: "ann"})
	if err := l.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	share := 0.0
	report, err := Rescore(context.Background(), l, p, Options{Since: at.Add(-time.Minute), Progress: func(s float64, _ int) { share = s }})
	if err != nil || report.Flipped != 0 || report.Messages != 500 || report.Skipped != 2 || share != 1 {
		t.Errorf("%+v %v, progress %v", report, err, share)
	}
	strict := policy.Default()
	strict.Thresholds = policy.Thresholds{Tag: -100, Quarantine: -99, Reject: -98}
	all, problems := policy.Compile(strict, symbols())
	if len(problems) > 0 {
		t.Skip("thresholds below zero are refused")
	}
	if report, err = Rescore(context.Background(), l, all, Options{Since: at.Add(-time.Minute), Released: func(string) bool { return true }}); err != nil || report.Released == 0 {
		t.Errorf("%+v %v", report, err)
	}
}

func TestVersions(t *testing.T) {
	v, err := OpenVersions(filepath.Join(t.TempDir(), "policy.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = v.Close() }()
	ctx := context.Background()
	if _, err := v.Back(ctx, 0); !errors.Is(err, ErrNoVersion) {
		t.Error(err)
	}
	for _, name := range []string{"a", "a", "b", "a"} {
		if err := v.Add(ctx, Version{Version: name, Text: "text of " + name, Applied: time.Unix(5, 0), By: "ann"}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := v.List(ctx, 10)
	if err != nil || len(all) != 3 || all[0].Version != "a" || all[1].Version != "b" {
		t.Errorf("%+v %v", all, err)
	}
	if back, err := v.Back(ctx, 1); err != nil || back.Version != "b" || back.Text != "text of b" {
		t.Errorf("%+v %v", back, err)
	}
	if _, ok, err := v.Trial(ctx); ok || err != nil {
		t.Error(ok, err)
	}
	want := Trial{Text: "draft", Since: time.Unix(7, 0).UTC(), By: "bob", Share: 10}
	if err := v.Try(ctx, want); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := v.Trial(ctx); !ok || got != want || err != nil {
		t.Errorf("%+v %t %v", got, ok, err)
	}
	if err := v.End(ctx); err != nil {
		t.Fatal(err)
	}
}
