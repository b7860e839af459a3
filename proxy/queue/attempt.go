package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/proxy"
)

// state is the delivery state of a message so far. It is stored beside the message, whose file never changes.
type state struct {
	Attempts   int              `json:"attempts"`
	Next       time.Time        `json:"next"`
	Recipients []recipientState `json:"recipients"`
}

// recipientState is one recipient's, in the order of the item.
type recipientState struct {
	// Done is set once the recipient must not be tried again: delivered, or given up.
	Done  bool       `json:"done"`
	Reply mail.Reply `json:"reply"`
}

func (s *state) pending() int {
	n := 0
	for _, r := range s.Recipients {
		if !r.Done {
			n++
		}
	}
	return n
}

// attempt tries to deliver a message once.
func (q *Queue) attempt(e *entry) outcome {
	log := q.o.Log.With("id", e.id)
	var meta stored
	m, err := mail.OpenStored(q.path("", e.id), &meta)
	if errors.Is(err, fs.ErrNotExist) {
		return outcome{gone: true} // another process removed it
	}
	if err != nil {
		log.Error("queued message can't be read, it stays where it is", "error", err)
		return outcome{pause: q.o.MaxBackOff}
	}
	defer m.Close() // it was only read

	s := e.unsaved
	if s == nil {
		if s, err = q.readState(e.id); err != nil && !errors.Is(err, fs.ErrNotExist) {
			log.Error("state of a queued message can't be read, it waits", "error", err)
			return outcome{pause: q.o.MaxBackOff, route: meta.Item.Route}
		}
		if s == nil || len(s.Recipients) != len(meta.Item.Recipients) {
			s = &state{Recipients: make([]recipientState, len(meta.Item.Recipients))}
		}
	}
	result := outcome{route: meta.Item.Route}
	if e.unsaved == nil {
		result.down = q.deliver(meta, s, m)
		result.reached = !result.down
		s.Attempts++
		e.attempts = s.Attempts
	}
	result.pause = q.backOff(s.Attempts)
	s.Next = time.Now().Add(result.pause)
	// Written before any recipient can be tried again; if that fails, the write is retried first.
	e.unsaved = s
	if err := q.settle(meta, s, m); err != nil {
		log.Error("state of a queued message can't be written, it waits", "error", err)
		result.pause = q.o.MinBackOff
		return result
	}
	e.unsaved = nil
	result.gone = s.pending() == 0
	return result
}

// deliver sends RCPT for the remaining recipients and the message to those that the hop accepts. It reports whether the
// hop could not be reached.
func (q *Queue) deliver(meta stored, s *state, m *mail.Message) (down bool) {
	ctx, cancel := q.attemptContext()
	defer cancel()
	d := q.o.Relay.Open(meta.Item.Route, proxy.Envelope{ID: meta.Item.ID, From: meta.Item.From, Params: meta.Item.Params, Size: m.Size()})
	defer d.Close()
	down = true
	var to []mail.Recipient
	var index []int
	note := func(i int, r mail.Reply) {
		before := s.Recipients[i].Reply
		s.Recipients[i].Reply = r
		if r.Temporary() && (r.Code != before.Code || r.Enhanced != before.Enhanced || r.Text != before.Text) {
			q.o.Told(Event{Item: meta.Item, Recipient: meta.Item.Recipients[i], End: Deferred, Reply: r})
		}
		if !r.Away {
			down = false
		}
	}
	for i, r := range meta.Item.Recipients {
		if s.Recipients[i].Done {
			continue
		}
		reply := d.Rcpt(ctx, r)
		note(i, reply)
		if reply.Positive() {
			to, index = append(to, r), append(index, i)
		} else if down || ctx.Err() != nil {
			break // the hop is unreachable: the others would get the same error
		}
	}
	if len(to) == 0 {
		return down
	}
	for n, reply := range d.Send(ctx, to, mail.Copy{Message: m}) {
		i := index[n]
		note(i, reply)
		if reply.Positive() {
			s.Recipients[i].Done = true
			q.o.Told(Event{Item: meta.Item, Recipient: meta.Item.Recipients[i], End: Delivered, Reply: reply})
		}
	}
	return down
}

// settle stores the results of an attempt. Recipients that are given up get their copy in failed/ or expired/ before
// they are marked done here.
func (q *Queue) settle(meta stored, s *state, m *mail.Message) error {
	expired := time.Since(meta.Queued) > q.o.Expiry
	for folder, give := range map[string]func(recipientState) bool{
		failedDir:  func(r recipientState) bool { return r.Reply.Permanent() },
		expiredDir: func(r recipientState) bool { return expired && !r.Reply.Permanent() && !r.Done },
	} {
		if err := q.giveUp(folder, meta, s, m, give); err != nil {
			return err
		}
	}
	if s.pending() == 0 {
		if err := os.Remove(q.path("", meta.Item.ID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := mail.SyncDir(q.o.Dir); err != nil {
			return err
		}
		// Last: a message without its state would go to everyone again.
		q.remove(q.path(stateDir, meta.Item.ID))
		return nil
	}
	return mail.WriteStored(q.path(stateDir, ""), meta.Item.ID, s, strings.NewReader(""))
}

// giveUp keeps the message for those recipients that are given up, those of earlier attempts among them.
func (q *Queue) giveUp(folder string, meta stored, s *state, m *mail.Message, give func(recipientState) bool) error {
	now := time.Now()
	kept := stored{Item: meta.Item, Queued: meta.Queued, Ended: &now}
	kept.Item.Recipients = nil
	report := Report{Folder: folder, Item: kept.Item, Queued: meta.Queued, Message: m}
	for i, r := range s.Recipients {
		if !give(r) {
			continue
		}
		kept.Item.Recipients, kept.Replies = append(kept.Item.Recipients, meta.Item.Recipients[i]), append(kept.Replies, r.Reply)
		if !r.Done {
			report.Item.Recipients, report.Replies = append(report.Item.Recipients, meta.Item.Recipients[i]), append(report.Replies, r.Reply)
		}
	}
	if len(report.Item.Recipients) == 0 {
		return nil
	}
	if err := mail.WriteStored(q.path(folder, ""), meta.Item.ID, kept, mail.Copy{Message: m}); err != nil {
		return err
	}
	if err := q.o.Report(report); err != nil {
		return fmt.Errorf("the sender can't be told: %w", err)
	}
	end := Failed
	if folder == expiredDir {
		end = Expired
	}
	for i, r := range report.Item.Recipients {
		q.o.Told(Event{Item: meta.Item, Recipient: r, End: end, Reply: report.Replies[i]})
	}
	for i, r := range s.Recipients {
		if give(r) {
			s.Recipients[i].Done = true
		}
	}
	return nil
}

func (q *Queue) readState(id string) (*state, error) { return readState(q.o.Dir, id) }

func readState(dir, id string) (*state, error) {
	text, err := os.ReadFile(filepath.Join(dir, stateDir, id))
	if err != nil {
		return nil, err
	}
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("state of %s: %w", id, err)
	}
	return &s, nil
}

// remove deletes a file; it ignores the error, as a file left behind does no harm.
func (q *Queue) remove(path string) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		q.o.Log.Warn("file can't be removed", "file", path, "error", err)
	}
}
