// Package classifier holds what the gateway has learned from people: the model, and the log of lessons that it is made of. It
// lives as long as the program; filters ask it, and every lesson comes in through it.
//
// What it knows is decided by the log alone: the same log gives the same weights, bit by bit, on every machine and after
// every restart. A snapshot only saves the time to learn it again.
package classifier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"postern/filters"
	"postern/filters/classify/lessonlog"
	"postern/filters/classify/model"
	"postern/internal/mail"
	"postern/internal/mimeview"
)

// Log keeps the events in one order: lessonlog.Book.
type Log interface {
	Append(ctx context.Context, events ...lessonlog.Event) error
}

// Syncer is a log that others append to as well: CatchUp fetches what they did.
type Syncer interface {
	Sync(ctx context.Context) error
}

// Options of a classifier.
type Options struct {
	// Book is read from. Log is written to, where several gateways share their lessons: what is written there comes to the book
	// by itself. It is the book if it is nil.
	Book *lessonlog.Book
	Log  Log
	// Key is the secret of the hashed features.
	Key model.Key
	// Hostname and HeaderName are those of the fields that we write on top of mail, so that they are not learned.
	Hostname, HeaderName string
	// Snapshot is the file that saves the time to learn all again, "" for none.
	Snapshot string
	Rules    lessonlog.Rules
	Logger   *slog.Logger
	Now      func() time.Time
}

// Classifier learns and judges. It is safe for use by many goroutines.
type Classifier struct {
	o         Options
	extractor *model.Extractor
	doubt     doubt

	mu     sync.RWMutex // guards the model and the status
	model  *model.Model
	status Status

	work     sync.Mutex // one reader of the log at a time; it guards what follows
	book     string     // the name that the book had
	plan     *lessonlog.Plan
	guard    guard
	redo     bool      // the model is not what the log says now
	redone   time.Time // when it was made anew for the last time, and
	redoTook time.Duration
	saved    int64 // the last event in the snapshot
}

// Open makes a classifier that knows all that is in the log.
func Open(ctx context.Context, o Options) (*Classifier, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = o.Book
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Classifier{o: o, extractor: model.NewExtractor(o.Key), model: model.New(), plan: lessonlog.NewPlan(o.Rules), book: o.Book.Name()}
	if err := c.load(ctx); err != nil {
		return nil, err
	}
	if err := c.CatchUp(ctx); err != nil {
		if _, shared := o.Log.(Syncer); !shared {
			return nil, err
		}
		o.Logger.Warn("the classifier begins with what this gateway knew", "error", err)
		if err := c.catchUp(ctx, true); err != nil {
			return nil, err
		}
	}

	return c, nil
}

// Close writes the snapshot. The book stays open.
func (c *Classifier) Close() error { return c.Save() }

func viewOf(m *mail.Message) *mimeview.View { return mimeview.Of(m) }

// Judge implements filters.Classifier.
func (c *Classifier) Judge(tx *mail.Transaction) filters.Judgement {
	facts, _ := judged(tx)
	view := viewOf(tx.Message)
	f := c.features(tx)

	c.mu.RLock()
	defer c.mu.RUnlock()
	j := filters.Judgement{Odds: c.model.Odds(c.model.Score(f))}
	j.Ham, j.Spam = c.model.Counts()
	j.Why = func() (spam, ham []string) {
		c.mu.RLock()
		defer c.mu.RUnlock()
		forIt, against := c.model.Strongest(c.extractor, view, facts, f, tokensTold)

		return texts(forIt), texts(against)
	}

	return j
}

// featuresKey is the key of a message's features, which are made once.
type featuresKey struct{ by *Classifier }

func (c *Classifier) features(tx *mail.Transaction) *model.Features {
	return tx.Message.Derive(featuresKey{c}, func() any {
		facts, trace := judged(tx)
		f := c.extractor.Extract(viewOf(tx.Message), facts, trace)

		return &f
	}).(*model.Features)
}

// tokensTold is how many tokens for and against are told.
const tokensTold = 5

func texts(tokens []model.Token) (all []string) {
	for _, t := range tokens {
		all = append(all, t.Text)
	}

	return all
}

// lessonOf is a lesson that has no event yet.
type lessonOf struct {
	model.Lesson
	sketch model.Sketch
}

// Taught implements filters.LessonLearner. Who teaches waits for the log, never for what is learned of it: where that takes
// longer, the next CatchUp does it.
func (c *Classifier) Taught(ctx context.Context, m *mail.Message, l filters.Lesson) {
	err := c.Teach(ctx, m, l)
	if err == nil && c.work.TryLock() {
		err = c.catchUp(ctx, false)
		c.work.Unlock()
	}
	if err != nil {
		c.o.Logger.Error("the classifier could not learn a lesson", "by", l.By, "error", err)
	}
}

// Teach writes a lesson into the log. CatchUp learns it.
func (c *Classifier) Teach(ctx context.Context, m *mail.Message, l filters.Lesson) error {
	e, err := c.Event(m, l)
	if err != nil {
		return err
	}

	return c.Append(ctx, e)
}

// Append writes events into the log. CatchUp learns them.
func (c *Classifier) Append(ctx context.Context, events ...lessonlog.Event) error {
	return c.o.Log.Append(ctx, events...)
}

