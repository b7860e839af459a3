package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
)

// Status is what an admin sees of a message.
type Status struct {
	ID     string `json:"id"`
	Folder string `json:"folder"` // "queue", "failed" or "expired"
	Route  string `json:"route"`
	From   string `json:"from"`
	Size   int64  `json:"size"`
	Why    string `json:"why"`
	// Queued, Next and Ended are the times; Ended only of those given up.
	Queued     time.Time         `json:"queued"`
	Next       time.Time         `json:"next,omitzero"`
	Ended      time.Time         `json:"ended,omitzero"`
	Attempts   int               `json:"attempts"`
	Recipients []RecipientStatus `json:"recipients"`
}

// RecipientStatus is one recipient's.
type RecipientStatus struct {
	Address string `json:"address"`
	Done    bool   `json:"done"`
	Reply   string `json:"reply,omitempty"`
}

// List reads a queue's folder, whether or not a queue runs on it: the waiting first, each folder by id. A file that can't
// be read is named with the error as Why.
func List(dir string) ([]Status, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	var all []Status
	for _, folder := range []string{"", failedDir, expiredDir} {
		ids := names(filepath.Join(dir, folder))
		slices.Sort(ids)
		for _, id := range ids {
			if !mail.ValidID(id) {
				continue
			}
			s, err := status(dir, folder, id)
			switch {
			case errors.Is(err, fs.ErrNotExist): // gone in the meantime
			case err != nil:
				all = append(all, Status{ID: id, Folder: folderName(folder), Why: err.Error()})
			default:
				all = append(all, s)
			}
		}
	}
	return all, nil
}

// List is List of this queue's folder.
func (q *Queue) List() ([]Status, error) { return List(q.o.Dir) }

func folderName(folder string) string {
	if folder == "" {
		return "queue"
	}
	return folder
}

func status(dir, folder, id string) (Status, error) {
	var meta stored
	m, err := mail.OpenStored(filepath.Join(dir, folder, id), &meta)
	if err != nil {
		return Status{}, err
	}
	defer m.Close() // it was only read
	item := meta.Item
	s := Status{ID: id, Folder: folderName(folder), Route: item.Route, From: item.From.String(), Size: m.Size(), Why: item.Why, Queued: meta.Queued}
	if meta.Ended != nil {
		s.Ended = *meta.Ended
	}
	for i, r := range item.Recipients {
		one := RecipientStatus{Address: r.Address.String()}
		if i < len(meta.Replies) {
			one.Reply = meta.Replies[i].String()
		}
		s.Recipients = append(s.Recipients, one)
	}
	if folder != "" {
		return s, nil
	}
	if st, err := readState(dir, id); err == nil && len(st.Recipients) == len(s.Recipients) {
		s.Attempts, s.Next = st.Attempts, st.Next
		for i, r := range st.Recipients {
			s.Recipients[i].Done = r.Done
			if r.Reply.Code != 0 {
				s.Recipients[i].Reply = r.Reply.String()
			}
		}
	}
	return s, nil
}

// Retry makes a message due now. One that was given up goes back into the queue, with its time starting anew.
func (q *Queue) Retry(id string) error {
	if !mail.ValidID(id) {
		return ErrNotFound
	}
	q.mu.Lock()
	e := q.entries[id]
	if e != nil && !e.busy {
		q.due.set(e, time.Now())
		q.due.line(e.route).rest = time.Time{}
	}
	q.mu.Unlock()
	if e != nil {
		q.poke()
		return nil
	}
	for _, folder := range []string{failedDir, expiredDir} {
		switch err := q.takeBack(folder, id); {
		case err == nil:
			q.scan()
			q.poke()
			return nil
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	return ErrNotFound
}

func (q *Queue) takeBack(folder, id string) error {
	var meta stored
	m, err := mail.OpenStored(q.path(folder, id), &meta)
	if err != nil {
		return err
	}
	defer m.Close() // it was only read
	// An old state that came back after a crash would strike recipients off who have nothing.
	q.remove(q.path(stateDir, id))
	if err := mail.SyncDir(q.path(stateDir, "")); err != nil {
		return err
	}
	// Renewed where it stands, then moved in one step: at no time are there two of it, or none.
	fresh := stored{Item: meta.Item, Queued: time.Now()}
	if err := mail.WriteStored(q.path(folder, ""), id, fresh, mail.Copy{Message: m}); err != nil {
		return err
	}
	q.mu.Lock()
	delete(q.done, id)
	q.mu.Unlock()
	if err := os.Rename(q.path(folder, id), q.path("", id)); err != nil {
		return fmt.Errorf("retry %s: %w", id, err)
	}
	return mail.SyncDir(q.o.Dir)
}

// Delete takes a message away for good, from the queue or from those given up.
func (q *Queue) Delete(id string) error {
	if !mail.ValidID(id) {
		return ErrNotFound
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := q.entries[id]; e != nil && e.busy {
		return ErrBusy
	}
	found := false
	for _, folder := range []string{"", failedDir, expiredDir} {
		err := os.Remove(q.path(folder, id))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("delete %s: %w", id, err)
		}
		found = found || err == nil
	}
	if !found {
		return ErrNotFound
	}
	delete(q.entries, id)
	q.remove(q.path(stateDir, id))
	q.o.Log.Info("queued message deleted", "id", id)
	return mail.SyncDir(q.o.Dir)
}

// Verb is what another process may ask of a running queue.
type Verb string

// The verbs.
const (
	VerbRetry  Verb = "retry"
	VerbDelete Verb = "delete"
)

// Request asks the queue that runs on this folder, or will, to do something with a message: it leaves a file there, which
// the queue finds within a second or so.
func Request(dir string, verb Verb, id string) error {
	if verb != VerbRetry && verb != VerbDelete || !mail.ValidID(id) {
		return fmt.Errorf("queue: %s %q: want retry or delete, and an id", verb, id)
	}
	found := false
	for _, folder := range []string{"", failedDir, expiredDir} {
		_, err := os.Lstat(filepath.Join(dir, folder, id))
		found = found || err == nil
	}
	if !found {
		return ErrNotFound
	}
	if err := os.WriteFile(filepath.Join(dir, requestDir, string(verb)+"-"+id), nil, 0o600); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	return nil
}

// serveRequests does what other processes asked for. What can't be done now, since the message is on its way, is asked again
// at the next look.
func (q *Queue) serveRequests() {
	for _, name := range names(q.path(requestDir, "")) {
		verb, id, _ := strings.Cut(name, "-")
		var err error
		switch Verb(verb) {
		case VerbRetry:
			err = q.Retry(id)
		case VerbDelete:
			err = q.Delete(id)
		}
		if errors.Is(err, ErrBusy) {
			continue
		}
		if err != nil {
			q.o.Log.Warn("request can't be done", "request", name, "error", err)
		}
		q.remove(q.path(requestDir, name))
	}
}
