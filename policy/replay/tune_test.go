package replay

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"testing"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/ledger"
)

// tuned is a policy over four symbols.
func tuned(t *testing.T) Compile {
	return func(scores map[string]float64) (*policy.Policy, error) {
		c := policy.Default()
		c.Scores = maps.Clone(scores)
		p, problems := policy.Compile(c, []filters.Symbol{{Name: "BULK", Score: 5}, {Name: "RARE", Score: 3}, {Name: "SPAMMY", Score: 2}, {Name: "VIRUS", Action: "reject"}})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return p, nil
	}
}

func found(symbols ...string) *policy.Facts {
	f := &policy.Facts{Stage: mail.StageMessage, Client: netip.MustParseAddr("192.0.2.1"), From: mail.Address{Local: "a", Domain: "b.example"}}
	for _, s := range symbols {
		f.Findings = append(f.Findings, policy.Finding{Symbol: s})
	}
	return f
}

// The least change that mends, and of equally small ones the one that affects no other message.
func TestTune(t *testing.T) {
	compile := tuned(t)
	base, _ := compile(nil)
	to := mail.Address{Local: "ann", Domain: "ours.test"}
	var past stored
	for i := range 50 { // spam that BULK and SPAMMY hold together
		f := found("BULK", "SPAMMY")
		v := base.Decide(f, to)
		past = append(past, ledger.Transaction{ID: mail.TransactionID(mail.NewID(time.Unix(int64(i), 0)), 1), Facts: f, PolicyVersion: base.Version(),
			Recipients: []ledger.Recipient{{Address: to.String(), Disposition: v.Disposition, Score: v.Score, Required: v.Required}}})
	}
	marks := []Mark{{ID: "x", Facts: found("BULK", "RARE"), To: to, Wanted: true}}
	got, err := Tune(context.Background(), marks, compile, past, Options{})
	if err != nil || len(got) == 0 {
		t.Fatal(got, err)
	}
	if got[0].Scores["RARE"] != 0.9 || got[0].Others != 0 {
		t.Errorf("%+v", got)
	}
	for _, p := range got {
		mended, _ := compile(p.Scores)
		if !marks[0].right(mended) {
			t.Errorf("%+v does not mend it", p)
		}
	}
	missed := append(marks, Mark{ID: "y", Facts: found("SPAMMY"), To: to})
	if got, err = Tune(context.Background(), missed, compile, past, Options{}); err != nil || len(got) == 0 {
		t.Fatalf("both ways at once: %v", err)
	}
	for _, m := range missed {
		if mended, _ := compile(got[0].Scores); !m.right(mended) {
			t.Errorf("%+v", got[0])
		}
	}
	if _, err := Tune(context.Background(), []Mark{{Facts: found("VIRUS"), To: to, Wanted: true}}, compile, past, Options{}); !errors.Is(err, ErrNoScores) {
		t.Error(err)
	}
	if _, err := Tune(context.Background(), []Mark{{Facts: found("RARE"), To: to, Wanted: true}}, compile, past, Options{}); !errors.Is(err, ErrAllRight) {
		t.Error(err)
	}
}
