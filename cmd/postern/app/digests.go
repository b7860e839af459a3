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
func (a *App) openQuarantineVerbs() (err error) {
	if a.Lessons == nil { // a gateway without a door for mailboxes learns from releases, too
		if err = a.openLessons(); err != nil {
			return err
		}
	}
	if !a.cfg.Digest.Enabled {
		return nil
	}
	if a.digests, err = openDigests(a.cfg, a.Quarantine, a.Queue.Put, a.out.Now, a.out.Log); err != nil {
		return err
	}
	a.laterPlain(a.digests.Store.Close)

	return nil
}

// runDigests sends digests when they are due.
func (a *App) runDigests(ctx context.Context) {
	if a.digests == nil {
		return
	}
	a.running.Go(func() { a.every(ctx, time.Minute, a.sendDigests) })
}

func (a *App) sendDigests(ctx context.Context) {
	now := a.out.Now()
	sent, err := a.digests.Round.Send(ctx, now)
	if err != nil {
		a.out.Log.Error("digests", "error", err)
	}
	if sent > 0 {
		a.out.Log.Info("digests sent", "messages", sent)
	}
	if err := a.digests.Store.Expire(ctx, now.Add(-2*digests.LinkLife)); err != nil {
		a.out.Log.Error("digests expiry", "error", err)
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
func (a *App) links() digestlinks.Links {
	return digestlinks.Links{Digests: a.digests, Quarantine: a.Quarantine, Releaser: a.Releaser(), Lists: a.Lists, Acts: a.acts, Now: a.out.Now,
		Zone: a.cfg.Digest.Zone(), Log: a.out.Log}
}
