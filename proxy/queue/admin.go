package queue

import (
	"errors"
	"fmt"
	"io"
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
	ID     string     `json:"id"`
	Folder string     `json:"folder"` // "queue", "failed" or "expired"
	Route  mail.Route `json:"route"`
	From   string     `json:"from"`
	Size   int64      `json:"size"`
	// Why is the latest reason for not delivering it: the hop's last reply. Origin says how it came into the queue.
	Why    string `json:"why"`
	Origin string `json:"origin"`
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

// GivenUp is how many messages are in failed/ and expired/.
func (q *Queue) GivenUp() int {
	n := 0
	for _, folder := range []string{failedDir, expiredDir} {
		for _, name := range names(q.path(folder, "")) {
			if mail.ValidID(name) {
				n++
			}
		}
	}
	return n
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
	s := Status{ID: id, Folder: folderName(folder), Route: item.Route, From: item.From.String(), Size: m.Size(), Why: item.Why, Origin: item.Why, Queued: meta.Queued}
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
		s.newest()
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
	s.newest()
	return s, nil
}

// newest takes the reason from the last reply for a recipient still waiting.
func (s *Status) newest() {
	for _, r := range s.Recipients {
		if !r.Done && r.Reply != "" {
			s.Why = r.Reply
			return
		}
	}
}

// Retry makes a message due now. One that was given up goes back into the queue with a new expiry; by names the
// requester.
func (q *Queue) Retry(id, by string) error {
	if !mail.ValidID(id) {
		return ErrNotFound
	}
	q.mu.Lock()
	e := q.entries[id]
	if e != nil {
		q.due.line(e.route).probe = true
		if e.busy {
			e.again = true
		} else {
			e.asked = true
			q.due.set(e, time.Now())
		}
	}
	q.mu.Unlock()
	if e != nil {
		q.poke()
		return nil
	}
	for _, folder := range []string{failedDir, expiredDir} {
		switch err := q.takeBack(folder, id, by); {
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

func (q *Queue) takeBack(folder, id, by string) error {
	var meta stored
	m, err := mail.OpenStored(q.path(folder, id), &meta)
	if err != nil {
		return err
	}
	defer m.Close() // it was only read
	// An old state that reappeared after a crash would mark recipients as done who have not got the message.
	q.remove(q.path(stateDir, id))
	if err := mail.SyncDir(q.path(stateDir, "")); err != nil {
		return err
	}
	// Rewritten in place, then moved atomically: at no time are there two of it, or none.
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
	for _, r := range meta.Item.Recipients {
		q.o.Told(Event{Item: meta.Item, Recipient: r, End: Requeued, By: by})
	}
	return mail.SyncDir(q.o.Dir)
}

// Delete removes a message permanently, from the queue or from those given up.
func (q *Queue) Delete(id, by string) error {
	if !mail.ValidID(id) {
		return ErrNotFound
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := q.entries[id]; e != nil && e.busy {
		return ErrBusy
	}
	found, left := false, q.left(id)
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
	q.o.Log.Info("queued message deleted", "id", id, "by", by)
	for _, e := range left {
		e.By = by
		q.o.Told(e)
	}
	return mail.SyncDir(q.o.Dir)
}

// left gives the recipients still waiting for a message.
func (q *Queue) left(id string) (all []Event) {
	for _, folder := range []string{"", failedDir, expiredDir} {
		var meta stored
		m, err := mail.OpenStored(q.path(folder, id), &meta)
		if err != nil {
			continue // not here
		}
		_ = m.Close() // it was only read
		st := new(state)
		if folder == "" {
			if read, err := q.readState(id); err == nil && len(read.Recipients) == len(meta.Item.Recipients) {
				st = read
			}
		}
		for i, r := range meta.Item.Recipients {
			if len(st.Recipients) > 0 && st.Recipients[i].Done {
				continue
			}
			all = append(all, Event{Item: meta.Item, Recipient: r, End: Deleted})
		}
	}
	return all
}

// Verb is what another process may ask of a running queue.
type Verb string

// The verbs.
const (
	VerbRetry  Verb = "retry"
	VerbDelete Verb = "delete"
)

// Request asks the queue that runs on this folder, or will, to do something with a message: it leaves a file there,
// which the queue finds within a second or so. by names the requester.
func Request(dir string, verb Verb, id, by string) error {
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
	if err := os.WriteFile(filepath.Join(dir, requestDir, string(verb)+"-"+id), []byte(by), 0o600); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	return nil
}

// serveRequests carries out the requests of other processes. A request for a message that is being delivered is retried
// at the next scan.
func (q *Queue) serveRequests() {
	for _, name := range names(q.path(requestDir, "")) {
		verb, id, _ := strings.Cut(name, "-")
		by, err := requester(q.path(requestDir, name))
		switch {
		case err != nil:
		case Verb(verb) == VerbRetry:
			err = q.Retry(id, by)
		case Verb(verb) == VerbDelete:
			err = q.Delete(id, by)
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

// maxRequester bounds the requester's name, in octets.
const maxRequester = 200

// requester reads the name of a request's author.
func requester(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // reading only
	text, err := io.ReadAll(io.LimitReader(f, maxRequester))
	return string(text), err
}
