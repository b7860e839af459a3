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
func (h *App) openLessons() (err error) {
	if !h.cfg.MailAccess.Learn.On() {
		return nil
	}
	key, err := keyFile(h.dir("judged.key"))
	if err != nil {
		return err
	}
	if h.Lessons, err = lessons.Open(LessonsFile(h.cfg), lessons.Options{Now: h.out.Now}); err != nil {
		return err
	}
	h.laterPlain(h.Lessons.Close)
	h.teacher = &retrieval.Teacher{Journal: h.Lessons, SealKey: key, Log: h.out.Log, Taught: h.taught}
	return nil
}

// taught passes a lesson to the filters that learn.
func (h *App) taught(ctx context.Context, m *mail.Message, l filters.Lesson) {
	if j := h.pipeline.Load(); j != nil {
		j.Chain.Taught(ctx, m, l)
	}
}

func (h *App) expireLessons(ctx context.Context, now time.Time) {
	if h.Lessons == nil {
		return
	}
	if _, err := h.Lessons.Expire(ctx, now.Add(-keepLessons)); err != nil {
		h.out.Log.Error("lessons expiry", "error", err)
	}
}
