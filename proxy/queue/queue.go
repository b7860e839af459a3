// Package queue is the durable store-and-forward: mail that could not be delivered in the sender's own transaction
// waits here, one file per message, until the next hop accepts it. Nothing that Put acknowledged is ever lost: it is
// delivered, or stays in the folder failed/ or expired/ until an admin decides. At worst, a crash duplicates a message
// that was being delivered.
package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"postern/internal/mail"
	"postern/proxy"
)

// The folders below Options.Dir.
const (
	stateDir   = "state"    // delivery states, by id
	failedDir  = "failed"   // permanently refused by the next hop
	expiredDir = "expired"  // not taken in time
	requestDir = "requests" // requests of other processes
)

// Options say how a queue works. Zero values mean the defaults.
type Options struct {
	Dir   string
	Relay proxy.Relay
	// Workers (default 10) are the deliveries under way at once; half of them at most for one route, so that a route that
	// is down does not stop the others.
	Workers int
	// MinBackOff (default 1 min) and MaxBackOff (default 1 h) bound the pause between attempts, which doubles.
	MinBackOff, MaxBackOff time.Duration
	// Expiry (default 5 days, RFC 5321 section 4.5.4.1) is when a message is given up.
	Expiry time.Duration
	// Attempt (default 20 min) bounds one attempt.
	Attempt time.Duration
	// Rescan (default 1 s) is how often the folder is scanned.
	Rescan time.Duration
	// Report is called at least once with recipients that were given up, before they are marked done. After an error it is
	// called again later. The queue itself never sends bounces.
	Report func(Report) error
	// Told is called with each recipient's end. It must be quick.
	Told func(Event)
	Log  *slog.Logger
}

// Report says that recipients were given up. The message stays in Folder under the item's id.
type Report struct {
	Folder string // "failed" or "expired"
	// Item has only those recipients; Replies are the last reply for each.
	Item    proxy.QueueItem
	Replies []mail.Reply
	Queued  time.Time
	// Message is what was not delivered.
	Message *mail.Message
}

// End is how the queue was done with a recipient.
type End string

// The ends. Deferred is none: it waits, for another reason than before. Requeued was given up before.
const (
	Delivered End = "delivered"
	Failed    End = "failed"
	Expired   End = "expired"
	Deleted   End = "deleted"
	Deferred  End = "deferred"
	Requeued  End = "requeued"
)

// Event is the end of one recipient. By names the actor, "" for the queue.
type Event struct {
	Item      proxy.QueueItem
	Recipient mail.Recipient
	End       End
	Reply     mail.Reply
	By        string
}

// Queue implements proxy.Queue.
type Queue struct {
	o      Options
	lock   *os.File
	ctx    context.Context // of attempts
	cancel context.CancelFunc
	stop   chan struct{} // closed: no new attempts
	wake   chan struct{}
	loop   sync.WaitGroup
	work   sync.WaitGroup

	mu       sync.Mutex
	entries  map[string]*entry
	puts     map[string]chan struct{} // those under way
	done     map[string]time.Time     // delivered a short while ago
	running  int
	due      due
	stopping bool
}

// entry is what the scheduler knows of a message.
type entry struct {
	id       string
	route    mail.Route // zero until its file was read
	next     time.Time
	attempts int
	busy     bool
	started  time.Time // of the attempt that runs
	beside   bool      // another attempt for the route ran when it began
	asked    bool      // requested by an admin
	again    bool      // another one was requested while it runs
	expires  time.Time
	// down is set if the last attempt did not reach the hop at all.
	down bool
	// unsaved holds results that could not be written: until they are, nothing is tried again.
	unsaved *state
}

// ErrNotFound means that there is no such message; ErrBusy that it is being delivered right now.
var (
	ErrNotFound = errors.New("no such message in the queue")
	ErrBusy     = errors.New("the message is being delivered right now")
)

