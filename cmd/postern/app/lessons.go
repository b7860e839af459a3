package app

import (
	"context"
	"path/filepath"
	"time"

	"postern/internal/config"
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
	h.teacher = &retrieval.Teacher{Journal: h.Lessons, SealKey: key, Log: h.out.Log}
	return nil
}

func (h *App) expireLessons(ctx context.Context, now time.Time) {
	if h.Lessons == nil {
		return
	}
	if _, err := h.Lessons.Expire(ctx, now.Add(-keepLessons)); err != nil {
		h.out.Log.Error("lessons expiry", "error", err)
	}
}
