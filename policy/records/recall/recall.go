// Package recall keeps the list of messages that turned out bad after they were delivered. They are masked for all
// users who fetch them through the gateway.
package recall

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/internal/sqldb"
)

// Errors of a List.
var (
	ErrNothing = errors.New("a recall needs a hash or a Message-ID")
	ErrHash    = errors.New("a hash is 64 hexadecimal digits")
	ErrUnknown = errors.New("there is no such recall")
)

// Entry is one message that was called back.
type Entry struct {
	// SHA256 is that of the octets as they came in, or as they lie in the mailbox, in hexadecimal; MessageID is the field's
	// value. Either may be "": a server that writes messages anew, such as Exchange, keeps the Message-ID only.
	SHA256    string `json:"sha256,omitempty"`
	MessageID string `json:"message_id,omitempty"`
	// ID is the message's in the ledger, "" if it is not known.
	ID   string    `json:"id,omitempty"`
	By   string    `json:"by"`
	Why  string    `json:"why"`
	Time time.Time `json:"time"`
}

// List is the list of recalls. It is asked for every message that is fetched, so it is kept in memory, and read again when
// another process has changed it.
type List struct {
	db  *sqldb.DB
	now func() time.Time
	// told is called for each recall added or withdrawn, unless nil.
	told func(e Entry, undone bool)

	mu     sync.Mutex
	looked time.Time
	// changed says that we wrote after the list was read last; late that the database did not answer then.
	changed, late bool
	// reading is closed at the end of the reading under way, nil for none.
	reading chan struct{}
	stamp   [5]int64
	// hashes is nil as long as the list was never read.
	hashes map[string]recalled
	ids    map[string]recalled    // by Message-IDs and the ledger's ids
	grants map[grantKey]time.Time // the newest
}

type recalled struct {
	why string
	at  time.Time
}

type grantKey struct{ sha256, user string }

func schema() sqldb.Schema {
	const table = `CREATE TABLE recall (
	n INTEGER PRIMARY KEY%s, sha256 TEXT NOT NULL, message_id TEXT NOT NULL, id TEXT NOT NULL, by_whom TEXT NOT NULL,
	why TEXT NOT NULL, time BIGINT NOT NULL, UNIQUE (sha256, message_id))`
	const grants = `CREATE TABLE recall_grant (
	n INTEGER PRIMARY KEY%s, sha256 TEXT NOT NULL, mailbox TEXT NOT NULL, id TEXT NOT NULL, by_whom TEXT NOT NULL, time BIGINT NOT NULL)`
	number, identity := " AUTOINCREMENT", " GENERATED ALWAYS AS IDENTITY"
	return sqldb.Schema{Name: "recall", SQLite: []string{fmt.Sprintf(table, number), fmt.Sprintf(grants, number)},
		Postgres: []string{fmt.Sprintf(table, identity), fmt.Sprintf(grants, identity)}}
}

// Open opens the list in the database that a URL or path names.
func Open(where string, now func() time.Time) (*List, error) {
	db, err := sqldb.Connect(where, sqldb.Full, schema())
	if err != nil {
		return nil, fmt.Errorf("recall: %w", err)
	}
	return &List{db: db, now: now}, nil
}

// Tell sets the function called for each recall added or, with undone set, withdrawn. It is called before the first
// one.
func (l *List) Tell(told func(e Entry, undone bool)) { l.told = told }

// Close closes the database.
func (l *List) Close() error { return l.db.Close() }

// bounds of what an entry holds, in octets.
const (
	maxMessageID = 998 // a line: RFC 5322 section 2.1.1
	maxText      = 500
)

