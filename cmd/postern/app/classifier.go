package app

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"postern/filters/classify"
	"postern/filters/classify/classifier"
	"postern/filters/classify/lessonlog"
	"postern/internal/config"
	"postern/internal/state"
	"postern/proxy/console/api"
)

// ClassifierFile is where the classifier's log is.
func ClassifierFile(cfg *config.Config) string { return filepath.Join(cfg.DataDir, "classifier.db") }

// Learning is a classifier with its log.
type Learning struct {
	*classifier.Classifier
	Book   *lessonlog.Book
	stream *state.Stream // nil without Redis
	why    string        // the last error of reading the log
	// folders reads the mailboxes of labelled mail; nil if nothing is learned from people.
	folders func(ctx context.Context) []FolderReport
}

func (l *Learning) readFolders(ctx context.Context) (any, error) {
	if l.folders == nil {
		return nil, fmt.Errorf("%w: nothing is learned from people: [mail_access] learn = false", api.ErrNotNow)
	}

	return l.folders(ctx), nil
}

// Close writes the snapshot and closes the log.
func (l *Learning) Close() error {
	return errors.Join(l.Classifier.Close(), l.closeLog())
}

func (l *Learning) closeLog() error {
	err := l.Book.Close()
	if l.stream != nil {
		err = errors.Join(err, l.stream.Close())
	}

	return err
}

// OpenClassifier opens the classifier of a configuration, and makes it if it isn't there.
func OpenClassifier(cfg *config.Config, log *slog.Logger, now func() time.Time) (*Learning, error) {
	settings, err := classify.Configured(cfg.Filter("classify"))
	if err != nil {
		return nil, fmt.Errorf("filter classify: %w", err)
	}
	key, err := keyFile(filepath.Join(cfg.DataDir, "classifier.key"))
	if err != nil {
		return nil, err
	}
	book, err := lessonlog.Open(ClassifierFile(cfg))
	if err != nil {
		return nil, err
	}
	o := classifier.Options{Book: book, Hostname: cfg.Hostname, HeaderName: cfg.SMTP.HeaderName, Snapshot: filepath.Join(cfg.DataDir, "classifier.model"),
		Rules: lessonlog.Rules{Quorum: settings.Quorum, Daily: settings.Daily}, Logger: log, Now: now}
	sum := sha256.Sum256(key)
	copy(o.Key[:], sum[:])
	l := &Learning{Book: book}
	if len(cfg.State.Redis) > 0 {
		if l.stream, err = openStream(cfg); err != nil {
			return nil, errors.Join(err, book.Close())
		}
		o.Log = lessonlog.Share(book, l.stream, hex.EncodeToString(sum[16:]))
	}
	if l.Classifier, err = classifier.Open(context.Background(), o); err != nil {
		return nil, errors.Join(err, l.closeLog())
	}

	return l, nil
}

// openStream opens the log that gateways share.
func openStream(cfg *config.Config) (*state.Stream, error) {
	o, err := redisOptions(cfg)
	if err != nil {
		return nil, err
	}

	return state.OpenStream(o, "lessons")
}

// SealKey is the secret of the seals that tell which message lies in a mailbox.
func SealKey(cfg *config.Config) ([]byte, error) {
	return keyFile(filepath.Join(cfg.DataDir, "judged.key"))
}

// knownClassifier opens what a gateway has learned, nil if it never learned anything.
func knownClassifier(cfg *config.Config, log *slog.Logger) (*Learning, error) {
	if !cfg.FilterEnabled("classify", true) {
		return nil, nil
	}
	if _, err := os.Stat(ClassifierFile(cfg)); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}

	return OpenClassifier(cfg, log, time.Now)
}

// openClassifier opens the classifier of this gateway, unless its filter is off.
func (a *App) openClassifier() (err error) {
	if !a.cfg.FilterEnabled("classify", true) {
		return nil
	}
	if a.Learning, err = OpenClassifier(a.cfg, a.out.Log, a.out.Now); err != nil {
		return err
	}
	a.out.Classifier = a.Learning
	a.laterPlain(a.Learning.Close)

	return nil
}

// lister lists what it was least sure about: nil for none.
func (l *Learning) lister() func(ctx context.Context, limit int) (any, error) {
	if l == nil {
		return nil
	}

	return func(ctx context.Context, limit int) (any, error) { return l.Book.Uncertain(ctx, limit) }
}

// verbs shows the classifier to the table of verbs: nil for none.
func (l *Learning) verbs() api.Classifier {
	if l == nil {
		return nil
	}

	return classifierVerbs{l}
}

type classifierVerbs struct{ *Learning }

// Status implements api.Classifier.
func (v classifierVerbs) Status(ctx context.Context) (any, error) { return v.Classifier.Status(ctx) }

// Events implements api.Classifier.
func (v classifierVerbs) Events(ctx context.Context, after int64, limit int) (any, error) {
	all := []lessonlog.Event{}
	err := v.Book.Each(ctx, after, func(e *lessonlog.Event) error {
		if len(all) == cmp.Or(limit, 100) {
			return lessonlog.ErrEnough
		}
		all = append(all, *e)

		return nil
	})

	return all, err
}

// Change implements api.Classifier.
func (v classifierVerbs) Change(ctx context.Context, what api.Learning, by string) (any, error) {
	var err error
	switch what := what.(type) {
	case api.ReadLog:
		err = v.Now(ctx)
	case api.Answer:
		err = v.Answer(ctx, what.ID, what.Spam, by)
	case api.ReadFolders:
		return v.readFolders(ctx)
	case api.Forget:
		err = v.Forget(ctx, what.IDs, what.By)
	case api.RollBack:
		err = v.RollBack(ctx, what.To, by)
	}
	switch {
	case errors.Is(err, lessonlog.ErrNotKept):
		return nil, api.NotFound("the classifier has no such message: it was answered, or is older than a week")
	case errors.Is(err, lessonlog.ErrID), errors.Is(err, classifier.ErrNoEvent):
		return nil, api.BadRequest("%v", err)
	case err != nil:
		return nil, err
	}

	return v.Status(ctx)
}

// How often lessons of other processes are looked for, and the snapshot is written.
const (
	lessonsLook   = 2 * time.Second
	snapshotEvery = 5 * time.Minute
)

func (a *App) catchUp(ctx context.Context) {
	why := ""
	if err := a.Learning.CatchUp(ctx); err != nil && ctx.Err() == nil {
		why = err.Error()
	}
	switch {
	case why == a.Learning.why:
	case why == "":
		a.out.Log.Info("the classifier reads its log again")
	default:
		a.out.Log.Error("the classifier can't read its log: what it learned so far holds", "error", why)
	}
	a.Learning.why = why
}

func (a *App) snapshotClassifier(context.Context) {
	if err := a.Learning.Save(); err != nil {
		a.out.Log.Error("the classifier's snapshot can't be written: it will learn all again at the next start", "error", err)
	}
}
