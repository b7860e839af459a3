package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"postern/filters/classify/evaluate"
	"postern/filters/classify/model"
	"postern/internal/mail"
	"postern/internal/mimeview"
)

type learnEvaluateCommand struct {
	output
	Ham    []string `required:"" placeholder:"PATH" help:"Honest mail: files, mbox files, Maildirs or folders."`
	Spam   []string `required:"" placeholder:"PATH" help:"Spam, in the same forms."`
	Seed   uint64   `default:"20260101" help:"Decides the order in which messages come in."`
	Stress bool     `help:"Also with few lessons, with wrong ones, and on spam with honest text in it."`
	Beside string   `enum:",bogofilter" default:"" placeholder:"bogofilter" help:"Another classifier that gets the same messages in the same order; it has to be installed."`
}

// labelled is a message to evaluate on.
type labelled struct {
	lesson model.Lesson
	raw    []byte // kept only if another classifier gets it, too
	// kept for --stress
	header *mail.Header
	text   string
}

// evaluation is the result, as JSON.
type evaluation struct {
	Seed        uint64            `json:"seed"`
	Postern     evaluate.Quality  `json:"postern"`
	After400    evaluate.Quality  `json:"postern_after_400_lessons"`
	After2000   evaluate.Quality  `json:"postern_after_2000_lessons"`
	Calibration float64           `json:"calibration_error"`
	Judge       duration          `json:"judge_microseconds"`
	Learn       duration          `json:"learn_microseconds"`
	Beside      *evaluate.Quality `json:"bogofilter,omitempty"`
	Better      *float64          `json:"better_share,omitempty"`
	Stress      []stressRow       `json:"stress,omitempty"`
}

// duration is the median and the 99th percentile, in microseconds.
type duration struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// Run measures.
func (c *learnEvaluateCommand) Run(w world) error {
	all, took, err := c.read(w)
	if err != nil {
		return err
	}
	order := evaluate.Shuffle(len(all), c.Seed)
	result := evaluation{Seed: c.Seed}
	scores := result.measure(w, all, order, took)
	if c.Beside != "" {
		others, err := beside(w, all, order)
		if err != nil {
			return err
		}
		q, share := evaluate.Of(others), evaluate.Better(scores, others, c.Seed)
		result.Beside, result.Better = &q, &share
	}
	if c.Stress {
		result.Stress = stress(w, all, order, c.Seed)
	}
	if c.JSON {
		return printJSON(w, result)
	}

	return result.print(w)
}

// read makes lessons of all messages.
func (c *learnEvaluateCommand) read(w world) (all []labelled, took []time.Duration, err error) {
	x := model.NewExtractor(model.Key{})
	bar := newProgress(w, "read").aside()
	defer bar.done()
	for _, kind := range []struct {
		paths []string
		spam  bool
	}{{c.Ham, false}, {c.Spam, true}} {
		before := len(all)
		err := eachMessage(w.in, kind.paths, func(s source) error {
			bar.show(endless, len(all))
			raw := model.Bare(s.raw)
			view := mimeview.Of(mail.NewMessage(raw))
			view.Parts() // which the gateway reads anyway
			start := time.Now()
			l := labelled{lesson: model.Lesson{Spam: kind.spam, Features: x.Extract(view, nil, "")}}
			took = append(took, time.Since(start))
			if !kind.spam {
				l.lesson.Passage = x.Passage(view)
			}
			sum := sha256.Sum256(raw)
			copy(l.lesson.ID[:], sum[:])
			if c.Beside != "" {
				l.raw = raw
			}
			if c.Stress {
				l.keepForStress(view)
			}
			all = append(all, l)

			return errors.Join(view.Close(), w.ctx.Err())
		})
		if err != nil {
			return nil, nil, err
		}
		if len(all) == before {
			return nil, nil, fmt.Errorf("there is no message in %s", strings.Join(kind.paths, ", "))
		}
	}

	return all, took, nil
}

// measure judges each message before it is learned.
func (e *evaluation) measure(w world, all []labelled, order []int, took []time.Duration) (scores []evaluate.Result) {
	bar := newProgress(w, "judge and learn").aside()
	defer bar.done()
	m, past := model.New(), pastLessons{}
	var calibrated []evaluate.Result
	var learning []time.Duration
	for n, i := range order {
		bar.show(float64(n)/float64(len(order)), n)
		l := &all[i].lesson
		start := time.Now()
		score := m.Score(&l.Features)
		took[i] += time.Since(start)
		scores = append(scores, evaluate.Result{Score: score, Spam: l.Spam})
		calibrated = append(calibrated, evaluate.Result{Score: m.Odds(score), Spam: l.Spam})
		start = time.Now()
		m.Learn(l, past.rehearsed(m, l))
		past.add(l)
		learning = append(learning, time.Since(start))
	}
	e.Postern, e.Calibration = evaluate.Of(scores), evaluate.Calibration(calibrated)
	e.After400, e.After2000 = evaluate.Of(scores[min(400, len(scores)):]), evaluate.Of(scores[min(2000, len(scores)):])
	e.Judge, e.Learn = durations(took), durations(learning)

	return scores
}

