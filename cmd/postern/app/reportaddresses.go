package app

import (
	"context"
	"errors"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/policy/records/lessons"
	"postern/proxy"
	"postern/proxy/reported"
	"postern/proxy/retrieval"
)

// reportAddresses takes what users send to the addresses for misjudged mail.
type reportAddresses struct {
	spam    map[string]bool // by the key of the address; false is for honest mail
	trusted map[string]bool
	teacher *retrieval.Teacher
}

func (a *App) openReportAddresses() error {
	a.Gateway.Reports = newReportAddresses(a.cfg, a.teacher)
	return nil
}

// newReportAddresses gives nil if there are none.
func newReportAddresses(cfg *config.Config, teacher *retrieval.Teacher) proxy.Reports {
	r := &reportAddresses{spam: map[string]bool{}, trusted: map[string]bool{}, teacher: teacher}
	each(cfg.ReportAddresses.Spam, func(key string) { r.spam[key] = true })
	each(cfg.ReportAddresses.Ham, func(key string) { r.spam[key] = false })
	each(cfg.ReportAddresses.Trusted, func(key string) { r.trusted[key] = true })
	if len(r.spam) == 0 || teacher == nil {
		return nil
	}

	return r
}

// each gives the keys of addresses, which the configuration has checked.
func each(list []string, take func(key string)) {
	for _, text := range list {
		if a, err := mail.ParseAddress(text); err == nil {
			take(a.Key())
		}
	}
}

// For implements proxy.Reports.
func (r *reportAddresses) For(a mail.Address) (spam, ok bool) {
	spam, ok = r.spam[a.Key()]
	return spam, ok
}

// Take implements proxy.Reports. Who reports is the login; where there is none, as from a server behind us, the sender.
func (r *reportAddresses) Take(ctx context.Context, tx *mail.Transaction, spam bool) (int, error) {
	all, err := reported.Messages(tx.Message, lessons.MaxContent)
	switch {
	case errors.Is(err, reported.ErrNone), errors.Is(err, reported.ErrMany), errors.Is(err, reported.ErrOutlook):
		return 0, proxy.UnusableReport{Err: err}
	case err != nil:
		return 0, err
	}
	user := tx.Session.User
	if user == "" {
		user = tx.From.String()
	}
	trusted := false
	if a, err := mail.ParseAddress(user); err == nil {
		trusted = r.trusted[a.Key()]
	}
	for _, m := range all {
		l := lessons.Lesson{User: user, Door: tx.Session.Door, Spam: spam, How: lessons.Report, Admin: trusted}
		if err := r.teacher.Take(ctx, l, m); err != nil {
			return 0, err
		}
	}

	return len(all), nil
}
