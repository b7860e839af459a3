package app

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/policy/records/lessons"
	"postern/policy/records/lists"
	"postern/policy/records/recall"
	"postern/policy/replay"
	"postern/proxy"
	"postern/proxy/console/api"
	"postern/proxy/digests"
	"postern/proxy/health"
	"postern/proxy/queue"
	"postern/proxy/release"
)

// Offline is the table of verbs where no gateway runs: over the same stores, which it opens and locks as a gateway would.
type Offline struct {
	verbs *api.API
	cfg   *config.Config
	log   *slog.Logger
	o     api.Options
	close []func() error
}

// OpenOffline opens what the verbs of one path need, and nothing else: state of a running gateway is unavailable.
func OpenOffline(cfg *config.Config, path string, log *slog.Logger) (_ *Offline, err error) {
	f := &Offline{cfg: cfg, log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	f.o = api.Options{Now: time.Now, Log: log, Queue: queueFolder{filepath.Join(cfg.DataDir, "queue")}, AppPasswords: appPasswords(cfg, time.Now),
		Reload: func() error { return api.ErrNoGateway }, Written: func(context.Context) error { return nil }, Troubles: func() any { return []health.Trouble{} }}
	if f.o.Store, err = api.OpenStore(AdminStore(cfg), log); err != nil {
		return nil, err
	}
	f.close = append(f.close, f.o.Store.Close)
	if err := f.openFor(path); err != nil {
		return nil, err
	}
	f.verbs = api.New(f.o)
	return f, nil
}

// As serves requests in the name of one caller.
func (f *Offline) As(c api.Caller) http.Handler { return f.verbs.As(c) }

// Close closes all that was opened, the last first.
func (f *Offline) Close() (err error) {
	for i := len(f.close) - 1; i >= 0; i-- {
		err = errors.Join(err, f.close[i]())
	}
	return err
}

func (f *Offline) openFor(path string) error {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	first, _, _ = strings.Cut(first, "?")
	switch first {
	case "quarantine", "campaigns", "digests":
		return f.openReleases()
	case "messages", "export":
		return f.openLedger()
	case "lists":
		return f.openLists()
	case "recalls", "sweeps":
		return f.openRecalls()
	case "lessons":
		return errors.Join(f.openLessons(), f.openClassifier())
	case "classifier":
		return errors.Join(f.openClassifier(), f.openFolders())
	case "policy":
		return f.openPolicies()
	}
	return nil
}

func (f *Offline) openLedger() (err error) {
	if f.o.Ledger, err = ReadLedger(f.cfg, f.log); err != nil {
		return err
	}
	f.close = append(f.close, f.o.Ledger.Close)
	return nil
}

func (f *Offline) openLists() (err error) {
	if f.o.Lists, err = lists.Open(ListsStore(f.cfg), lists.Options{}); err != nil {
		return err
	}
	f.close = append(f.close, func() error { return f.o.Lists.Close(context.Background()) })
	return nil
}

// openRecalls opens the recalls, with the ledger that records changes.
func (f *Offline) openRecalls() (err error) {
	if err := f.openLedger(); err != nil {
		return err
	}
	if f.o.Recalls, err = recall.Open(RecallStore(f.cfg), time.Now); err != nil {
		return err
	}
	f.close = append(f.close, f.o.Recalls.Close)
	f.o.Recalls.Tell(recallTold(f.o.Ledger, f.o.Ledger.Fate))
	f.o.Sweep = func(ctx context.Context, o api.SweepOrder) (any, error) { return sweepUser(ctx, f.cfg, f.o.Recalls, o) }
	return nil
}

func (f *Offline) openLessons() (err error) {
	if f.o.Lessons, err = lessons.Open(LessonsFile(f.cfg), lessons.Options{}); err != nil {
		return err
	}
	f.close = append(f.close, f.o.Lessons.Close)
	return nil
}

// openClassifier opens the classifier, unless it is off.
func (f *Offline) openClassifier() error {
	if !f.cfg.FilterEnabled("classify", true) {
		return nil
	}
	l, err := OpenClassifier(f.cfg, f.log, time.Now)
	if err != nil {
		return err
	}
	f.close = append(f.close, l.Close)
	f.o.Classifier, f.o.Uncertain = l.verbs(), l.lister()
	return nil
}

// openFolders lets the classifier read mailboxes of labelled mail.
func (f *Offline) openFolders() error {
	v, ok := f.o.Classifier.(classifierVerbs)
	if !ok {
		return nil
	}
	teacher, done, err := openTeacher(f.cfg, f.log)
	f.close = append(f.close, done)
	if err != nil || teacher == nil {
		return err
	}
	l, err := newLearnFolders(f.cfg, teacher, f.log, time.Now)
	if err == nil {
		v.folders = l.read
	}

	return err
}

func (f *Offline) openPolicies() error {
	versions, err := replay.OpenVersions(PolicyStore(f.cfg))
	if err != nil {
		return err
	}
	f.close = append(f.close, versions.Close)
	if err := errors.Join(f.openLedger(), f.openLists()); err != nil {
		return err
	}
	p := &Policies{Config: f.cfg, Versions: versions, Ledger: f.o.Ledger, Lists: f.o.Lists, Now: time.Now, Reload: func() error { return errors.New("no gateway runs with this configuration") }}
	f.o.Policies = p.verbs()
	return nil
}

// openReleases opens the releases of held mail: released mail goes to the queue's folder, from which a gateway delivers
// it once it runs.
func (f *Offline) openReleases() (err error) {
	if err := f.openRecalls(); err != nil {
		return err
	}
	if err := f.openLists(); err != nil {
		return err
	}
	f.o.Quarantine, err = OpenQuarantine(f.cfg, f.log, time.Now, heldTold(f.o.Ledger.Fate))
	if err != nil {
		return err
	}
	f.close = append(f.close, f.o.Quarantine.Close)
	r := &release.Releaser{Quarantine: f.o.Quarantine, Route: releaseRoute(f.cfg), Put: f.put, Grants: f.o.Recalls, Lists: f.o.Lists, Log: f.log, Ledger: f.o.Ledger, Unattended: true}
	if r.LetIn, err = letIn(f.cfg); err != nil {
		return err
	}
	teacher, done, err := openTeacher(f.cfg, f.log)
	r.Teacher, f.close = teacher, append(f.close, done)
	f.o.Release, f.o.LearnSpam = r.Release, r.LearnSpam
	f.o.SendDigests = func(ctx context.Context, user string, try bool) ([]digests.Report, error) {
		return sendDigestsNow(ctx, f.cfg, f.o.Quarantine, f.put, user, try)
	}
	return err
}

func (f *Offline) put(_ context.Context, item proxy.QueueItem, c mail.Copy) error {
	dir := filepath.Join(f.cfg.DataDir, "queue")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return queue.WriteItem(dir, item, c)
}

// queueFolder is the queue of a stopped gateway: it finds the requests when it starts.
type queueFolder struct{ dir string }

// All implements api.Queue.
func (q queueFolder) All() (any, error) {
	list, err := queue.List(q.dir)
	if list == nil {
		list = []queue.Status{}
	}
	return list, err
}

// Retry implements api.Queue.
func (q queueFolder) Retry(id, by string) error { return q.request(queue.VerbRetry, id, by) }

// Delete implements api.Queue.
func (q queueFolder) Delete(id, by string) error { return q.request(queue.VerbDelete, id, by) }

func (q queueFolder) request(verb queue.Verb, id, by string) error {
	if !mail.ValidID(id) {
		return known(queue.ErrNotFound)
	}
	return known(queue.Request(q.dir, verb, id, by))
}