// Event makes the event of a lesson.
func (c *Classifier) Event(m *mail.Message, l filters.Lesson) (lessonlog.Event, error) {
	e := lessonlog.Event{Kind: lessonlog.Taught, Spam: l.Spam, By: l.By, Way: l.Way, Trusted: l.Trusted, Time: c.o.Now()}
	var err error
	if e.ID, err = lessonlog.ParseID(l.SHA256); err != nil {
		return lessonlog.Event{}, err
	}
	if l.Withdrawn {
		e.Kind = lessonlog.Forgotten
		return e, nil
	}
	lesson, err := c.lesson(m, l.Spam)
	if err != nil {
		return lessonlog.Event{}, err
	}
	e.Sketch, e.Lesson = lesson.sketch, lesson.Append(nil)

	return e, nil
}

// CatchUp learns what is new in the log.
func (c *Classifier) CatchUp(ctx context.Context) error {
	var away error
	if shared, ok := c.o.Log.(Syncer); ok {
		away = shared.Sync(ctx)
	}
	c.work.Lock()
	defer c.work.Unlock()

	return errors.Join(away, c.catchUp(ctx, true))
}

// catchUp learns what is new in the book, and all anew if that is needed and anew is true. The caller holds work, or is the
// only one.
func (c *Classifier) catchUp(ctx context.Context, anew bool) error {
	defer c.note()
	if name := c.o.Book.Name(); name != c.book { // it began anew
		c.book, c.plan, c.redo = name, lessonlog.NewPlan(c.o.Rules), true
	}
	var learn []lessonlog.Decision
	err := c.o.Book.Each(ctx, c.plan.Seq(), func(e *lessonlog.Event) error {
		copied := *e
		now, redo := c.plan.Add(&copied)
		learn, c.redo = append(learn, now...), c.redo || redo

		return nil
	})
	if err != nil {
		return err
	}
	if c.redo {
		if !anew || time.Since(c.redone) < redoShare*c.redoTook {
			return nil
		}
		return c.relearn(ctx)
	}
	for _, d := range learn {
		if err := c.learn(ctx, c.model, &c.guard, d); err != nil {
			c.redo = true // what was learned of these is not known any more
			return err
		}
	}

	return c.defend(ctx)
}

// redoShare bounds how often all is learned anew, as a multiple of the time that it takes: somebody who moves a message to and
// fro should not keep us at it.
const redoShare = 20

// relearn makes the model anew from the log.
func (c *Classifier) relearn(ctx context.Context) error {
	begun := time.Now()
	plan, err := c.read(ctx, 0)
	if err != nil {
		return err
	}
	m, g := model.New(), guard{}
	for _, d := range plan.Decisions() {
		if err := c.learn(ctx, m, &g, d); err != nil {
			return err
		}
	}
	c.mu.Lock()
	c.model = m
	c.mu.Unlock()
	c.plan, c.guard, c.redo, c.redone, c.redoTook = plan, g, false, time.Now(), time.Since(begun)
	defer c.note()

	return c.defend(ctx)
}

// read makes the plan of all events up to a number, or of all there are if it is 0.
func (c *Classifier) read(ctx context.Context, upTo int64) (*lessonlog.Plan, error) {
	var all []lessonlog.Event
	err := c.o.Book.Each(ctx, 0, func(e *lessonlog.Event) error {
		if upTo > 0 && e.Seq > upTo {
			return lessonlog.ErrEnough
		}
		all = append(all, *e)

		return nil
	})
	if err != nil {
		return nil, err
	}
	plan := lessonlog.NewPlan(c.o.Rules)
	holding := lessonlog.Holding(all)
	for i := range holding {
		plan.Add(&holding[i])
	}
	if len(all) > 0 {
		plan.Passed(all[len(all)-1].Seq)
	}

	return plan, nil
}

// learn takes one message into a model.
func (c *Classifier) learn(ctx context.Context, m *model.Model, g *guard, d lessonlog.Decision) error {
	l, err := c.lessonAt(ctx, d)
	if err != nil {
		return err
	}
	again, err := c.rehearsed(ctx, m, g, l) // from the disk, before the lock: verdicts don't wait for it
	if err != nil {
		return err
	}
	c.mu.Lock()
	m.Learn(l, again)
	c.mu.Unlock()
	g.learned(m, d, l)

	return nil
}

// rehearsed reads the earlier lesson that a model repeats with one: nil for none.
func (c *Classifier) rehearsed(ctx context.Context, m *model.Model, g *guard, l *model.Lesson) (*model.Lesson, error) {
	r, needed := m.Rehearses(l)
	past := g.past[label(r.Spam)]
	if !needed || len(past) == 0 {
		return nil, nil
	}

	return c.lessonAt(ctx, past[r.Chance%uint64(len(past))])
}

// lessonAt reads what a decision is to learn.
func (c *Classifier) lessonAt(ctx context.Context, d lessonlog.Decision) (*model.Lesson, error) {
	octets, err := c.o.Book.Lesson(ctx, d.From)
	if err != nil {
		return nil, err
	}
	l := &model.Lesson{ID: d.ID, Spam: d.Spam}
	if err := l.Read(octets); err != nil {
		return nil, fmt.Errorf("classifier's log: event %d: %w", d.From, err)
	}

	return l, nil
}

func label(spam bool) int {
	if spam {
		return 1
	}

	return 0
}
