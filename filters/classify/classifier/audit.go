package classifier

import (
	"context"
	"crypto/sha256"
	"io"
	"math"
	"slices"
	"sync"

	"postern/filters"
	"postern/filters/classify/lessonlog"
	"postern/filters/classify/model"
	"postern/internal/mail"
)

// What an admin is asked about: the share of messages that the classifier is least sure of. An answer on one of these teaches
// more than any other (Lewis and Gale 1994).
const (
	askedShare = 0.02
	// doubtStep is how fast the bound follows, doubtBegin where it begins, in log-odds.
	doubtStep  = 0.5
	doubtBegin = 1.0
)

// doubt finds the bound of log-odds below which askedShare of the messages lie.
type doubt struct {
	mu    sync.Mutex
	bound float64 // 0 at the beginning
}

// doubtful says whether a message is one of the least certain.
func (d *doubt) doubtful(odds float64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bound == 0 {
		d.bound = doubtBegin
	}
	if math.Abs(odds) > d.bound {
		d.bound *= math.Exp(doubtStep * askedShare)
		return false
	}
	d.bound *= math.Exp(-doubtStep * (1 - askedShare))

	return true
}

// Decided implements filters.MessageLearner: of the messages that it is least sure about the features are kept for a week, so that an
// admin can say what they were.
func (c *Classifier) Decided(ctx context.Context, tx *mail.Transaction, judged []filters.Decision) {
	refused := !slices.ContainsFunc(judged, func(d filters.Decision) bool { return d.Disposition != mail.Reject })
	if tx.Message == nil || refused {
		return
	}
	f := c.features(tx)
	c.mu.RLock()
	odds := c.model.Odds(c.model.Score(f))
	ham, spam := c.model.Counts()
	c.mu.RUnlock()
	if ham == 0 || spam == 0 || !c.doubt.doubtful(odds) {
		return
	}
	if err := c.keep(ctx, tx, f, odds); err != nil {
		c.o.Logger.Error("a message that the classifier is not sure about is not kept", "id", tx.ID, "error", err)
	}
}

func (c *Classifier) keep(ctx context.Context, tx *mail.Transaction, f *model.Features, odds float64) error {
	sum := sha256.New()
	if _, err := io.Copy(sum, tx.Message.Open()); err != nil {
		return err
	}
	u := lessonlog.Uncertain{Message: tx.ID, Odds: odds, Time: c.o.Now(), Sketch: f.Sketch()}
	copy(u.ID[:], sum.Sum(nil))
	lesson := model.Lesson{ID: u.ID, Features: *f, Passage: c.extractor.Passage(viewOf(tx.Message))}
	u.Lesson = lesson.Append(nil)

	return c.o.Book.KeepUncertain(ctx, u)
}

// Answer teaches what a message was that it was not sure about. The word is an admin's.
func (c *Classifier) Answer(ctx context.Context, id string, spam bool, by string) error {
	key, err := lessonlog.ParseID(id)
	if err != nil {
		return err
	}
	u, err := c.o.Book.FindUncertain(ctx, key)
	if err != nil {
		return err
	}
	e := lessonlog.Event{Kind: lessonlog.Taught, ID: key, Spam: spam, By: by, Way: "audit", Trusted: true, Time: c.o.Now(), Sketch: u.Sketch, Lesson: u.Lesson}
	if err := c.Append(ctx, e); err != nil {
		return err
	}
	if err := c.o.Book.DropUncertain(ctx, key); err != nil {
		return err
	}

	return c.Now(ctx)
}
