package app

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/policy/records/lessons"
	"postern/proxy/retrieval"
)

// LessonsFile is where the lessons are.
func LessonsFile(cfg *config.Config) string { return filepath.Join(cfg.DataDir, "lessons.db") }

// keepLessons is how long the octets of messages are kept that users gave lessons on.
const keepLessons = 90 * 24 * time.Hour

// openLessons opens the journal of users' lessons, unless learning is off.
func (a *App) openLessons() (err error) {
	if !a.cfg.MailAccess.Learn.On() {
		return nil
	}
	key, err := SealKey(a.cfg)
	if err != nil {
		return err
	}
	if a.Lessons, err = lessons.Open(LessonsFile(a.cfg), lessons.Options{Now: a.out.Now}); err != nil {
		return err
	}
	a.laterPlain(a.Lessons.Close)
	if err := a.takeOverLessons(context.Background()); err != nil {
		a.out.Log.Error("earlier lessons could not be taught to the classifier", "error", err)
	}
	a.teacher = &retrieval.Teacher{Journal: a.Lessons, SealKey: key, Log: a.out.Log, Taught: a.taught}
	return nil
}

// takeOverLessons teaches a classifier that was told nothing yet what users taught before there was one, as far as the
// messages are still kept.
func (a *App) takeOverLessons(ctx context.Context) error {
	if a.Learning == nil {
		return nil
	}
	if last, err := a.Learning.Book.Last(ctx); err != nil || last > 0 {
		return err
	}
	taken := 0
	for after := int64(0); ; {
		some, err := a.Lessons.List(ctx, lessons.Filter{After: after, Holding: true, Oldest: true, Limit: 1000})
		if err != nil || len(some) == 0 {
			if taken > 0 {
				a.out.Log.Info("the classifier was taught what users said before", "messages", taken)
			}
			return errors.Join(err, a.Learning.CatchUp(ctx))
		}
		for _, l := range some {
			after = l.ID
			octets, ok, err := a.Lessons.Content(ctx, l.SHA256)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			if err := a.Learning.Teach(ctx, mail.NewMessage(octets), filters.Lesson{Spam: l.Spam, SHA256: l.SHA256, By: l.User, Way: l.How}); err != nil {
				return err
			}
			taken++
		}
	}
}

// taught passes a lesson to the filters that learn.
func (a *App) taught(ctx context.Context, m *mail.Message, l filters.Lesson) {
	if j := a.pipeline.Load(); j != nil {
		j.Chain.Taught(ctx, m, l)
	}
}

func (a *App) expireLessons(ctx context.Context, now time.Time) {
	if a.Lessons == nil {
		return
	}
	if _, err := a.Lessons.Expire(ctx, now.Add(-keepLessons)); err != nil {
		a.out.Log.Error("lessons expiry", "error", err)
	}
}
