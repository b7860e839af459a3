package app

import (
	"crypto/sha256"
	"errors"
	"log/slog"
	"slices"
	"time"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/policy/records/lessons"
	"postern/proxy/release"
	"postern/proxy/retrieval"
	"postern/proxy/retrieval/seal"
)

// Releaser releases mail of a running gateway.
func (a *App) Releaser() *release.Releaser {
	return &release.Releaser{Quarantine: a.Quarantine, Grants: a.Recalls, LetIn: a.letIn, Put: a.Queue.Put, Route: releaseRoute(a.cfg), Lists: a.Lists, Teacher: a.teacher, Log: a.out.Log, Ledger: a.Ledger}
}

// releaseRoute gives the next hop for mail that is released to an address that it was not for.
func releaseRoute(cfg *config.Config) func(string) (mail.Route, bool) {
	return func(domain string) (mail.Route, bool) {
		if cfg.Local(domain) {
			return cfg.Route(domain), true
		}
		return outboundRoute(), len(cfg.Outbound.Addresses) > 0
	}
}

// letIn makes the field that lets released mail through the POP3 and IMAP doors, where no gateway runs: nil where there is no
// such door.
func letIn(cfg *config.Config) (func(id string, sum [sha256.Size]byte) []byte, error) {
	if !slices.ContainsFunc(cfg.Doors, func(d config.Door) bool { return !d.Receives() }) {
		return nil, nil
	}
	key, err := SealKey(cfg)
	if err != nil {
		return nil, err
	}
	return func(id string, sum [sha256.Size]byte) []byte {
		return seal.LetIn(key, id, "released", time.Now(), sum)
	}, nil
}

// openTeacher opens what releases teach, where no gateway runs: nil if learning is off.
func openTeacher(cfg *config.Config, log *slog.Logger) (*retrieval.Teacher, func() error, error) {
	nothing := func() error { return nil }
	if !cfg.MailAccess.Learn.On() {
		return nil, nothing, nil
	}
	key, err := SealKey(cfg)
	if err != nil {
		return nil, nothing, err
	}
	journal, err := lessons.Open(LessonsFile(cfg), lessons.Options{Now: time.Now})
	if err != nil {
		return nil, nothing, err
	}
	t := &retrieval.Teacher{Journal: journal, SealKey: key, Log: log}
	if !cfg.FilterEnabled("classify", true) {
		return t, journal.Close, nil
	}
	l, err := OpenClassifier(cfg, log, time.Now)
	if err != nil {
		return nil, nothing, errors.Join(err, journal.Close())
	}
	t.Taught = l.Taught

	return t, func() error { return errors.Join(l.Close(), journal.Close()) }, nil
}
