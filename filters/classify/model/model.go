// Package model is a classifier that learns: three hashed logistic regressions over different views of a message (its header,
// its raw octets, its tokens), the mean of whose log-odds is the verdict. The same lessons in the same order give the same
// weights, bit by bit, on any machine.
//
// Each view is trained by itself, with a rate of its own for each weight (AdaGrad, Duchi et al. 2011) that decays as lessons
// add up, and only on messages that it is not sure about.
package model

import (
	"encoding/binary"
	"math"
)

// View is one way to look at a message.
type View int

// The views.
const (
	Header View = iota // 4-grams of the header: what an attacker's text can't touch
	Raw                // 4-grams of the first octets
	Tokens             // words, names, types, hosts
	Views
)

// Slots is how many weights a view has. A feature is the number of its slot.
const (
	slotBits = 20
	Slots    = 1 << slotBits
)

// Features are the slots of each view that a message sets, each once, in ascending order.
type Features [Views][]uint32

// Constants of training, found by measuring on public corpora.
const (
	// firstRate decays with the root of the number of updates to lastRate: a low rate at the end is what withstands wrong
	// labels.
	firstRate = 0.3
	lastRate  = 0.05
	decay     = 200
	// near is how far from its label a message must be to be trained on.
	near = 0.05
	// epsilon keeps the first step finite.
	epsilon = 1e-6
)

// Model has what was learned. It is not safe for use by several goroutines at once.
type Model struct {
	views [Views]weights
	// ham and spam count lessons.
	ham, spam int
	// passages are the last honest texts, a ring that hams have filled.
	passages []Passage
	scale    scale
	// run is how many lessons of the label runOf came behind each other.
	run   int
	runOf bool
	set   slotSet // an empty one, to work with
}

// Passage is a piece of an honest text as features, for lessons on what spam with honest words in it looks like.
type Passage struct {
	Raw, Tokens []uint32
}

// Lesson is one labelled message.
type Lesson struct {
	// ID is the message's, by which lessons are told apart and chances are drawn: the order of lessons and their ids decide all.
	ID       [16]byte
	Spam     bool
	Features Features
	// Passage is there for honest mail with enough text.
	Passage Passage
}

// Counts are the numbers of lessons.
func (m *Model) Counts() (ham, spam int) { return m.ham, m.spam }

// weights are those of one view.
type weights struct {
	weight, squares []float32
	bias, biasSum   float32
	updates         int
}

// New makes a model that knows nothing.
func New() *Model {
	m := &Model{}
	for i := range m.views {
		m.views[i].weight = make([]float32, Slots)
		m.views[i].squares = make([]float32, Slots)
	}

	return m
}

// viewShare is the share of each view in the verdict. Tokens say most; the header is what added words don't reach, raw octets
// are the first that they push out of sight.
func viewShare(v View) float64 {
	if v == Raw {
		return 1
	}

	return 2
}

// Score gives the log-odds that a message is spam: the mean of all views that see anything of it.
func (m *Model) Score(f *Features) float64 {
	sum, n := 0.0, 0.0
	for i := range m.views {
		if len(f[i]) > 0 {
			share := viewShare(View(i))
			sum += share * m.views[i].score(f[i])
			n += share
		}
	}
	if n == 0 {
		return 0
	}

	return sum / n
}

func (w *weights) score(slots []uint32) float64 {
	sum := float64(0)
	for _, s := range slots {
		sum += float64(w.weight[s])
	}

	return sum*norm(len(slots)) + float64(w.bias)
}

// norm makes all messages equally long, whatever the number of their features.
func norm(n int) float64 { return 1 / math.Sqrt(float64(max(n, 1))) }

// Rehearsal says that an earlier lesson of a label is to be repeated; Chance, any number, says which.
type Rehearsal struct {
	Spam   bool
	Chance uint64
}

// Rehearses says whether an earlier lesson is to be repeated with the next one. People teach in blocks, a folder of spam and
// then one of honest mail, and mostly what is wrong: behind several lessons of one label a model would forget the other. So it
// then repeats one of the other label each time.
func (m *Model) Rehearses(l *Lesson) (r Rehearsal, needed bool) {
	run := 1
	if m.runOf == l.Spam {
		run = m.run + 1
	}

	return Rehearsal{Spam: !l.Spam, Chance: l.chance() ^ mix(uint64(run))}, run > longRun
}