// Add calls a message back. Calling it back again overrules what was released meanwhile, and changes nothing else.
func (l *List) Add(ctx context.Context, e Entry) error {
	e.SHA256, e.MessageID = strings.ToLower(strings.TrimSpace(e.SHA256)), clean(e.MessageID)
	if e.SHA256 == "" && e.MessageID == "" {
		return ErrNothing
	}
	if b, err := hex.DecodeString(e.SHA256); e.SHA256 != "" && (err != nil || len(b) != 32) {
		return ErrHash
	}
	if e.Time.IsZero() {
		e.Time = l.now()
	}
	err := l.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, l.db.Bind("INSERT INTO recall (sha256, message_id, id, by_whom, why, time) VALUES (?, ?, ?, ?, ?, ?)"+
			" ON CONFLICT (sha256, message_id) DO UPDATE SET time = excluded.time"),
			e.SHA256, e.MessageID, cut(e.ID), cut(e.By), cut(e.Why), e.Time.UnixMilli())
		return err
	})
	l.forget()
	if err == nil && l.told != nil {
		l.told(e, false)
	}
	return wrap(err)
}

// Remove withdraws recalls with this hash, Message-ID or id; by names the actor.
func (l *List) Remove(ctx context.Context, key, by string) error {
	key = strings.TrimSpace(key)
	if key == "" {
		return ErrUnknown
	}
	all, err := l.All(ctx)
	if err != nil {
		return err
	}
	gone := int64(0)
	err = l.db.Write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, l.db.Bind("DELETE FROM recall WHERE sha256 = ? OR message_id = ? OR id = ?"), strings.ToLower(key), clean(key), key)
		if err == nil {
			gone, err = r.RowsAffected()
		}
		return err
	})
	l.forget()
	if err == nil && gone == 0 {
		return ErrUnknown
	}
	for _, e := range all {
		if err == nil && l.told != nil && (e.SHA256 != "" && e.SHA256 == strings.ToLower(key) || e.MessageID != "" && e.MessageID == clean(key) || e.ID == key) {
			e.By, e.Time = by, l.now()
			l.told(e, true)
		}
	}
	return wrap(err)
}

// All gives the recalls, the newest first.
func (l *List) All(ctx context.Context) ([]Entry, error) {
	rows, err := l.db.Query(ctx, "SELECT sha256, message_id, id, by_whom, why, time FROM recall ORDER BY n DESC")
	if err != nil {
		return nil, wrap(err)
	}
	defer func() { _ = rows.Close() }() // reading only; Err tells what matters
	var all []Entry
	for rows.Next() {
		var e Entry
		var at int64
		if err := rows.Scan(&e.SHA256, &e.MessageID, &e.ID, &e.By, &e.Why, &at); err != nil {
			return nil, wrap(err)
		}
		e.Time = time.UnixMilli(at).UTC()
		all = append(all, e)
	}
	return all, wrap(rows.Err())
}

// fresh is how long the list is taken from memory before it is asked whether it has changed. A reader waits for the database
// for as long as patience, and not at all while it is known to be late; it may take as long as answer to read the list.
const (
	fresh    = time.Second
	patience = time.Second
	answer   = 5 * time.Second
)

// errUnread says that the list was never read.
var errUnread = errors.New("the list of recalls can't be read: its database does not answer")

// Ready says whether the list was read since the start. Before that it is unknown whether a message was recalled.
func (l *List) Ready(ctx context.Context) error {
	defer l.look(ctx).Unlock()
	if l.hashes == nil {
		return errUnread
	}
	return nil
}

// Recalled says whether a message was called back, and why. In the place of a Message-ID may stand its id in the
// ledger. If the database can't be asked, what was read before applies.
func (l *List) Recalled(ctx context.Context, sha256, messageID string) (why string, ok bool) {
	defer l.look(ctx).Unlock()
	r, ok := l.find(sha256, messageID)
	return r.why, ok
}

// find looks the newest recall up. The lock is held.
func (l *List) find(sha256 string, ids ...string) (newest recalled, ok bool) {
	take := func(r recalled, known bool) {
		if known && (!ok || r.at.After(newest.at)) {
			newest, ok = r, true
		}
	}
	if sha256 != "" {
		r, known := l.hashes[strings.ToLower(sha256)]
		take(r, known)
	}
	for _, id := range ids {
		if id = clean(id); id != "" {
			r, known := l.ids[id]
			take(r, known)
		}
	}
	return newest, ok
}

