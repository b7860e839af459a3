package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"text/tabwriter"

	"postern/filters/classify/evaluate"
	"postern/filters/classify/model"
	"postern/internal/mail"
	"postern/internal/mimeview"
)

// Stress is what goes wrong in practice: few lessons, wrong ones, and spam with honest text in it.
const (
	// wrongShare of lessons have the wrong label.
	wrongShare = 0.05
	// taughtShare of the messages are learned before the rest is attacked.
	taughtShare = 2.0 / 3
	// maxStressText bounds what is kept of a text, in octets.
	maxStressText = 20 << 10
)

// stressRow is one line of the table.
type stressRow struct {
	Name    string           `json:"name"`
	Quality evaluate.Quality `json:"quality"`
}

// keepForStress keeps what attacks are made of.
func (l *labelled) keepForStress(v *mimeview.View) {
	for _, p := range v.Parts() {
		if strings.HasPrefix(p.Type, "text/") && len(l.text) < maxStressText {
			l.text += string(p.Text[:min(len(p.Text), maxStressText-len(l.text))]) + "\n"
		}
	}
	l.header = v.Message().Header()
}

// stress measures all of it.
func stress(w world, all []labelled, order []int, seed uint64) (rows []stressRow) {
	bar := newProgress(w, "under stress").aside()
	defer bar.done()
	step := func(name string, q evaluate.Quality) {
		rows = append(rows, stressRow{name, q})
		bar.show(float64(len(rows))/float64(3+evaluate.Attacks), len(rows))
	}
	for _, n := range []int{400, 2000} {
		if n < len(order) {
			m := taught(all, order[:n])
			step(fmt.Sprintf("taught %d, then never again", n), evaluate.Of(judged(m, all, order[n:])))
		}
	}
	step(fmt.Sprintf("%.0f %% of lessons are wrong", 100*wrongShare), evaluate.Of(noisy(all, order, seed)))

	at := int(taughtShare * float64(len(order)))
	m := taught(all, order[:at])
	var ham, spam []string
	for _, i := range order[:at] {
		if all[i].lesson.Spam {
			spam = append(spam, all[i].text)
		} else {
			ham = append(ham, all[i].text)
		}
	}
	attacker := evaluate.NewAttacker(ham, spam)
	for how := range evaluate.Attacks {
		step("spam "+how.String(), evaluate.Of(attacked(m, attacker, all, order[at:], how, seed)))
	}

	return rows
}

func taught(all []labelled, order []int) *model.Model {
	m, past := model.New(), pastLessons{}
	for _, i := range order {
		l := &all[i].lesson
		m.Learn(l, past.rehearsed(m, l))
		past.add(l)
	}

	return m
}

func judged(m *model.Model, all []labelled, order []int) (scores []evaluate.Result) {
	for _, i := range order {
		l := &all[i].lesson
		scores = append(scores, evaluate.Result{Score: m.Score(&l.Features), Spam: l.Spam})
	}

	return scores
}

// noisy judges each message before it is learned, some of them with the wrong label.
func noisy(all []labelled, order []int, seed uint64) (scores []evaluate.Result) {
	r := rand.New(rand.NewPCG(seed, 1))
	m, past := model.New(), pastLessons{}
	for _, i := range order {
		l := all[i].lesson
		scores = append(scores, evaluate.Result{Score: m.Score(&l.Features), Spam: l.Spam})
		if r.Float64() < wrongShare {
			l.Spam = !l.Spam
		}
		m.Learn(&l, past.rehearsed(m, &l))
		past.add(&l)
	}

	return scores
}

// attacked judges honest mail as it is and spam as an attacker alters it.
func attacked(m *model.Model, a *evaluate.Attacker, all []labelled, order []int, how evaluate.Attack, seed uint64) (scores []evaluate.Result) {
	x := model.NewExtractor(model.Key{})
	for _, i := range order {
		features := all[i].lesson.Features
		if all[i].lesson.Spam {
			view := mimeview.Of(mail.NewMessage(a.Alter(all[i].header, all[i].text, how, seed+uint64(i))))
			features = x.Extract(view, nil, "")
			_ = view.Close() // it has nothing but memory
		}
		scores = append(scores, evaluate.Result{Score: m.Score(&features), Spam: all[i].lesson.Spam})
	}

	return scores
}

func printStress(w world, rows []stressRow) error {
	fmt.Fprintf(w.stdout, "\nunder stress (attacks: %.0f %% learned, the spam of the rest altered)\n", 100*taughtShare)
	t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\t(1-ROCA) %\tspam missed at 0.1 % of ham\tat 0.5 % of ham\tham caught at p 0.5\tspam missed at p 0.5\t")
	for _, row := range rows {
		fmt.Fprintln(t, qualityRow(row.Name, row.Quality))
	}

	return t.Flush()
}
