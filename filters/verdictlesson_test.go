package filters

import (
	"testing"

	"postern/internal/mail"
)

// What a verdict owes to a filter is not learned by that filter.
func TestVerdictLesson(t *testing.T) {
	for _, c := range []struct {
		disposition mail.Disposition
		score, own  float64
		want        [2]float64
	}{
		{mail.Reject, 20, 3, [2]float64{1, 0}},
		{mail.Quarantine, 7, 3, [2]float64{1, 0}},
		{mail.Tag, 6, 2, [2]float64{0.5, 0}},
		{mail.Tag, 6, 4, [2]float64{}},        // most of it is our own doing
		{mail.Reject, 0, 0, [2]float64{1, 0}}, // by a forced action
		{mail.Reject, -1, -1, [2]float64{1, 0}},
		{mail.Accept, 0, 0, [2]float64{0, 1}},
		{mail.Accept, 1, -1.5, [2]float64{}}, // without a good reputation it looks odd
		{mail.Accept, 2.5, 2.5, [2]float64{0, 1}},
		{mail.Accept, 3, 0, [2]float64{}},
		{mail.Defer, 0, 0, [2]float64{}},
	} {
		if bad, good := VerdictLesson([]Decision{{Disposition: c.disposition, Score: c.score}}, c.own); [2]float64{bad, good} != c.want {
			t.Errorf("%+v: %v %v", c, bad, good)
		}
	}
	bad, good := VerdictLesson([]Decision{{Disposition: mail.Reject, Score: 20}, {Disposition: mail.Accept}}, 0)
	if bad != 0.5 || good != 0.5 {
		t.Errorf("one refuses, one accepts: %v %v", bad, good)
	}
}
