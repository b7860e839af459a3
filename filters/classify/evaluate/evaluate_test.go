package evaluate

import (
	"math"
	"testing"
)

func results(pairs ...float64) (all []Result) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, Result{pairs[i], pairs[i+1] == 1})
	}

	return all
}

// Three of four pairs are in order; one ham has the higher score.
func TestQuality(t *testing.T) {
	q := Of(results(-2, 0, 1, 0, 0.5, 1, 3, 1))
	if q.Ham != 2 || q.Spam != 2 || q.ROCA != 25 || q.HamCaught != 50 || q.SpamMissed != 0 || q.MissedAt01 != 50 {
		t.Errorf("%+v", q)
	}
	// equal scores tell nothing
	if q := Of(results(1, 0, 1, 1)); q.ROCA != 50 {
		t.Errorf("%+v", q)
	}
	if q := Of(results(-1, 0, 1, 1)); q.ROCA != 0 || q.MissedAt05 != 0 {
		t.Errorf("%+v", q)
	}
	if q := Of(nil); q != (Quality{}) {
		t.Errorf("%+v", q)
	}
}

func TestBetter(t *testing.T) {
	var good, bad []Result
	for i := range 100 {
		spam := i%2 == 0
		score := -1.0
		if spam {
			score = 1
		}
		good = append(good, Result{score, spam})
		if i%10 == 0 {
			score = -score
		}
		bad = append(bad, Result{score, spam})
	}
	if a, b, c := Better(good, bad, 1), Better(bad, good, 1), Better(good, good, 1); a < 0.99 || b > 0.01 || c != 0.5 {
		t.Error(a, b, c)
	}
}

// Who says 0.9 and is right nine times of ten is calibrated.
func TestCalibration(t *testing.T) {
	z := math.Log(9)
	var all []Result
	for i := range 10 {
		all = append(all, Result{z, i > 0})
	}
	if c := Calibration(all); c > 1e-9 {
		t.Error(c)
	}
	for i := range all {
		all[i].Spam = i%2 == 0
	}
	if c := Calibration(all); math.Abs(c-0.4) > 1e-9 {
		t.Error(c)
	}
}
