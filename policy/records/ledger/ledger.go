package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/sqldb"
)

// Group commit: a batch is written when it is full or its first record has waited this long. Where more wait already, a
// batch is larger: that is faster.
const (
	fullBatch = 500
	maxBatch  = 2000
	maxWait   = 200 * time.Millisecond
	// leastBatch is what a batch shrinks to where a database does not come through with more in time.
	leastBatch = 50
	// waiting is how many records may wait to be looked at. Behind that they are dropped.
	waiting = 16384
)

const (
	commitTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	flushTimeout  = 2 * time.Second // what a search waits at most for records that were put before it
	retryEvery    = time.Second
	closeTimeout  = 10 * time.Second
	// DefaultSpill is the room for records in files, in octets: some hundred thousand.
	DefaultSpill = 1 << 30
)

// Options of a ledger.
type Options struct {
	// URL is "sqlite:PATH", a bare path, or "postgres://USER:PASSWORD@HOST:PORT/NAME". Several gateways may write to one
	// PostgreSQL.
	URL string
	Log *slog.Logger
	// Now is the clock, time.Now where nothing is said.
	Now func() time.Time
	// Spill is a folder for records that wait while the database is away and memory is full. Only one running gateway may
	// use it. Without one such records are dropped.
	Spill string
	// SpillRoom bounds the folder, in octets; 0 is DefaultSpill.
	SpillRoom int64
	Privacy   Privacy
}

// Ledger is where the records are kept. Its methods may be called by any goroutine.
type Ledger struct {
	db      *sqldb.DB
	log     *slog.Logger
	now     func() time.Time
	privacy Privacy

	in      chan any // Connection, Transaction or chan<- error to flush
	backlog *backlog
	batch   int // how many records the writer takes at once
	done    chan struct{}
	ending  chan struct{} // closed when Close begins
	closing sync.RWMutex
	closed  bool
	dropped atomic.Int64
	failing atomic.Bool // records are being dropped, and the log has it
	outage  outage
}

// Health says whether records are written.
type Health struct {
	// Since is when the database was first found away, zero while all is well; Why is the error, printable.
	Since time.Time
	Why   string
	// Waiting counts the records that are not written yet, Dropped those that are lost, both since the start.
	Waiting int
	Dropped int64
}

type outage struct {
	mu    sync.Mutex
	since time.Time
	why   string
}

// Errors of a Ledger.
var (
	// ErrAway says that the database can't be reached, or can't write: what was put waits.
	ErrAway   = errors.New("the ledger's database is away")
	errClosed = errors.New("the ledger is closed")
)

// Open opens the ledger in a SQLite file, or in what a URL names, without a spill: see New.
func Open(where string, log *slog.Logger) (*Ledger, error) { return New(Options{URL: where, Log: log}) }

// New opens the ledger and starts its writer. A file that is damaged beyond use is moved aside and a new one begun: what
// was decided yesterday must not keep mail from flowing today. For the same reason a server may be away.
func New(o Options) (*Ledger, error) {
	if err := o.Privacy.check(); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	db, err := connect(o)
	if err != nil {
		return nil, err
	}
	var s *spill
	if o.Spill != "" {
		if s, err = openSpill(o.Spill, cmp.Or(o.SpillRoom, DefaultSpill)); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	l := &Ledger{
		db: db, log: o.Log, now: o.Now, privacy: o.Privacy,
		in: make(chan any, waiting), backlog: newBacklog(s), batch: maxBatch, done: make(chan struct{}), ending: make(chan struct{}),
	}
	go l.gather()
	go l.write()
	return l, nil
}

func connect(o Options) (*sqldb.DB, error) {
	db, err := sqldb.Connect(o.URL, sqldb.Relaxed, schema())
	if sqldb.IsBroken(err) {
		file := sqldb.Name(o.URL)
		o.Log.Error("the ledger is damaged, a new one is begun", "file", file, "error", err)
		if err := sqldb.MoveAside(file, o.Now().UTC().Format("20060102T150405")); err != nil {
			return nil, fmt.Errorf("ledger: move the damaged file aside: %w", err)
		}
		db, err = sqldb.Connect(o.URL, sqldb.Relaxed, schema())
	}
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return db, nil
}

// Connection records the end of a connection. It never waits.
func (l *Ledger) Connection(c Connection) { l.put(c.bounded()) }

// Transaction records a transaction; a later record of the same id replaces it. It never waits.
func (l *Ledger) Transaction(t Transaction) { l.put(t.bounded()) }

func (l *Ledger) put(record any) {
	l.closing.RLock()
	defer l.closing.RUnlock()
	if l.closed {
		l.drop(1, errClosed)
		return
	}
	select {
	case l.in <- record:
	default:
		l.drop(1, errors.New("too many records wait to be written"))
	}
}

// drop counts, and logs only when the trouble begins: a full disk must not fill the log as well.
func (l *Ledger) drop(n int, why error) {
	l.dropped.Add(int64(n))
	if !l.failing.Swap(true) {
		l.log.Error("the ledger drops records, mail goes on", "why", reason(why))
	}
}

func reason(err error) string { return Printable(cut(err.Error(), maxEvidence)) }

// Dropped is how many records were lost since the start, for the metrics.
func (l *Ledger) Dropped() int64 { return l.dropped.Load() }

// Health says how the ledger is.
func (l *Ledger) Health() Health {
	l.outage.mu.Lock()
	defer l.outage.mu.Unlock()
	return Health{Since: l.outage.since, Why: l.outage.why, Waiting: l.backlog.waiting() + len(l.in), Dropped: l.Dropped()}
}

// Flush waits until all records put before are written or dropped. While the database is away it says so at once.
func (l *Ledger) Flush(ctx context.Context) error {
	written := make(chan error, 1)
	l.closing.RLock()
	if l.closed {
		l.closing.RUnlock()
		return nil
	}
	select {
	case l.in <- (chan<- error)(written):
		l.closing.RUnlock()
	case <-ctx.Done():
		l.closing.RUnlock()
		return ctx.Err()
	}
	select {
	case err := <-written:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settle makes a search see records put before it, if that does not take long. A failed write is ignored here: the
// search itself will report it.
func (l *Ledger) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	_ = l.Flush(ctx)
}

// Close writes what waits and closes the database. What can't be written now is kept in the spill for the next start.
func (l *Ledger) Close() error {
	l.closing.Lock()
	if l.closed {
		l.closing.Unlock()
		return nil
	}
	l.closed = true
	close(l.ending)
	close(l.in)
	l.closing.Unlock()
	<-l.done
	lost, err := l.backlog.keep()
	if lost > 0 {
		l.drop(lost, cmp.Or(err, ErrAway))
	}
	if err != nil {
		l.log.Error("the ledger could not keep all that waits", "lost", lost, "error", err)
	}
	return l.db.Close()
}

// gather makes records ready to be written. It waits for no database.
func (l *Ledger) gather() {
	defer l.backlog.close()
	for next := range l.in {
		if told, ok := next.(chan<- error); ok {
			l.backlog.wait(told)
			if h := l.Health(); !h.Since.IsZero() {
				l.backlog.tell(l.away(h.Why))
			}
			continue
		}
		e, err := l.entry(next)
		if err == nil {
			err = l.backlog.add(e)
		}
		if err != nil {
			l.drop(1, err)
		}
	}
}

func (l *Ledger) away(why string) error { return fmt.Errorf("%w: %s", ErrAway, why) }
