package breaker

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"postern/policy"
)

var required = policy.Thresholds{Tag: 4, Quarantine: 6, Reject: 12}

// verdict is one by score, of symbols with scores in turn.
func verdict(pairs ...any) policy.Verdict {
	v := policy.Verdict{Required: required}
	for i := 0; i < len(pairs); i += 2 {
		r := policy.Reason{Symbol: pairs[i].(string), Score: pairs[i+1].(float64)}
		v.Reasons = append(v.Reasons, r)
		v.Score += r.Score
	}
	switch {
	case v.Score >= required.Reject:
		v.Disposition = policy.Reject
	case v.Score >= required.Quarantine:
		v.Disposition = policy.Quarantine
	}
	return v
}

// A filter that suddenly adds 25 points to every message with a link is muted before its twentieth wrong refusal.
func TestPlantedSymbol(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	now := time.Unix(0, 0)
	b := New(Options{Now: func() time.Time { return now }})
	judge := func(i int, planted bool) (refused bool) {
		now = now.Add(time.Second)
		pairs := []any{"R_SPF_ALLOW", -0.2}
		muted := false
		for _, m := range b.Muted() {
			muted = muted || m.Symbol == "PLANTED"
		}
		if planted && !muted && random.IntN(3) > 0 { // two of three have a link
			pairs = append(pairs, "PLANTED", 25.0)
		}
		spam := random.IntN(5) == 0
		if spam {
			pairs = append(pairs, "BAYES_SPAM", 5.0, "RBL", 4.0, "URIBL", 7.5)
		}
		v := verdict(pairs...)
		b.Observe(fmt.Sprint(i), fmt.Sprintf("d%d.example", random.IntN(30)), v)
		return v.Disposition == policy.Reject && !spam
	}
	wrong := 0
	for i := range 2000 {
		judge(i, false)
	}
	for i := range 300 {
		if judge(i, true) {
			wrong++
		}
	}
	if wrong >= 20 {
		t.Errorf("%d wrong refusals before it was muted", wrong)
	}
	if m := b.Muted(); len(m) != 1 || m[0].Symbol != "PLANTED" || len(m[0].Messages) < 10 || m[0].Why == "" {
		t.Errorf("%+v", m)
	}
	now = now.Add(2 * time.Hour)
	if m := b.Muted(); len(m) != 0 {
		t.Errorf("it stays muted: %+v", m)
	}
}

// What honest filters do all day long mutes nothing: spam that several symbols see, forced actions, one noisy sender, a
// strong symbol that always had its share.
func TestHonestSymbolsStay(t *testing.T) {
	forced := verdict("CLAM_VIRUS", 0.0)
	forced.Disposition = policy.Reject
	for name, next := range map[string]func(i int) (policy.Verdict, string){
		"several": func(i int) (policy.Verdict, string) {
			return verdict("URIBL", 7.5, "BAYES_SPAM", 3.0), fmt.Sprint(i, ".example")
		},
		"forced":     func(i int) (policy.Verdict, string) { return forced, fmt.Sprint(i, ".example") },
		"one sender": func(i int) (policy.Verdict, string) { return verdict("URIBL", 7.5), "one.example" },
		"rare": func(i int) (policy.Verdict, string) {
			if i%50 == 0 {
				return verdict("URIBL", 7.5), fmt.Sprint(i, ".example")
			}
			return verdict("R_SPF_ALLOW", -0.2), "friend.example"
		},
	} {
		b := New(Options{})
		for i := range 3000 {
			v, domain := next(i)
			if m, ok := b.Observe(fmt.Sprint(i), domain, v); ok {
				t.Errorf("%s: %s was muted after %d: %s", name, m.Symbol, i, m.Why)
				break
			}
		}
	}
}

// Strangers who send what a list, or what DMARC, refuses mute neither: the list is muted by what it does to known senders,
// DMARC never.
func TestStrangersMuteNothing(t *testing.T) {
	proof := func(symbol string) Proof {
		switch symbol {
		case "DMARC_POLICY_REJECT":
			return Never
		case "URIBL_BLACK":
			return Vouched
		}
		return Volume
	}
	for name, c := range map[string]struct {
		pairs []any
		muted bool
	}{
		"spoofs":                    {[]any{"DMARC_POLICY_REJECT", 8.0}, false},
		"spoofs and known senders":  {[]any{"DMARC_POLICY_REJECT", 12.0, "KNOWN_SENDER", -3.0}, false},
		"listed strangers":          {[]any{"URIBL_BLACK", 6.0}, false},
		"listed known senders":      {[]any{"URIBL_BLACK", 9.0, "KNOWN_SENDER", -3.0}, true},
		"a rule that goes for them": {[]any{"MY_RULE", 7.0}, true},
	} {
		b := New(Options{Proof: proof})
		muted := false
		for i := range 60 {
			_, now := b.Observe(fmt.Sprint(i), fmt.Sprint(i%7, ".example"), verdict(c.pairs...))
			muted = muted || now
		}
		if muted != c.muted {
			t.Errorf("%s: muted %v, want %v", name, muted, c.muted)
		}
	}
}

func TestMutedByHand(t *testing.T) {
	now := time.Unix(0, 0)
	b := New(Options{Now: func() time.Time { return now }})
	b.Mute("X", "by ann", now.Add(time.Minute))
	if m := b.Muted(); len(m) != 1 {
		t.Error(m)
	}
	if !b.Lift("X") || b.Lift("X") || len(b.Muted()) != 0 {
		t.Error("it can't be lifted")
	}
}