// look reads the list if it may have changed, and locks it. The lock is never held while the database is asked.
func (l *List) look(ctx context.Context) *sync.Mutex {
	l.mu.Lock()
	for range 2 { // what is being read may be older than what we wrote
		if now := l.now(); l.reading == nil && (l.hashes == nil || l.changed || now.Sub(l.looked) > fresh) {
			l.looked, l.changed, l.reading = now, false, make(chan struct{})
			go l.read(context.WithoutCancel(ctx), l.reading)
		}
		if l.reading == nil || l.late {
			break
		}
		l.wait(ctx, l.reading)
		if !l.changed {
			break
		}
	}
	return &l.mu
}

// wait waits for the end of a reading. The lock is held, but not meanwhile.
func (l *List) wait(ctx context.Context, reading chan struct{}) {
	l.mu.Unlock()
	enough := time.NewTimer(patience)
	defer enough.Stop()
	late := false
	select {
	case <-reading:
	case <-ctx.Done():
	case <-enough.C:
		late = true
	}
	l.mu.Lock()
	l.late = l.late || late && l.reading == reading
}

// read reads the list if it has changed.
func (l *List) read(ctx context.Context, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	l.mu.Lock()
	stamp, known := l.stamp, l.hashes != nil
	l.mu.Unlock()
	found, err := l.contents(ctx, stamp, known)
	l.mu.Lock()
	defer l.mu.Unlock()
	if found != nil {
		l.stamp, l.hashes, l.ids, l.grants = found.stamp, found.hashes, found.ids, found.grants
	}
	l.late, l.reading = err != nil, nil
	close(done)
}

// contents is what a list has at one time.
type contents struct {
	stamp       [5]int64
	hashes, ids map[string]recalled
	grants      map[grantKey]time.Time
}

// contents reads the list, nil if it is as it was known at a stamp.
func (l *List) contents(ctx context.Context, before [5]int64, known bool) (*contents, error) {
	stamp := [5]int64{-1, -1, -1, -1, -1}
	rows, err := l.db.Query(ctx, `SELECT COUNT(*), COALESCE(MAX(n), 0), COALESCE(MAX(time), 0), (SELECT COUNT(*) FROM recall_grant),
		(SELECT COALESCE(MAX(n), 0) FROM recall_grant) FROM recall`)
	if err != nil {
		return nil, err
	}
	if rows.Next() {
		err = rows.Scan(&stamp[0], &stamp[1], &stamp[2], &stamp[3], &stamp[4])
	}
	if err := errors.Join(err, rows.Err(), rows.Close()); err != nil || known && stamp == before {
		return nil, err
	}
	all, err := l.All(ctx)
	if err != nil {
		return nil, err
	}
	grants, err := l.allGrants(ctx)
	if err != nil {
		return nil, err
	}
	c := &contents{stamp, map[string]recalled{}, map[string]recalled{}, grants}
	for _, e := range slices.Backward(all) { // the newest last
		r := recalled{e.Why, e.Time}
		if e.SHA256 != "" {
			c.hashes[e.SHA256] = r
		}
		if e.MessageID != "" {
			c.ids[e.MessageID] = r
		}
		if e.ID != "" {
			c.ids[e.ID] = r
		}
	}
	return c, nil
}

// forget has the list read again before it is asked next. Until that succeeds what is known holds.
func (l *List) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed = true
}

func clean(messageID string) string {
	messageID = strings.TrimSpace(strings.ToValidUTF8(strings.ReplaceAll(messageID, "\x00", ""), "?"))
	return messageID[:min(len(messageID), maxMessageID)]
}

func cut(text string) string {
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "?")
	return text[:min(len(text), maxText)]
}

func wrap(err error) error {
	if err != nil {
		return fmt.Errorf("recall: %w", err)
	}
	return nil
}
