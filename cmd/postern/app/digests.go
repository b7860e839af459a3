package app

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"postern/internal/config"
	"postern/policy/records/quarantine"
	"postern/policy/reports/digest"
	"postern/proxy/console/digestlinks"
	"postern/proxy/digests"
)

// openQuarantineVerbs makes what releases held mail: links in digests, and what is learned from releases.
func (h *App) openQuarantineVerbs() (err error) {
	if h.Lessons == nil { // a gateway without a door for mailboxes learns from releases, too
		if err = h.openLessons(); err != nil {
			return err
		}
	}
	if !h.cfg.Digest.Enabled {
		return nil
	}
	if h.digests, err = openDigests(h.cfg, h.Quarantine, h.Queue.Put, h.out.Now, h.out.Log); err != nil {
		return err
	}
	h.laterPlain(h.digests.Store.Close)

	return nil
}

// runDigests sends digests when they are due.
func (h *App) runDigests(ctx context.Context) {
	if h.digests == nil {
		return
	}
	h.running.Go(func() { h.every(ctx, time.Minute, h.sendDigests) })
}

func (h *App) sendDigests(ctx context.Context) {
	now := h.out.Now()
	sent, err := h.digests.Round.Send(ctx, now)
	if err != nil {
		h.out.Log.Error("digests", "error", err)
	}
	if sent > 0 {
		h.out.Log.Info("digests sent", "messages", sent)
	}
	if err := h.digests.Store.Expire(ctx, now.Add(-2*digests.LinkLife)); err != nil {
		h.out.Log.Error("digests expiry", "error", err)
	}
}

func openDigests(cfg *config.Config, held digest.Held, onQueue digests.Put, now func() time.Time, log *slog.Logger) (*digests.Digests, error) {
	key, err := keyFile(filepath.Join(cfg.DataDir, "digest.key"))
	if err != nil {
		return nil, err
	}

	return digests.Open(cfg, key, held, onQueue, now, log)
}

// sendDigestsNow sends digests, whatever the schedule says.
func sendDigestsNow(ctx context.Context, cfg *config.Config, q *quarantine.Quarantine, onQueue digests.Put, whose string, try bool) (told []digests.Report, err error) {
	if !cfg.Digest.Enabled {
		return nil, digests.ErrOff
	}
	d, err := openDigests(cfg, q, onQueue, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Store.Close()) }()

	return d.SendNow(ctx, q, onQueue, whose, try)
}

// links serves the links in digests.
func (h *App) links() digestlinks.Links {
	return digestlinks.Links{Digests: h.digests, Quarantine: h.Quarantine, Releaser: h.Releaser(), Lists: h.Lists, Acts: h.acts, Now: h.out.Now,
		Zone: h.cfg.Digest.Zone(), Log: h.out.Log}
}