// New opens the folder, creating it if needed, and starts to deliver the messages in it.
func New(o Options) (*Queue, error) {
	o.defaults()
	for _, dir := range []string{"", stateDir, failedDir, expiredDir, requestDir} {
		if err := os.MkdirAll(filepath.Join(o.Dir, dir), 0o700); err != nil {
			return nil, fmt.Errorf("queue: %w", err)
		}
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	q := &Queue{
		o: o, lock: lock, stop: make(chan struct{}), wake: make(chan struct{}, 1),
		entries: map[string]*entry{}, puts: map[string]chan struct{}{}, done: map[string]time.Time{}, due: due{routes: map[mail.Route]*line{}},
	}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	q.tidy()
	q.scan()
	q.loop.Go(q.schedule)
	return q, nil
}

func (o *Options) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&o.MinBackOff, time.Minute)
	set(&o.MaxBackOff, time.Hour)
	set(&o.Expiry, 5*24*time.Hour)
	set(&o.Attempt, 20*time.Minute)
	set(&o.Rescan, time.Second)
	if o.Workers <= 0 {
		o.Workers = 10
	}
	if o.Report == nil {
		o.Report = func(Report) error { return nil }
	}
	if o.Told == nil {
		o.Told = func(Event) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// stored is the first line of a message's file.
type stored struct {
	Item   proxy.QueueItem `json:"item"`
	Queued time.Time       `json:"queued"`
	// Replies and Ended are set in failed/ and expired/.
	Replies []mail.Reply `json:"replies,omitempty"`
	Ended   *time.Time   `json:"ended,omitempty"`
}

// Put returns nil once the message is synced to disk. The same id again changes nothing.
func (q *Queue) Put(ctx context.Context, item proxy.QueueItem, content mail.Copy) error {
	if !mail.ValidID(item.ID) {
		return fmt.Errorf("queue: %q is no id", item.ID)
	}
	if len(item.Recipients) == 0 {
		return fmt.Errorf("queue %s: no recipients", item.ID)
	}
	known, done := q.begin(ctx, item.ID)
	if known {
		return nil
	}
	if done == nil {
		return fmt.Errorf("queue %s: %w", item.ID, context.Cause(ctx))
	}
	err := WriteItem(q.o.Dir, item, content)
	done()
	if err != nil {
		return err
	}
	q.mu.Lock()
	if q.entries[item.ID] == nil {
		e := &entry{id: item.ID, route: item.Route, expires: time.Now().Add(q.o.Expiry)}
		q.entries[item.ID] = e
		q.due.set(e, time.Now())
	}
	q.mu.Unlock()
	q.poke()
	return nil
}

// WriteItem puts a message into a queue's folder from another process; a running queue finds it there.
func WriteItem(dir string, item proxy.QueueItem, content mail.Copy) error {
	path := filepath.Join(dir, item.ID)
	_, err := os.Lstat(path)
	fresh := errors.Is(err, fs.ErrNotExist)
	err = mail.WriteStored(dir, item.ID, stored{Item: item, Queued: time.Now()}, content)
	if err != nil && fresh {
		_ = os.Remove(path) // the sender is deferred: a file that was renamed all the same must not be delivered as well
	}
	return err
}

// begin says whether an id is known already; if not, the caller alone may write it and says when it is done;
// done is nil if the context ended first.
func (q *Queue) begin(ctx context.Context, id string) (known bool, done func()) {
	for {
		q.mu.Lock()
		other := q.puts[id]
		if other == nil {
			break
		}
		q.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return false, nil
		}
	}
	defer q.mu.Unlock()
	_, recently := q.done[id]
	if q.entries[id] != nil || recently || q.exists(failedDir, id) || q.exists(expiredDir, id) || q.exists("", id) {
		return true, nil
	}
	ready := make(chan struct{})
	q.puts[id] = ready
	return false, func() {
		q.mu.Lock()
		delete(q.puts, id)
		q.mu.Unlock()
		close(ready)
	}
}

func (q *Queue) path(dir, id string) string { return filepath.Join(q.o.Dir, dir, id) }

func (q *Queue) exists(dir, id string) bool {
	_, err := os.Lstat(q.path(dir, id))
	return err == nil
}

func (q *Queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default: // it is awake
	}
}

// Len is how many messages wait.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.entries)
}

// Close starts no more deliveries and waits for those under way; when the context ends they are cancelled, and their
// messages stay.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	if !q.stopping {
		q.stopping = true
		close(q.stop)
	}
	q.mu.Unlock()
	stop := context.AfterFunc(ctx, q.cancel)
	q.loop.Wait()
	q.work.Wait()
	stop()
	q.cancel()
	return q.lock.Close()
}
