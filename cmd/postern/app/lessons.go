package app

import (
	"context"
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
	a.teacher = &retrieval.Teacher{Journal: a.Lessons, SealKey: key, Log: a.out.Log, Taught: a.taught}
	return nil
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
