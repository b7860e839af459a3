package main

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"postern/cmd/postern/app"
	"postern/filters/classify"
	"postern/filters/classify/classifier"
	"postern/internal/config"
	"postern/policy/records/ledger"
	"postern/policy/records/lessons"
)

type learnCommand struct {
	Status learnStatusCommand `cmd:"" help:"How many lessons there are."`
	List   learnListCommand   `cmd:"" help:"The lessons, the newest first."`
	Undo   learnUndoCommand   `cmd:"" help:"${learn_undo}"`

	Spam     learnSpamCommand     `cmd:"" help:"${learn_spam}"`
	Ham      learnHamCommand      `cmd:"" help:"${learn_ham}"`
	Log      learnLogCommand      `cmd:"" help:"What the classifier was told: by whom, by which way and when."`
	Folders  learnFoldersCommand  `cmd:"" help:"${learn_folders}"`
	Import   learnImportCommand   `cmd:"" help:"Teach the classifier from the Maildirs of a mail server: users' spam folders, and what they read and kept."`
	Audit    learnAuditCommand    `cmd:"" help:"${learn_audit}"`
	Forget   learnForgetCommand   `cmd:"" help:"${learn_forget}"`
	Rollback learnRollbackCommand `cmd:"" help:"${learn_rollback}"`

	Evaluate learnEvaluateCommand `cmd:"" help:"How good the classifier would be on labelled mail of yours, beside bogofilter if asked."`

	Correspondents learnCorrespondentsCommand `cmd:"" help:"${learn_correspondents}"`
}

func openLessons(f where) (*lessons.Journal, error) {
	cfg, err := f.read()
	if err != nil {
		return nil, err
	}
	if err := enter(cfg.DataDir, app.LessonsFile(cfg)); err != nil {
		return nil, err
	}
	return lessons.Open(app.LessonsFile(cfg), lessons.Options{})
}

type learnStatusCommand struct {
	where
	output
}

// learnStatus is what users taught, and what the classifier made of it.
type learnStatus struct {
	lessons.Status
	Classifier *classifier.Status `json:"classifier,omitempty"`
}

// classifier says what the classifier knows, in a sentence.
func (s learnStatus) classifier(cfg *config.Config) string {
	if s.Classifier == nil {
		return "the classifier is off\n"
	}
	settings, err := classify.Configured(cfg.Filter("classify"))
	k := s.Classifier
	text := fmt.Sprintf("the classifier has learned from %d spam and %d ham", k.Spam, k.Ham)
	if k.Waiting > 0 {
		text += fmt.Sprintf("; %d more messages wait until another user says the same", k.Waiting)
	}
	if err == nil && (k.Spam < settings.Spam || k.Ham < settings.Ham) {
		text += fmt.Sprintf("; it says nothing before %d and %d", settings.Spam, settings.Ham)
	}

	return text + "\n"
}

// Run counts.
func (c *learnStatusCommand) Run(w world) error {
	var s learnStatus
	cfg, err := c.read()
	if err != nil {
		return err
	}
	if s.Status, err = c.lessons(w, cfg); err != nil {
		return none(w, err)
	}
	if cfg.FilterEnabled("classify", true) {
		s.Classifier = &classifier.Status{}
		if err := act(w, c.where, http.MethodGet, "/classifier", nil, s.Classifier); err != nil {
			return plainly(err)
		}
	}
	if c.JSON {
		return printJSON(w, s)
	}
	newest := "never"
	if !s.Newest.IsZero() {
		newest = s.Newest.Local().Format("2006-01-02 15:04")
	}
	_, err = fmt.Fprintf(w.stdout, `%8d  spam
%8d  no spam
%8d  taken back
%8d  releases wanted: out of Junk, but masked
%8d  over a user's daily measure, not kept
%8d  behind the first of a large move, not looked at
%8d  of sessions whose login is in doubt, not looked at
%8d  users; the last lesson came %s
%8d  messages kept
%s`, s.Spam, s.Ham, s.Undone, s.Wishes, s.Capped, s.Bulk, s.Login, s.Users, newest, s.Messages, s.classifier(cfg))
	return err
}

// lessons counts what users taught: nothing where only admins did.
func (c *learnStatusCommand) lessons(w world, cfg *config.Config) (s lessons.Status, err error) {
	j, err := openLessons(c.where)
	if missing, ok := errors.AsType[notYet](err); ok && missing.path == app.LessonsFile(cfg) {
		return s, enter(cfg.DataDir, app.ClassifierFile(cfg))
	}
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, j.Close()) }()

	return j.Status(w.ctx)
}

type learnListCommand struct {
	where
	output
	User  string `placeholder:"LOGIN" help:"Everything of one user."`
	Since string `placeholder:"DATE" help:"Everything from this day on, as in 2026-11-23."`
	Limit int    `default:"100" help:"How many at most."`
}

// Run lists.
func (c *learnListCommand) Run(w world) (err error) {
	f := lessons.Filter{User: c.User, Limit: c.Limit}
	if c.Since != "" {
		if f.Since, err = time.ParseInLocation(time.DateOnly, c.Since, time.Local); err != nil {
			return usageError{fmt.Errorf("--since: %q is no day such as 2026-11-23", c.Since)}
		}
	}
	j, err := openLessons(c.where)
	if err != nil {
		return none(w, err)
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	all, err := j.List(w.ctx, f)
	for _, l := range all {
		err = c.tell(w, l, lessonLine(l)+"\n")
		if err != nil {
			return err
		}
	}
	return err
}

func lessonLine(l lessons.Lesson) string {
	said := map[bool]string{true: "spam", false: "ham "}[l.Spam]
	line := fmt.Sprintf("%6d  %s  %s  %-7s  %s  %s  %s", l.ID, l.Time.Local().Format("2006-01-02 15:04"), said, l.How,
		ledger.Printable(l.User), ledger.Printable(l.Place), ledger.Printable(l.MessageID))
	if !l.Undone.IsZero() {
		line += fmt.Sprintf("  taken back %s by %s", l.Undone.Local().Format("2006-01-02 15:04"), ledger.Printable(l.UndoneBy))
	}
	return line
}

type learnUndoCommand struct {
	where
	output
	IDs []int64 `arg:"" name:"id" help:"Their ids, as learn list shows them."`
}

// Run takes back.
func (c *learnUndoCommand) Run(w world) (err error) {
	if cfg, err := c.read(); err != nil {
		return err
	} else if err := enter(cfg.DataDir, app.LessonsFile(cfg)); err != nil {
		return err
	}
	for _, id := range c.IDs {
		text := strconv.FormatInt(id, 10)
		if err := act(w, c.where, http.MethodPost, "/lessons/"+text+"/undo", nil, nil); err != nil {
			return refused(w, text, err)
		}
		if err := c.tell(w, deed{text, "undone"}, ""); err != nil {
			return err
		}
	}
	if !c.JSON {
		_, err = fmt.Fprintln(w.stdout, "taken back")
	}
	return err
}