// Learn takes a lesson, and again the earlier one that Rehearses asks for: nil if there is none.
func (m *Model) Learn(l, again *Lesson) {
	if m.runOf != l.Spam {
		m.runOf, m.run = l.Spam, 0
	}
	m.run++
	if m.run <= longRun {
		m.scale.learn(m.Score(&l.Features), l.Spam)
	}
	m.take(l)
	if l.Spam {
		m.spam++
	} else {
		m.ham++
		m.keep(l.Passage)
	}
	if again != nil {
		m.take(again)
	}
}

// longRun is how many lessons of one label may follow each other before the other is repeated.
const longRun = 4

// chance is a number that the message's ID decides.
func (l *Lesson) chance() uint64 { return mix(binary.LittleEndian.Uint64(l.ID[:8])) }

// take trains on a lesson, spam now and then once more with honest words in it.
func (m *Model) take(l *Lesson) {
	m.train(&l.Features, l.Spam)
	if chance := l.chance(); l.Spam && chance%augmentEvery == 0 && len(m.passages) >= minPassages {
		m.train(m.withWords(&l.Features, chance), true)
	}
}

// Good words: one spam in augmentEvery is learned once more with a passage of honest text in it, so that such text buys
// nothing.
const (
	augmentEvery = 3
	minPassages  = 20
	maxPassages  = 250
)

// keep remembers a passage in place of the oldest.
func (m *Model) keep(p Passage) {
	switch {
	case len(p.Tokens) == 0:
	case len(m.passages) < maxPassages:
		m.passages = append(m.passages, p)
	default:
		m.passages[m.ham%maxPassages] = p
	}
}

// withWords are the features of a message with honest text added: one passage, or words of several. The header stays.
func (m *Model) withWords(f *Features, chance uint64) *Features {
	raw, tokens := [][]uint32{f[Raw]}, [][]uint32{f[Tokens]}
	pieces := 1 + 2*int(mix(chance^1)%3)
	for range pieces {
		chance = mix(chance + 1)
		p := m.passages[chance%uint64(len(m.passages))]
		raw, tokens = append(raw, p.Raw), append(tokens, p.Tokens)
	}

	return &Features{Header: f[Header], Raw: m.set.union(raw), Tokens: m.set.union(tokens)}
}

// train learns that a message is spam, or is not.
func (m *Model) train(f *Features, spam bool) {
	for i := range m.views {
		if len(f[i]) > 0 {
			m.views[i].train(f[i], spam)
		}
	}
}

func (w *weights) train(slots []uint32, spam bool) {
	label := 0.0
	if spam {
		label = 1
	}
	miss := Probability(w.score(slots)) - label
	if math.Abs(miss) < near {
		return
	}

	rate := max(lastRate, firstRate/math.Sqrt(1+float64(w.updates)/decay))
	w.updates++
	// the conversions keep a compiler from fusing operations, which would give other bits on other processors
	g := float32(miss * norm(len(slots)))
	square := float32(g * g)
	r := float32(rate)
	for _, s := range slots {
		sum := float32(w.squares[s] + square)
		w.squares[s] = sum
		step := float32(float32(r*g) / float32(math.Sqrt(float64(float32(sum+epsilon)))))
		w.weight[s] = float32(w.weight[s] - step)
	}
	b := float32(miss)
	w.biasSum = float32(w.biasSum + float32(b*b))
	w.bias = float32(w.bias - float32(float32(r*b*biasShare)/float32(math.Sqrt(float64(float32(w.biasSum+epsilon))))))
}

// biasShare is the rate of the bias beside that of other weights.
const biasShare = 0.1

// scale makes probabilities of log-odds (Platt 1999), learned from the scores that messages had before they were learned.
type scale struct{ a, b float32 }

const (
	scaleRate = 0.01
	maxSlope  = 3
	maxShift  = 2
)

func (s *scale) learn(z float64, spam bool) {
	label := 0.0
	if spam {
		label = 1
	}
	miss := s.probability(z) - label
	z = max(-10, min(10, z))
	// a is kept as what it differs from 1, so that the zero scale changes nothing
	s.a = max(-maxSlope/4, min(maxSlope-1, float32(s.a-float32(scaleRate*miss*z))))
	s.b = max(-maxShift, min(maxShift, float32(s.b-float32(scaleRate*miss))))
}

func (s *scale) probability(z float64) float64 {
	return Probability(float64(float64(1+s.a)*z) + float64(s.b))
}

// Odds are the log-odds of a score, calibrated: what they promise is what comes.
func (m *Model) Odds(z float64) float64 { return float64(float64(1+m.scale.a)*z) + float64(m.scale.b) }

// Probability is that of log-odds.
func Probability(z float64) float64 { return 1 / (1 + math.Exp(-z)) }