// pastLessons are those learned so far, by label.
type pastLessons map[bool][]*model.Lesson

func (p pastLessons) add(l *model.Lesson) { p[l.Spam] = append(p[l.Spam], l) }

// rehearsed is the earlier lesson that a model repeats with one, nil for none.
func (p pastLessons) rehearsed(m *model.Model, l *model.Lesson) *model.Lesson {
	r, needed := m.Rehearses(l)
	past := p[r.Spam]
	if !needed || len(past) == 0 {
		return nil
	}

	return past[r.Chance%uint64(len(past))]
}

func durations(all []time.Duration) duration {
	slices.Sort(all)
	at := func(share float64) float64 {
		return float64(all[min(int(share*float64(len(all))), len(all)-1)].Nanoseconds()) / 1000
	}

	return duration{at(0.5), at(0.99)}
}

// beside asks bogofilter, which judges and then learns each message, with its defaults.
func beside(w world, all []labelled, order []int) (scores []evaluate.Result, err error) {
	dir, err := os.MkdirTemp("", "bogofilter-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	bar := newProgress(w, "bogofilter").aside()
	defer bar.done()
	for n, i := range order {
		bar.show(float64(n)/float64(len(order)), n)
		score := 0.0
		if n > 0 { // it has no words yet
			said, err := bogofilter(w.ctx, all[i].raw, "-TT", "-d", dir)
			if err != nil {
				return nil, err
			}
			if score, err = oddsOf(said); err != nil {
				return nil, err
			}
		}
		scores = append(scores, evaluate.Result{Score: score, Spam: all[i].lesson.Spam})
		label := "-n"
		if all[i].lesson.Spam {
			label = "-s"
		}
		if _, err := bogofilter(w.ctx, all[i].raw, label, "-d", dir); err != nil {
			return nil, err
		}
	}

	return scores, nil
}

func bogofilter(ctx context.Context, raw []byte, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "bogofilter", args...)
	cmd.Stdin = bytes.NewReader(raw)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() <= 2 { // spam, ham, unsure
		err = nil
	}
	if err != nil {
		return "", fmt.Errorf("bogofilter: %w; install it with: apt install bogofilter", err)
	}

	return string(out), nil
}

// oddsOf reads a probability such as "0.998512", and gives its log-odds.
func oddsOf(said string) (float64, error) {
	p, err := strconv.ParseFloat(strings.TrimSpace(said), 64)
	if err != nil {
		return 0, fmt.Errorf("bogofilter said %q", said)
	}
	const tiny = 1e-16

	return math.Log((p + tiny) / (1 - p + tiny)), nil
}

func qualityRow(name string, q evaluate.Quality) string {
	return fmt.Sprintf("%s\t%.4f\t%.2f %%\t%.2f %%\t%.2f %%\t%.2f %%\t", name, q.ROCA, q.MissedAt01, q.MissedAt05, q.HamCaught, q.SpamMissed)
}

func (e *evaluation) print(w world) error {
	fmt.Fprintf(w.stdout, "%d ham, %d spam, in the order of seed %d; each judged before it was learned\n\n", e.Postern.Ham, e.Postern.Spam, e.Seed)
	t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\t(1-ROCA) %\tspam missed at 0.1 % of ham\tat 0.5 % of ham\tham caught at p 0.5\tspam missed at p 0.5\t")
	row := func(name string, q evaluate.Quality) {
		if q.Ham > 0 && q.Spam > 0 {
			fmt.Fprintln(t, qualityRow(name, q))
		}
	}
	row("postern", e.Postern)
	row("after 400 lessons", e.After400)
	row("after 2,000 lessons", e.After2000)
	if e.Beside != nil {
		row("bogofilter", *e.Beside)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if e.Better != nil {
		fmt.Fprintf(w.stdout, "\nin %.0f %% of 200 bootstrap samples of the same messages postern has the better (1-ROCA) %%\n", 100**e.Better)
	}
	if len(e.Stress) > 0 {
		if err := printStress(w, e.Stress); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w.stdout, "\nprobabilities are off by %.2f %% on average\nto read and judge a message takes %.0f µs (99 %% of them %.0f µs), to learn it %.0f µs (%.0f µs)\n",
		100*e.Calibration, e.Judge.P50, e.Judge.P99, e.Learn.P50, e.Learn.P99)

	return err
}
