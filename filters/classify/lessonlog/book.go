package lessonlog

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"postern/filters/classify/model"
	"postern/internal/sqldb"
)

// Book is the log in a file. It is safe for use by many goroutines, and by several processes at once.
type Book struct {
	db   *sqldb.DB
	name atomic.Pointer[string]
}

func migrations() []string {
	return []string{`
CREATE TABLE book (name BLOB NOT NULL);
CREATE TABLE event (
	seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id BLOB NOT NULL, spam INTEGER NOT NULL, by TEXT NOT NULL, way TEXT NOT NULL,
	trusted INTEGER NOT NULL, time INTEGER NOT NULL, sketch BLOB NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, everyone INTEGER NOT NULL,
	lesson BLOB NOT NULL, origin TEXT NOT NULL
);
CREATE UNIQUE INDEX event_origin ON event (origin) WHERE origin <> '';
`, `
CREATE TABLE outgoing (id INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL, lesson BLOB NOT NULL);
CREATE TABLE shared (name TEXT NOT NULL);
`, `
CREATE TABLE uncertain (id BLOB PRIMARY KEY, message TEXT NOT NULL, odds REAL NOT NULL, time INTEGER NOT NULL, sketch BLOB NOT NULL, lesson BLOB NOT NULL);
`}
}

// Open opens the file, and makes it if it isn't there.
func Open(path string) (*Book, error) {
	db, err := sqldb.Open(path, sqldb.Full, migrations())
	if err != nil {
		return nil, fmt.Errorf("classifier's log: %w", err)
	}
	b := &Book{db: db}
	if err := b.baptize(); err != nil {
		return nil, errors.Join(fmt.Errorf("classifier's log: %w", err), db.Close())
	}

	return b, nil
}

// baptize gives a new book a random name, so that no snapshot made of another one is taken for one of it.
func (b *Book) baptize() error {
	return b.db.Write(context.Background(), func(tx *sql.Tx) error {
		name, err := nameOf(tx)
		if errors.Is(err, sql.ErrNoRows) {
			name = rand.Text()
			_, err = tx.Exec(`INSERT INTO book (name) VALUES (?)`, []byte(name))
		}
		b.name.Store(&name)

		return err
	})
}

func nameOf(tx *sql.Tx) (string, error) {
	var name []byte
	err := tx.QueryRow(`SELECT name FROM book`).Scan(&name)

	return string(name), err
}

// Name is the random name of the book. It changes where a shared log begins anew: then no number of an event means what it
// did.
func (b *Book) Name() string { return *b.name.Load() }

// Close closes the file.
func (b *Book) Close() error { return b.db.Close() }

// maxText bounds names in events, in octets.
const maxText = 200

// Append puts events at the end, all or none.
func (b *Book) Append(ctx context.Context, events ...Event) error {
	err := b.db.Write(ctx, func(tx *sql.Tx) error {
		for i := range events {
			if err := insert(ctx, tx, &events[i], ""); err != nil {
				return err
			}
		}

		return nil
	})
	if err != nil {
		return fmt.Errorf("classifier's log: %w", err)
	}

	return nil
}

func insert(ctx context.Context, tx *sql.Tx, e *Event, origin string) error {
	if e.Lesson == nil {
		e.Lesson = []byte{}
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO event (kind, id, spam, by, way, trusted, time, sketch, first, last, everyone, lesson, origin)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, e.Kind, e.ID[:], e.Spam, cut(e.By), cut(e.Way), e.Trusted, e.Time.UnixMilli(),
		sketchOctets(e), e.From, e.To, e.All, e.Lesson, origin)

	return err
}

func cut(text string) string { return text[:min(len(text), maxText)] }

func sketchOctets(e *Event) []byte { return octetsOf(&e.Sketch) }

func octetsOf(s *model.Sketch) []byte {
	b := make([]byte, 0, 4*len(s))
	for _, h := range s {
		b = binary.LittleEndian.AppendUint32(b, h)
	}

	return b
}

// Last is the number of the last event, 0 if there is none.
func (b *Book) Last(ctx context.Context) (seq int64, err error) {
	err = b.db.Read().QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM event`).Scan(&seq)
	if err != nil {
		return 0, fmt.Errorf("classifier's log: %w", err)
	}

	return seq, nil
}

// ErrEnough ends a walk through events without an error.
var ErrEnough = errors.New("enough")

// Each gives the events behind a number, in order, without their lessons, until each says ErrEnough.
func (b *Book) Each(ctx context.Context, after int64, each func(*Event) error) (err error) {
	rows, err := b.db.Read().QueryContext(ctx, `SELECT seq, kind, id, spam, by, way, trusted, time, sketch, first, last, everyone FROM event WHERE seq > ? ORDER BY seq`, after)
	if err != nil {
		return fmt.Errorf("classifier's log: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var e Event
		var id, sketch []byte
		var at int64
		if err := rows.Scan(&e.Seq, &e.Kind, &id, &e.Spam, &e.By, &e.Way, &e.Trusted, &at, &sketch, &e.From, &e.To, &e.All); err != nil {
			return fmt.Errorf("classifier's log: %w", err)
		}
		if copy(e.ID[:], id) < len(e.ID) || len(sketch) < 4*len(e.Sketch) {
			return fmt.Errorf("classifier's log: event %d: %w", e.Seq, ErrEvent)
		}
		for i := range e.Sketch {
			e.Sketch[i] = binary.LittleEndian.Uint32(sketch[4*i:])
		}
		e.Time = time.UnixMilli(at)
		if err := each(&e); errors.Is(err, ErrEnough) {
			return nil
		} else if err != nil {
			return err
		}
	}

	return rows.Err()
}

// Lesson gives the lesson of an event.
func (b *Book) Lesson(ctx context.Context, seq int64) (lesson []byte, err error) {
	if err := b.db.Read().QueryRowContext(ctx, `SELECT lesson FROM event WHERE seq = ?`, seq).Scan(&lesson); err != nil {
		return nil, fmt.Errorf("classifier's log: event %d: %w", seq, err)
	}

	return lesson, nil
}
