package proxy

import (
	"testing"

	"postern/policy"
)

// Mail let in by a list or rule stays readable when it is fetched; mail that merely passed is judged again one day.
func TestLetIn(t *testing.T) {
	for _, c := range []struct {
		symbol, help string
		want         bool
	}{
		{policy.Allowed, "a partner", true}, {policy.NotAllowed, "", false}, {policy.Ruled, "a rule of the policy: accept", true},
		{policy.Ruled, "a rule of the policy: tag", false}, {"R_SPF_ALLOW", "", false},
	} {
		if got := letIn(policy.Verdict{Reasons: []policy.Reason{{Symbol: "X"}, {Symbol: c.symbol, Help: c.help}}}); got != c.want {
			t.Errorf("%s: %v", c.symbol, got)
		}
	}
}
