package app

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/policy/records/recall"
	"postern/proxy/access"
	"postern/proxy/console/api"
	"postern/proxy/digests"
	"postern/proxy/health"
	"postern/proxy/queue"
	"postern/proxy/retrieval/sweep"
)

// AdminStore is where tokens and the log of acts are.
func AdminStore(cfg *config.Config) string { return cfg.Store("admin.db") }

// newAPI makes the table of verbs of a running gateway.
func (a *App) newAPI() *api.API {
	p := &Policies{Config: a.cfg, Versions: a.Versions, Ledger: a.Ledger, Quarantine: a.Quarantine, Now: a.out.Now, Reload: a.reloadPolicy, Lists: a.Lists}
	return api.New(api.Options{Store: a.acts, Ledger: a.Ledger, Tally: a.tally, Recalls: a.Recalls, AdminTables: a.tables, Troubles: func() any {
		if t := a.Troubles(); t != nil {
			return t
		}
		return []health.Trouble{}
	}, Queue: apiQueue{a.Queue, a.dir("queue")}, Guard: a.bans, Now: a.out.Now, Log: a.out.Log,
		Quarantine: a.Quarantine, Release: a.Releaser().Release, LearnSpam: a.Releaser().LearnSpam, Lists: a.Lists,
		Policies: p.verbs(), Lessons: a.Lessons, Classifier: a.Learning.verbs(), Uncertain: a.Learning.lister(), AppPasswords: appPasswords(a.cfg, a.out.Now), Reload: a.reloadAgain, Written: a.Ledger.Flush,
		SendDigests: func(ctx context.Context, user string, try bool) ([]digests.Report, error) {
			return sendDigestsNow(ctx, a.cfg, a.Quarantine, a.Queue.Put, user, try)
		},
		Sweep: func(ctx context.Context, o api.SweepOrder) (any, error) { return sweepUser(ctx, a.cfg, a.Recalls, o) },
	})
}

// reloadPolicy puts a changed policy in force: by a reload where there is a configuration to read again.
func (a *App) reloadPolicy() error {
	if a.reread == nil {
		return a.rejudge()
	}
	return a.reloadAgain()
}

// apiQueue shows the queue to the table of verbs.
type apiQueue struct {
	queue *queue.Queue
	dir   string
}

// All implements api.Queue.
func (q apiQueue) All() (any, error) {
	list, err := q.queue.List()
	if list == nil {
		list = []queue.Status{}
	}
	return list, err
}

// Retry implements api.Queue.
func (q apiQueue) Retry(id, by string) error {
	return q.orLater(queue.VerbRetry, id, by, q.queue.Retry(id, by))
}

// Delete implements api.Queue.
func (q apiQueue) Delete(id, by string) error {
	return q.orLater(queue.VerbDelete, id, by, q.queue.Delete(id, by))
}

// orLater leaves a request for a message that is being delivered now.
func (q apiQueue) orLater(verb queue.Verb, id, by string, err error) error {
	if errors.Is(err, queue.ErrBusy) {
		err = queue.Request(q.dir, verb, id, by)
	}
	return known(err)
}

// known turns the error for a missing item into "not found".
func known(err error) error {
	if errors.Is(err, queue.ErrNotFound) || errors.Is(err, access.ErrNoAppPassword) {
		return api.NotFound(err.Error())
	}
	return err
}

// apiAppPasswords shows the app passwords to the table of verbs.
type apiAppPasswords struct {
	store *access.AppPasswords
	now   func() time.Time
}

func appPasswords(cfg *config.Config, now func() time.Time) apiAppPasswords {
	return apiAppPasswords{access.OpenAppPasswords(AppPasswordsFile(cfg), false), now}
}

// List implements api.AppPasswords.
func (p apiAppPasswords) List(user string) ([]api.AppPassword, error) {
	all, err := p.store.List(user)
	var told []api.AppPassword
	for _, one := range all {
		told = append(told, api.AppPassword{User: one.User, Name: one.Name, Protocols: one.Protocols, Created: one.Created})
	}
	return told, err
}

// Add implements api.AppPasswords.
func (p apiAppPasswords) Add(user, name, real string, protocols []mail.Protocol) (string, error) {
	return p.store.Add(user, name, real, protocols, p.now())
}

// Remove implements api.AppPasswords.
func (p apiAppPasswords) Remove(user, name string) error { return known(p.store.Remove(user, name)) }

// sweepUser moves recalled messages out of one user's mailboxes.
func sweepUser(ctx context.Context, cfg *config.Config, recalls *recall.List, order api.SweepOrder) (any, error) {
	routes, err := MailRoutes(cfg)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(routes, func(r access.Route) bool { return r.Name == order.Backend })
	if i < 0 {
		return nil, api.BadRequest("there is no [mail_backend.%q]", order.Backend)
	}
	all, err := recalls.All(ctx)
	if err != nil {
		return nil, err
	}
	o := sweep.Options{Route: routes[i], To: order.To, DryRun: order.DryRun}
	o.Recalls, _ = sweep.Searchable(all)
	if o.SealKey, err = keyFile(filepath.Join(cfg.DataDir, "judged.key")); err != nil {
		return nil, err
	}
	return sweep.User(ctx, o, order.User), nil
}
