package lessonlog

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"postern/filters/classify/model"
)

// Uncertain is a message that a classifier was not sure about, and what it is to learn of it once somebody says what it was: hashed
// features, no text.
type Uncertain struct {
	ID ID `json:"id"`
	// Message is the id of the transaction, under which the ledger has it.
	Message string    `json:"message"`
	Odds    float64   `json:"odds"`
	Time    time.Time `json:"time"`

	Sketch model.Sketch `json:"-"`
	Lesson []byte       `json:"-"`
}

// Bounds of what is kept: how many messages, and how long.
const (
	maxUncertain  = 1000
	keepUncertain = 7 * 24 * time.Hour
)

// ErrNotKept says that there is no such message.
var ErrNotKept = errors.New("no such message is kept")

// KeepUncertain keeps a message, and lets go of those that are too old or too many.
func (b *Book) KeepUncertain(ctx context.Context, u Uncertain) error {
	err := b.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO uncertain (id, message, odds, time, sketch, lesson) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			u.ID[:], cut(u.Message), u.Odds, u.Time.UnixMilli(), octetsOf(&u.Sketch), u.Lesson)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM uncertain WHERE time < ? OR id NOT IN (SELECT id FROM uncertain ORDER BY time DESC LIMIT ?)`,
			u.Time.Add(-keepUncertain).UnixMilli(), maxUncertain)

		return err
	})
	if err != nil {
		return fmt.Errorf("classifier's log: %w", err)
	}

	return nil
}

// Uncertain lists messages, the newest first.
func (b *Book) Uncertain(ctx context.Context, limit int) (all []Uncertain, err error) {
	rows, err := b.db.Read().QueryContext(ctx, `SELECT id, message, odds, time FROM uncertain ORDER BY time DESC, id LIMIT ?`, limit)
	if err != nil {
		return nil, fmt.Errorf("classifier's log: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	all = []Uncertain{}
	for rows.Next() {
		var u Uncertain
		var id []byte
		var at int64
		if err := rows.Scan(&id, &u.Message, &u.Odds, &at); err != nil {
			return nil, fmt.Errorf("classifier's log: %w", err)
		}
		copy(u.ID[:], id)
		u.Time = time.UnixMilli(at)
		all = append(all, u)
	}

	return all, rows.Err()
}

// FindUncertain gives a message with its lesson; ErrNotKept if there is none.
func (b *Book) FindUncertain(ctx context.Context, id ID) (u Uncertain, err error) {
	u.ID = id
	var sketch []byte
	err = b.db.Read().QueryRowContext(ctx, `SELECT message, sketch, lesson FROM uncertain WHERE id = ?`, id[:]).Scan(&u.Message, &sketch, &u.Lesson)
	if errors.Is(err, sql.ErrNoRows) {
		return u, ErrNotKept
	}
	if err != nil {
		return u, fmt.Errorf("classifier's log: %w", err)
	}
	if len(sketch) < 4*len(u.Sketch) {
		return u, fmt.Errorf("classifier's log: %v: %w", id, ErrEvent)
	}
	for i := range u.Sketch {
		u.Sketch[i] = binary.LittleEndian.Uint32(sketch[4*i:])
	}

	return u, nil
}

// DropUncertain lets go of a message.
func (b *Book) DropUncertain(ctx context.Context, id ID) error {
	err := b.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM uncertain WHERE id = ?`, id[:])
		return err
	})
	if err != nil {
		return fmt.Errorf("classifier's log: %w", err)
	}

	return nil
}
