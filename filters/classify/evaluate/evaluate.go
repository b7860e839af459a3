// Package evaluate measures how good a classifier is on labelled mail: each message is judged before it is learned, in one
// order, as it would have come in.
package evaluate

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Result is the score of one message, higher towards spam, and what it was.
type Result struct {
	Score float64
	Spam  bool
}

// Quality is how good scores tell spam from ham.
type Quality struct {
	Ham  int `json:"ham"`
	Spam int `json:"spam"`
	// ROCA is the share of pairs of a spam and a ham in which the ham has the higher score, in per cent: the area above the
	// ROC curve.
	ROCA float64 `json:"roca_percent"`
	// Missed is the share of spam that is missed at a threshold under which so many per cent of ham are caught.
	MissedAt01 float64 `json:"missed_percent_at_ham_0.1"`
	MissedAt05 float64 `json:"missed_percent_at_ham_0.5"`
	// HamCaught and SpamMissed are what a score of 0, which is a probability of a half, would do, in per cent.
	HamCaught  float64 `json:"ham_caught_percent"`
	SpamMissed float64 `json:"spam_missed_percent"`
}

// Of measures results.
func Of(results []Result) Quality {
	sorted := slices.Clone(results)
	slices.SortStableFunc(sorted, func(a, b Result) int {
		switch {
		case a.Score < b.Score:
			return -1
		case a.Score > b.Score:
			return 1
		}

		return 0
	})

	var q Quality
	wrong, caught, missed := 0.0, 0, 0
	for i := 0; i < len(sorted); {
		// of equal scores half the pairs count
		end, ham, spam := i, 0, 0
		for end < len(sorted) && sorted[end].Score == sorted[i].Score {
			if sorted[end].Spam {
				spam++
			} else {
				ham++
			}
			end++
		}
		wrong += float64(ham) * (float64(q.Spam) + float64(spam)/2)
		q.Ham, q.Spam = q.Ham+ham, q.Spam+spam
		if sorted[i].Score > 0 {
			caught += ham
		} else {
			missed += spam
		}
		i = end
	}
	q.ROCA = percent(wrong, float64(q.Ham)*float64(q.Spam))
	q.HamCaught, q.SpamMissed = percent(float64(caught), float64(q.Ham)), percent(float64(missed), float64(q.Spam))
	q.MissedAt01, q.MissedAt05 = missedAt(sorted, q, 0.001), missedAt(sorted, q, 0.005)

	return q
}

func percent(part, whole float64) float64 {
	if whole == 0 {
		return 0
	}

	return 100 * part / whole
}

// missedAt is the share of spam under the lowest threshold at which no more than a share of ham is caught.
func missedAt(sorted []Result, q Quality, share float64) float64 {
	allowed := int(share * float64(q.Ham))
	found := 0
	for _, r := range slices.Backward(sorted) {
		switch {
		case r.Spam:
			found++
		case allowed == 0:
			return percent(float64(q.Spam-found), float64(q.Spam))
		default:
			allowed--
		}
	}

	return 0
}

// bootstraps is how often messages are drawn anew.
const bootstraps = 200

// Better is the share of paired bootstrap samples in which the first results have the lower ROCA: near 1 the first are
// better for more than chance, near 0 the second.
func Better(first, second []Result, seed uint64) float64 {
	r := rand.New(rand.NewPCG(seed, 0))
	n := min(len(first), len(second))
	a, b := make([]Result, n), make([]Result, n)
	better := 0.0
	for range bootstraps {
		for i := range n {
			at := r.IntN(n)
			a[i], b[i] = first[at], second[at]
		}
		switch x, y := Of(a).ROCA, Of(b).ROCA; {
		case x < y:
			better++
		case x == y:
			better += 0.5
		}
	}

	return better / bootstraps
}

// Calibration is the mean difference between what probabilities promise and what came, over ten bands of probability.
func Calibration(results []Result) float64 {
	var sum, hits, n [10]float64
	for _, r := range results {
		p := 1 / (1 + math.Exp(-r.Score))
		band := min(int(p*10), 9)
		sum[band] += p
		n[band]++
		if r.Spam {
			hits[band]++
		}
	}
	off := 0.0
	for i := range n {
		if n[i] > 0 {
			off += math.Abs(sum[i] - hits[i])
		}
	}

	return off / float64(max(len(results), 1))
}

// Shuffle gives numbers from 0 to n-1 in an order that the seed decides.
func Shuffle(n int, seed uint64) []int { return rand.New(rand.NewPCG(seed, 0)).Perm(n) }
