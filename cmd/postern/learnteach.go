package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net/http"
	"os"
	"strconv"
	"time"

	"postern/cmd/postern/app"
	"postern/filters"
	"postern/filters/classify/classifier"
	"postern/filters/classify/lessonlog"
	"postern/internal/mail"
	"postern/policy/records/ledger"
	"postern/proxy/retrieval"
)

// teachCommand teaches the classifier mail of one kind.
type teachCommand struct {
	where
	output
	Paths []string `arg:"" name:"path" help:"Messages, mbox files, Maildirs or folders; - is standard input."`

	live bool // paths that are gone meanwhile are left out
}

type learnSpamCommand struct{ teachCommand }

// Run teaches spam.
func (c *learnSpamCommand) Run(w world) error { return c.teach(w, true) }

type learnHamCommand struct{ teachCommand }

// Run teaches honest mail.
func (c *learnHamCommand) Run(w world) error { return c.teach(w, false) }

// lessonsAtOnce is how many lessons are written at once.
const lessonsAtOnce = 100

func (c *teachCommand) teach(w world, spam bool) error {
	cfg, err := c.read()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	n, err := c.write(w, spam)
	if err != nil {
		return err
	}
	kind := map[bool]string{true: "spam", false: "ham"}[spam]
	var s classifier.Status
	if err := act(w, c.where, http.MethodPost, "/classifier/"+kind, map[string]any{"messages": n}, &s); err != nil {
		return plainly(err)
	}
	text := fmt.Sprintf("%d messages taught as %s; the classifier has learned from %d spam and %d ham\n", n, kind, s.Spam, s.Ham)
	if err := c.tell(w, struct {
		Messages int `json:"messages"`
		classifier.Status
	}{n, s}, text); err != nil {
		return err
	}
	if n == 0 {
		return errNo
	}

	return nil
}

// each reads all messages.
func (c *teachCommand) each(w world, take func(source) error) error {
	if !c.live {
		return eachMessage(w.in, c.Paths, take)
	}
	for _, path := range c.Paths {
		if err := eachMessage(w.in, []string{path}, take); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}

	return nil
}

