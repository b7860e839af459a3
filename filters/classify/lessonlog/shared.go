package lessonlog

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"postern/internal/state"
)

// Stream is a list that several gateways append to and read in the same order: state.Stream.
type Stream interface {
	Claim(ctx context.Context, name string) (string, error)
	Add(ctx context.Context, fields map[string]string) error
	After(ctx context.Context, id string, n int) ([]state.StreamEntry, error)
}

// Shared is a log that several gateways have in common. The stream decides the order of events; the book of each gateway is a
// copy of it, with the same numbers. What is appended while the stream is away waits in the book.
type Shared struct {
	book   *Book
	stream Stream
	key    string        // the name of the key of hashed features
	busy   chan struct{} // holds something while one speaks with the stream
	away   atomic.Bool   // the last Sync failed
}

// Share makes the log of a book a common one. key names the key of the hashed features, which all gateways must have alike.
// What the book knows already is brought in.
func Share(b *Book, s Stream, key string) *Shared {
	return &Shared{book: b, stream: s, key: key, busy: make(chan struct{}, 1)}
}

// ErrOtherKey says that the gateways have different keys.
var ErrOtherKey = errors.New("the gateways that share the classifier's lessons have different keys: copy classifier.key from one of them to data_dir of all others")

// Append puts events at the end of the log, or lets them wait until there is a connection.
func (s *Shared) Append(ctx context.Context, events ...Event) error {
	err := s.book.db.Write(ctx, func(tx *sql.Tx) error {
		for i := range events {
			if err := send(ctx, tx, &events[i]); err != nil {
				return err
			}
		}

		return nil
	})
	if err != nil {
		return fmt.Errorf("classifier's log: %w", err)
	}

	if !s.away.Load() { // else they wait until the next Sync finds it again: nobody who teaches waits for what is not there
		_ = s.Sync(ctx) // whoever reads the log is told
	}

	return nil
}

func send(ctx context.Context, tx *sql.Tx, e *Event) error {
	e.By, e.Way = cut(e.By), cut(e.Way)
	text, err := json.Marshal(sent{*e, e.Sketch[:]})
	if err != nil {
		return err
	}
	if e.Lesson == nil {
		e.Lesson = []byte{}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO outgoing (event, lesson) VALUES (?, ?)`, string(text), e.Lesson)

	return err
}

// sent is an event as it stands in the stream, the lesson beside it.
type sent struct {
	Event
	Sketch []uint32 `json:"sketch"`
}

// Sync writes what waits, and copies what is new in the stream.
func (s *Shared) Sync(ctx context.Context) (err error) {
	defer func() { s.away.Store(err != nil) }()
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.join(ctx); err != nil {
		return err
	}
	if err := s.push(ctx); err != nil {
		return err
	}
	for {
		n, err := s.pull(ctx)
		if err != nil || n == 0 {
			return err
		}
	}
}

// join makes the book a copy of the stream, also of one that took the place of a lost one. What the book knows goes into the
// stream first.
func (s *Shared) join(ctx context.Context) error {
	name, err := s.stream.Claim(ctx, s.key+" "+rand.Text())
	if err != nil {
		return err
	}
	if key, _, _ := strings.Cut(name, " "); key != s.key {
		return ErrOtherKey
	}
	known := ""
	row := s.book.db.Read().QueryRowContext(ctx, `SELECT coalesce(max(name), '') FROM shared`)
	if err := row.Scan(&known); err != nil {
		return fmt.Errorf("classifier's log: %w", err)
	}
	if known != name {
		if err := s.begin(ctx, name); err != nil {
			return fmt.Errorf("classifier's log: %w", err)
		}
	}

	return nil
}

// begin empties the book, under a new name, and lets all that was in it wait for the stream.
func (s *Shared) begin(ctx context.Context, name string) error {
	var all []Event
	err := s.book.Each(ctx, 0, func(e *Event) error {
		all = append(all, *e)
		return nil
	})
	if err != nil {
		return err
	}
	fresh, holding := rand.Text(), Holding(all)
	err = s.book.db.Write(ctx, func(tx *sql.Tx) error {
		for i := range holding { // a lesson after the other: all together may be too much for the memory
			e := holding[i]
			if err := tx.QueryRowContext(ctx, `SELECT lesson FROM event WHERE seq = ?`, e.Seq).Scan(&e.Lesson); err != nil {
				return err
			}
			if err := send(ctx, tx, &e); err != nil {
				return err
			}
		}
		for _, statement := range []string{`DELETE FROM event`, `DELETE FROM sqlite_sequence WHERE name = 'event'`, `DELETE FROM shared`} {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO shared (name) VALUES (?)`, name); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE book SET name = ?`, []byte(fresh))

		return err
	})
	if err == nil {
		s.book.name.Store(&fresh)
	}

	return err
}

// push writes what waits into the stream, in its order. What a lost reply leaves twice in it says the same twice.
func (s *Shared) push(ctx context.Context) error {
	for {
		var id int64
		var event string
		var lesson []byte
		err := s.book.db.Read().QueryRowContext(ctx, `SELECT id, event, lesson FROM outgoing ORDER BY id LIMIT 1`).Scan(&id, &event, &lesson)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("classifier's log: %w", err)
		}
		if err := s.stream.Add(ctx, map[string]string{"event": event, "lesson": string(lesson)}); err != nil {
			return err
		}
		err = s.book.db.Write(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `DELETE FROM outgoing WHERE id = ?`, id)
			return err
		})
		if err != nil {
			return fmt.Errorf("classifier's log: %w", err)
		}
	}
}

// pullAtOnce is how many events are read at once.
const pullAtOnce = 100

// pull copies events that are new in the stream, and says how many.
func (s *Shared) pull(ctx context.Context) (n int, err error) {
	const last = `SELECT coalesce((SELECT origin FROM event WHERE origin <> '' ORDER BY seq DESC LIMIT 1), '')`
	var before string
	if err := s.book.db.Read().QueryRowContext(ctx, last).Scan(&before); err != nil {
		return 0, fmt.Errorf("classifier's log: %w", err)
	}
	fresh, err := s.stream.After(ctx, before, pullAtOnce)
	if err != nil || len(fresh) == 0 {
		return 0, err
	}
	err = s.book.db.Write(ctx, func(tx *sql.Tx) error {
		var now string
		if err := tx.QueryRowContext(ctx, last).Scan(&now); err != nil || now != before {
			return err // another process of this gateway was faster
		}
		for _, f := range fresh {
			e, err := received(f)
			if err != nil {
				return err
			}
			if err := insert(ctx, tx, &e, f.ID); err != nil {
				return err
			}
		}

		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("classifier's log: %w", err)
	}

	return len(fresh), nil
}

// received reads an event of the stream.
func received(f state.StreamEntry) (Event, error) {
	var in sent
	if err := json.Unmarshal([]byte(f.Fields["event"]), &in); err != nil {
		return Event{}, fmt.Errorf("%s: %w: %w", f.ID, ErrEvent, err)
	}
	e := in.Event
	e.Lesson = []byte(f.Fields["lesson"])
	if copy(e.Sketch[:], in.Sketch) < len(e.Sketch) {
		return Event{}, fmt.Errorf("%s: %w", f.ID, ErrEvent)
	}

	return e, nil
}
