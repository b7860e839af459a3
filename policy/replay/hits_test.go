package replay

import (
	"context"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/ledger"
)

// fated gives records; what became of one later is known only when it is asked for.
type fated struct {
	list   []ledger.Transaction
	became map[string]ledger.Word
}

func (f fated) Walk(_ context.Context, _, _ time.Time, each func(*ledger.Transaction) error) error {
	for i := range f.list {
		if err := each(&f.list[i]); err != nil {
			return err
		}
	}
	return nil
}

func (f fated) Became(_ context.Context, list []ledger.Transaction) error {
	for i := range list {
		for j := range list[i].Recipients {
			list[i].Recipients[j].Became = f.became[list[i].ID]
		}
	}
	return nil
}

func hit(id string, d policy.Disposition, word ledger.Word, score float64, symbols ...policy.Reason) ledger.Transaction {
	return ledger.Transaction{ID: id, Time: time.Unix(int64(len(id)), 0), Facts: &policy.Facts{Stage: mail.StageMessage}, Findings: symbols,
		Recipients: []ledger.Recipient{{Disposition: d, Fate: word, Score: score, Required: policy.Thresholds{Tag: 4, Quarantine: 6, Reject: 15}}}}
}

func TestCountHits(t *testing.T) {
	two, some := policy.Reason{Symbol: "TWO", Score: 2}, policy.Reason{Symbol: "SOME", Score: .5}
	source := fated{became: map[string]ledger.Word{"c": ledger.Released}, list: []ledger.Transaction{
		hit("a", policy.Quarantine, ledger.Held, 7, two, some),        // held by TWO alone
		hit("b", policy.Accept, ledger.Delivered, 2.5, two, some),     // wanted, and no rule changed it
		hit("c", policy.Quarantine, ledger.Held, 6, two),              // held, and let go
		hit("d", policy.Reject, ledger.Refused, 20, two),              // refused with or without it
		hit("e", policy.Accept, ledger.Refused, 2, two),               // the next hop's refusal says nothing
		hit("f", policy.Accept, ledger.Delivered, 0),                  // no rule
		{ID: "g", Kind: ledger.Fetch, Findings: []policy.Reason{two}}, // fetched: it was counted when it came
	}}
	all, messages, err := CountHits(t.Context(), source, time.Time{}, map[string]bool{"TWO": true, "SOME": true, "NEVER": true})
	if err != nil || messages != 6 || len(all) != 2 {
		t.Fatal(all, messages, err)
	}
	if got := *all["TWO"]; got.Messages != 5 || got.Spam != 2 || got.Ham != 2 || got.Released != 1 || got.Changed != 2 {
		t.Errorf("%+v", got)
	}
	if got := *all["SOME"]; got.Messages != 2 || got.Spam != 1 || got.Ham != 1 || got.Changed != 0 {
		t.Errorf("%+v", got)
	}
}
