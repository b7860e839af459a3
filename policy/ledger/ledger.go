package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/sqldb"
)

// Group commit: a batch is written when it is full or its first record has waited this long.
const (
	maxBatch = 500
	maxWait  = 25 * time.Millisecond
	// waiting is how many records may wait for the writer. Behind that they are dropped.
	waiting = 16384
)

// Ledger is the file with the records. Its methods may be called by any goroutine.
type Ledger struct {
	db  *sqldb.DB
	log *slog.Logger

	in      chan any // Connection, Transaction or chan<- struct{} to flush
	done    chan struct{}
	closing sync.RWMutex
	closed  bool
	dropped atomic.Int64
	failing atomic.Bool
}

func migrations() []string {
	return []string{`
CREATE TABLE connection (
	id TEXT PRIMARY KEY, started INTEGER NOT NULL, client TEXT NOT NULL, record BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX connection_started ON connection (started);
CREATE INDEX connection_client ON connection (client, started);

CREATE TABLE message (
	n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, conn TEXT NOT NULL, time INTEGER NOT NULL, client TEXT NOT NULL,
	sender TEXT NOT NULL, domain TEXT NOT NULL, disposition INTEGER NOT NULL, record BLOB NOT NULL
);
CREATE INDEX message_time ON message (time);
CREATE INDEX message_conn ON message (conn);
CREATE INDEX message_client ON message (client, time);
CREATE INDEX message_sender ON message (sender, time);
CREATE INDEX message_domain ON message (domain, time);

CREATE TABLE recipient (
	address TEXT NOT NULL, message INTEGER NOT NULL REFERENCES message (n) ON DELETE CASCADE,
	domain TEXT NOT NULL, disposition INTEGER NOT NULL, PRIMARY KEY (address, message)
) WITHOUT ROWID;
CREATE INDEX recipient_message ON recipient (message);
CREATE INDEX recipient_domain ON recipient (domain, message);

CREATE TABLE symbol (
	symbol TEXT NOT NULL, message INTEGER NOT NULL REFERENCES message (n) ON DELETE CASCADE,
	PRIMARY KEY (symbol, message)
) WITHOUT ROWID;
CREATE INDEX symbol_message ON symbol (message);
`}
}

// Open opens the ledger's file and starts its writer. A file that is damaged beyond use is moved aside and a new one
// begun: what was decided yesterday must not keep mail from flowing today.
func Open(path string, log *slog.Logger) (*Ledger, error) {
	db, err := sqldb.Open(path, sqldb.Relaxed, migrations())
	if sqldb.IsBroken(err) {
		log.Error("the ledger is damaged, a new one is begun", "file", path, "error", err)
		if err := sqldb.MoveAside(path, time.Now().UTC().Format("20060102T150405")); err != nil {
			return nil, fmt.Errorf("ledger: move the damaged file aside: %w", err)
		}
		db, err = sqldb.Open(path, sqldb.Relaxed, migrations())
	}
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	l := &Ledger{db: db, log: log, in: make(chan any, waiting), done: make(chan struct{})}
	go l.write()
	return l, nil
}

// Connection records the end of a connection. It never waits.
func (l *Ledger) Connection(c Connection) { l.put(c.bounded()) }

// Transaction records a transaction; a later record of the same id replaces it. It never waits.
func (l *Ledger) Transaction(t Transaction) { l.put(t.bounded()) }

func (l *Ledger) put(record any) {
	l.closing.RLock()
	defer l.closing.RUnlock()
	if l.closed {
		l.drop(1, "the ledger is closed")
		return
	}
	select {
	case l.in <- record:
	default:
		l.drop(1, "too many records wait to be written")
	}
}

// drop counts, and logs only when the trouble begins: a full disk must not fill the log as well.
func (l *Ledger) drop(n int, why string) {
	l.dropped.Add(int64(n))
	if !l.failing.Swap(true) {
		l.log.Error("the ledger drops records, mail goes on", "why", why)
	}
}

// Dropped is how many records were lost since the start, for the metrics.
func (l *Ledger) Dropped() int64 { return l.dropped.Load() }

