package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/policy/records/lessons"
	"postern/proxy/access"
	"postern/proxy/health"
	"postern/proxy/retrieval"
	"postern/proxy/retrieval/folders"
	boxes "postern/proxy/retrieval/mailbox"
)

// learnFolders reads mailboxes of labelled mail from time to time.
type learnFolders struct {
	all     []*learnFolder
	teacher *retrieval.Teacher
	file    string // where the places are
	log     *slog.Logger
	now     func() time.Time

	mu     sync.Mutex
	places map[string]folders.Place
}

type learnFolder struct {
	config.LearnFolder
	folder folders.Folder
	busy   sync.Mutex // read by one at a time
	// failed is why the last reading failed, "" if it did not; since when. The mutex of learnFolders guards them.
	failed string
	since  time.Time
}

// FolderReport is what became of one reading.
type FolderReport struct {
	Folder   string `json:"folder"`
	Label    string `json:"label"`
	Messages int    `json:"messages"`
	Error    string `json:"error,omitempty"`
}

func (f *learnFolder) key() string { return f.Backend + " " + f.User + " " + f.Folder + " " + f.Label }

func (a *App) openFolders() (err error) {
	if a.teacher == nil {
		return nil
	}
	if a.folders, err = newLearnFolders(a.cfg, a.teacher, a.out.Log, a.out.Now); err != nil {
		return err
	}
	if a.Learning != nil {
		a.Learning.folders = a.folders.read
	}

	return nil
}

func newLearnFolders(cfg *config.Config, teacher *retrieval.Teacher, log *slog.Logger, now func() time.Time) (l *learnFolders, err error) {
	l = &learnFolders{teacher: teacher, file: filepath.Join(cfg.DataDir, "folders.json"), log: log, now: now}
	if l.places, err = readPlaces(l.file); err != nil {
		return nil, err
	}
	routes, err := MailRoutes(cfg)
	if err != nil {
		return nil, err
	}
	for i, c := range cfg.LearnFolders {
		at := slices.IndexFunc(routes, func(r access.Route) bool { return r.Name == c.Backend })
		if at < 0 {
			return nil, fmt.Errorf("learn_folder[%d].backend: there is no [mail_backend.%q]", i, c.Backend)
		}
		password, err := firstLine(fmt.Sprintf("learn_folder[%d].password_file", i), c.PasswordFile)
		if err != nil {
			return nil, err
		}
		l.all = append(l.all, &learnFolder{LearnFolder: c, folder: folders.Folder{Servers: routes[at].IMAP, Login: boxes.Login{User: c.User, Password: password}, Name: c.Folder}})
	}

	return l, nil
}

func readPlaces(file string) (map[string]folders.Place, error) {
	places := map[string]folders.Place{}
	text, err := os.ReadFile(filepath.Clean(file))
	if errors.Is(err, fs.ErrNotExist) {
		return places, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &places)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w; without it all of [[learn_folder]] is read again, which teaches nothing twice", file, err)
	}

	return places, nil
}

// run reads each mailbox now and then.
func (l *learnFolders) run(ctx context.Context, start func(func())) {
	if l == nil {
		return
	}
	for _, f := range l.all {
		start(func() {
			tick := time.NewTicker(time.Duration(f.Every))
			defer tick.Stop()
			for {
				l.one(ctx, f)
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
}

// read reads all mailboxes now.
func (l *learnFolders) read(ctx context.Context) (reports []FolderReport) {
	for _, f := range l.all {
		reports = append(reports, l.one(ctx, f))
	}

	return reports
}

// one reads what is new in a mailbox.
func (l *learnFolders) one(ctx context.Context, f *learnFolder) FolderReport {
	f.busy.Lock()
	defer f.busy.Unlock()
	l.mu.Lock()
	from := l.places[f.key()]
	l.mu.Unlock()
	r := FolderReport{Folder: f.Folder, Label: f.Label}
	at, err := folders.Read(ctx, f.folder, from, lessons.MaxContent, func(m *mail.Message) error {
		r.Messages++
		return l.teacher.Take(ctx, lessons.Lesson{User: "folder " + f.Folder, Door: f.Backend, Place: f.Folder, Spam: f.Label == "spam", How: lessons.Folder, Admin: f.Trusted.On()}, m)
	})
	if ctx.Err() != nil {
		return r // the gateway ends
	}
	if at != from {
		err = errors.Join(err, l.keep(f.key(), at))
	}
	if err != nil {
		r.Error = err.Error()
	}
	l.note(f, r.Error)

	return r
}

// keep writes down how far a mailbox was read.
func (l *learnFolders) keep(key string, at folders.Place) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.places[key] = at
	text, err := json.Marshal(l.places)
	if err == nil {
		err = os.WriteFile(l.file+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(l.file+".new", l.file)
	}

	return err
}

func (l *learnFolders) note(f *learnFolder, failed string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if failed != "" && f.failed == "" {
		f.since = l.now()
		l.log.Error("a mailbox of labelled mail can't be read", "backend", f.Backend, "folder", f.Folder, "error", failed)
	}
	f.failed = failed
}

func (l *learnFolders) troubles() (all []health.Trouble) {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.all {
		if f.failed != "" {
			all = append(all, health.Trouble{Kind: "learn_folder", Subject: f.Backend + " " + f.Folder, Since: f.since,
				Text: fmt.Sprintf("the mailbox %s at %s can't be read, so nothing is learned from it: %s", f.Folder, f.Backend, f.failed)})
		}
	}

	return all
}
