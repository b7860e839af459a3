// Package recall keeps the list of messages that turned out bad after they were delivered. They are masked for everybody
// who fetches them through the gateway.
package recall

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
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
	// told hears of each recall that was added, or taken back by somebody; nil for nobody.
	told func(e Entry, undone bool)

	mu     sync.Mutex
	looked time.Time
	stamp  [2]int64
	hashes map[string]string // to why
	ids    map[string]string // Message-IDs and the ledger's ids
}

func schema() sqldb.Schema {
	const table = `CREATE TABLE recall (
	n INTEGER PRIMARY KEY%s, sha256 TEXT NOT NULL, message_id TEXT NOT NULL, id TEXT NOT NULL, by_whom TEXT NOT NULL,
	why TEXT NOT NULL, time BIGINT NOT NULL, UNIQUE (sha256, message_id))`
	return sqldb.Schema{Name: "recall", SQLite: []string{fmt.Sprintf(table, " AUTOINCREMENT")}, Postgres: []string{fmt.Sprintf(table, " GENERATED ALWAYS AS IDENTITY")}}
}

// Open opens the list in the database that a URL or path names.
func Open(where string, now func() time.Time) (*List, error) {
	db, err := sqldb.Connect(where, sqldb.Full, schema())
	if err != nil {
		return nil, fmt.Errorf("recall: %w", err)
	}
	return &List{db: db, now: now}, nil
}

// Tell says who hears of each recall that is added or, with undone set, taken back: before the first of them.
func (l *List) Tell(told func(e Entry, undone bool)) { l.told = told }

// Close closes the database.
func (l *List) Close() error { return l.db.Close() }

// bounds of what an entry holds, in octets.
const (
	maxMessageID = 998 // a line: RFC 5322 section 2.1.1
	maxText      = 500
)

// Add calls a message back. Calling it back again changes nothing.
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
		_, err := tx.ExecContext(ctx, l.db.Bind("INSERT INTO recall (sha256, message_id, id, by_whom, why, time) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"),
			e.SHA256, e.MessageID, cut(e.ID), cut(e.By), cut(e.Why), e.Time.UnixMilli())
		return err
	})
	l.forget()
	if err == nil && l.told != nil {
		l.told(e, false)
	}
	return wrap(err)
}

// Remove takes recalls back that have this hash, Message-ID or id; by says who does.
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

// fresh is how long the list is taken from memory before it is asked whether it has changed.
const fresh = time.Second

// Recalled says whether a message was called back, and why. In the place of a Message-ID may stand its id in the ledger. If the database can't be asked, what is remembered holds.
func (l *List) Recalled(ctx context.Context, sha256, messageID string) (why string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.now(); l.hashes == nil || now.Sub(l.looked) > fresh {
		l.looked = now
		l.refresh(ctx)
	}
	if why, ok = l.hashes[strings.ToLower(sha256)]; ok && sha256 != "" {
		return why, true
	}
	messageID = clean(messageID)
	why, ok = l.ids[messageID]
	return why, ok && messageID != ""
}

// refresh reads the list if it has changed.
func (l *List) refresh(ctx context.Context) {
	stamp := [2]int64{-1, -1}
	rows, err := l.db.Query(ctx, "SELECT COUNT(*), COALESCE(MAX(n), 0) FROM recall")
	if err != nil {
		return
	}
	if rows.Next() {
		err = rows.Scan(&stamp[0], &stamp[1])
	}
	if errors.Join(err, rows.Err(), rows.Close()) != nil || stamp == l.stamp && l.hashes != nil {
		return
	}
	all, err := l.All(ctx)
	if err != nil {
		return
	}
	l.stamp, l.hashes, l.ids = stamp, map[string]string{}, map[string]string{}
	for _, e := range all {
		if e.SHA256 != "" {
			l.hashes[e.SHA256] = e.Why
		}
		if e.MessageID != "" {
			l.ids[e.MessageID] = e.Why
		}
		if e.ID != "" {
			l.ids[e.ID] = e.Why
		}
	}
}

func (l *List) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hashes, l.ids = nil, nil
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