// Flush waits until all records put before are written or dropped.
func (l *Ledger) Flush(ctx context.Context) error {
	written := make(chan struct{})
	l.closing.RLock()
	if l.closed {
		l.closing.RUnlock()
		return nil
	}
	select {
	case l.in <- (chan<- struct{})(written):
		l.closing.RUnlock()
	case <-ctx.Done():
		l.closing.RUnlock()
		return ctx.Err()
	}
	select {
	case <-written:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close writes what waits and closes the file.
func (l *Ledger) Close() error {
	l.closing.Lock()
	if l.closed {
		l.closing.Unlock()
		return nil
	}
	l.closed = true
	close(l.in)
	l.closing.Unlock()
	<-l.done
	return l.db.Close()
}

// write is the one writer.
func (l *Ledger) write() {
	defer close(l.done)
	for {
		first, ok := <-l.in
		if !ok {
			return
		}
		batch, flushed, open := l.collect(first)
		l.store(batch)
		if flushed != nil {
			close(flushed)
		}
		if !open {
			return
		}
	}
}

// collect gathers a batch until it is full, its time is up, or somebody waits for it.
func (l *Ledger) collect(first any) (batch []any, flushed chan<- struct{}, open bool) {
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	for next := first; ; {
		if waiter, ok := next.(chan<- struct{}); ok {
			return batch, waiter, true
		}
		if batch = append(batch, next); len(batch) == maxBatch {
			return batch, nil, true
		}
		select {
		case next, open = <-l.in:
			if !open {
				return batch, nil, false
			}
		case <-timer.C:
			return batch, nil, true
		}
	}
}

// store writes a batch. If that fails each record is tried by itself, so that one bad record does not cost the others;
// three failures in a row mean that it is not the record's fault.
func (l *Ledger) store(batch []any) {
	if len(batch) == 0 {
		return
	}
	err := l.commit(batch)
	if err == nil {
		l.recovered()
		return
	}
	failures := 0
	for i := range batch {
		if failures == 3 {
			l.drop(len(batch)-i, err.Error())
			return
		}
		if err = l.commit(batch[i : i+1]); err != nil {
			failures++
			l.drop(1, err.Error())
			continue
		}
		failures = 0
	}
	if failures == 0 {
		l.recovered()
	}
}

func (l *Ledger) recovered() {
	if l.failing.Swap(false) {
		l.log.Info("the ledger writes again", "dropped", l.Dropped())
	}
}

func (l *Ledger) commit(batch []any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return l.db.Write(ctx, func(tx *sql.Tx) error {
		w, err := prepare(tx)
		if err != nil {
			return err
		}
		for _, record := range batch {
			switch r := record.(type) {
			case Connection:
				err = w.putConnection(&r)
			case Transaction:
				err = w.putTransaction(&r)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// statements of one database transaction, prepared once for the whole batch.
type statements struct{ connection, remove, message, recipient, symbol *sql.Stmt }

func prepare(tx *sql.Tx) (*statements, error) {
	s := &statements{}
	for stmt, text := range map[**sql.Stmt]string{
		&s.connection: "INSERT OR REPLACE INTO connection (id, started, client, record) VALUES (?,?,?,?)",
		&s.remove:     "DELETE FROM message WHERE id = ?",
		&s.message:    "INSERT OR IGNORE INTO message (id, conn, time, client, sender, domain, disposition, record) VALUES (?,?,?,?,?,?,?,?)",
		&s.recipient:  "INSERT OR REPLACE INTO recipient (address, message, domain, disposition) VALUES (?,?,?,?)",
		&s.symbol:     "INSERT OR IGNORE INTO symbol (symbol, message) VALUES (?,?)",
	} {
		var err error
		if *stmt, err = tx.Prepare(text); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *statements) putConnection(c *Connection) error {
	record, err := json.Marshal(c)
	if err != nil {
		return err
	}
	_, err = s.connection.Exec(c.ID, c.Started.UnixMilli(), addrText(c.Client), record)
	return err
}

func (s *statements) putTransaction(t *Transaction) error {
	record, err := json.Marshal(t)
	if err != nil {
		return err
	}
	strictest := 0
	for _, r := range t.Recipients {
		strictest = max(strictest, int(r.Disposition))
	}
	sender, domain := fold(t.From)
	args := []any{t.ID, t.ConnID, t.Time.UnixMilli(), addrText(t.Client), sender, domain, strictest, record}
	result, err := s.message.Exec(args...)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil {
		return err
	} else if n == 0 { // a newer record of the same transaction
		if _, err := s.remove.Exec(t.ID); err != nil {
			return err
		}
		if result, err = s.message.Exec(args...); err != nil {
			return err
		}
	}
	row, err := result.LastInsertId()
	if err != nil {
		return err
	}
	for _, r := range t.Recipients {
		address, domain := fold(r.Address)
		if _, err := s.recipient.Exec(address, row, domain, int(r.Disposition)); err != nil {
			return err
		}
	}
	for _, f := range t.Findings {
		if _, err := s.symbol.Exec(f.Symbol, row); err != nil {
			return err
		}
	}
	return nil
}

// fold gives an address and its domain as they are searched for.
func fold(address string) (string, string) {
	address = strings.ToLower(address)
	return address, address[strings.LastIndexByte(address, '@')+1:]
}