// write puts the lessons into the log. A running gateway sees them there.
func (c *teachCommand) write(w world, spam bool) (n int, err error) {
	cfg, err := c.read()
	if err != nil {
		return 0, err
	}
	l, err := app.OpenClassifier(cfg, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	sealKey, err := app.SealKey(cfg)
	if err != nil {
		return 0, err
	}
	bar := newProgress(w, "learn")
	defer bar.done()
	var events []lessonlog.Event
	flush := func() error {
		defer func() { events = events[:0] }()
		return l.Append(w.ctx, events...)
	}
	err = c.each(w, func(s source) error {
		m := mail.NewMessage(s.raw)
		sha, err := retrieval.Identity(sealKey, m)
		if err != nil {
			return err
		}
		e, err := l.Event(m, filters.Lesson{Spam: spam, SHA256: sha, By: "admin", Way: lessonlog.Import, Trusted: true})
		if err != nil {
			return err
		}
		n++
		bar.show(endless, n)
		if events = append(events, e); len(events) == lessonsAtOnce {
			err = flush()
		}

		return errors.Join(err, w.ctx.Err())
	})

	return n, errors.Join(err, flush())
}

type learnFoldersCommand struct {
	where
	output
}

// Run reads the mailboxes of labelled mail.
func (c *learnFoldersCommand) Run(w world) error {
	var reports []app.FolderReport
	if err := act(w, c.where, http.MethodPost, "/classifier/folders", nil, &reports); err != nil {
		return plainly(err)
	}
	text, failed := "", false
	for _, r := range reports {
		text += fmt.Sprintf("%s (%s): %d new messages\n", r.Folder, r.Label, r.Messages)
		if r.Error != "" {
			text, failed = text+"  "+r.Error+"\n", true
		}
	}
	if len(reports) == 0 {
		text = "there is no [[learn_folder]]\n"
	}
	if err := c.tell(w, reports, text); err != nil {
		return err
	}
	if failed {
		return errNo
	}

	return nil
}

type learnAuditCommand struct {
	where
	output
	Spam  []string `placeholder:"ID" help:"Messages of the list that are spam."`
	Ham   []string `placeholder:"ID" help:"Messages of the list that are honest."`
	Limit int      `default:"50" help:"How many are listed."`
}

// Run lists what the classifier was least sure about, or answers.
func (c *learnAuditCommand) Run(w world) error {
	for spam, ids := range map[bool][]string{true: c.Spam, false: c.Ham} {
		for _, id := range ids {
			if err := act(w, c.where, http.MethodPost, "/classifier/audit", map[string]any{"id": id, "spam": spam}, nil); err != nil {
				return refused(w, id, err)
			}
			if err := c.tell(w, deed{id, "learned"}, id+": learned\n"); err != nil {
				return err
			}
		}
	}
	if len(c.Spam)+len(c.Ham) > 0 {
		return nil
	}
	var all []lessonlog.Uncertain
	if err := act(w, c.where, http.MethodGet, "/classifier/audit?limit="+strconv.Itoa(c.Limit), nil, &all); err != nil {
		return plainly(err)
	}
	text := ""
	for _, u := range all {
		text += fmt.Sprintf("%s  %s  %2.0f %% spam  postern explain %s\n", u.ID, u.Time.Local().Format("2006-01-02 15:04"), 100/(1+math.Exp(-u.Odds)), u.Message)
	}
	if text == "" {
		text = "there is no message that the classifier was not sure about\n"
	}

	return c.tell(w, all, text)
}

type learnForgetCommand struct {
	where
	output
	IDs []string `arg:"" name:"id" help:"The messages, as learn log shows them, or the SHA-256 of their octets."`
}

// Run forgets.
func (c *learnForgetCommand) Run(w world) error {
	var s classifier.Status
	if err := act(w, c.where, http.MethodPost, "/classifier/forget", map[string]any{"ids": c.IDs}, &s); err != nil {
		return plainly(err)
	}

	return c.tell(w, s, fmt.Sprintf("forgotten; the classifier has learned from %d spam and %d ham\n", s.Spam, s.Ham))
}

type learnRollbackCommand struct {
	where
	output
	To int64 `arg:"" help:"The number of the last event that is to hold, as learn log shows it; 0 forgets everything."`
}

// Run rolls back.
func (c *learnRollbackCommand) Run(w world) error {
	var s classifier.Status
	if err := act(w, c.where, http.MethodPost, "/classifier/rollback", map[string]any{"to": c.To}, &s); err != nil {
		return plainly(err)
	}

	return c.tell(w, s, fmt.Sprintf("rolled back to event %d; the classifier has learned from %d spam and %d ham\n", c.To, s.Spam, s.Ham))
}

type learnLogCommand struct {
	where
	output
	After int64 `placeholder:"N" help:"What came behind this event."`
	Limit int   `default:"100" help:"How many at most."`
}

// event is one event of the log as the table of verbs tells it.
type event struct {
	lessonlog.Event
	ID string `json:"id"`
}

// Run lists.
func (c *learnLogCommand) Run(w world) error {
	var all []event
	path := "/classifier/log?after=" + strconv.FormatInt(c.After, 10) + "&limit=" + strconv.Itoa(max(c.Limit, 1))
	if err := act(w, c.where, http.MethodGet, path, nil, &all); err != nil {
		return plainly(err)
	}
	for _, e := range all {
		if err := c.tell(w, e, eventLine(e)+"\n"); err != nil {
			return err
		}
	}

	return nil
}

func eventLine(e event) string {
	said := map[bool]string{true: "spam", false: "ham"}[e.Spam]
	switch e.Kind {
	case lessonlog.Taught:
	case lessonlog.Forgotten:
		said = string(e.Kind)
	case lessonlog.RolledBack:
		return fmt.Sprintf("%7d  %s  rolled back %d to %d  by %s (%s)", e.Seq, e.Time.Local().Format("2006-01-02 15:04"), e.From, e.To, ledger.Printable(e.By), ledger.Printable(e.Way))
	}

	return fmt.Sprintf("%7d  %s  %-9s  %s  by %s (%s)", e.Seq, e.Time.Local().Format("2006-01-02 15:04"), said, e.ID,
		cmp.Or(ledger.Printable(e.By), "anybody"), ledger.Printable(e.Way))
}
