package lessons

import (
	"bytes"
	"compress/zlib"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Status counts what is in the journal.
type Status struct {
	// Ham and Spam are the lessons that hold, Undone those taken back; Capped those that were not stored.
	Ham    int64 `json:"ham"`
	Spam   int64 `json:"spam"`
	Undone int64 `json:"undone"`
	Capped int64 `json:"capped"`
	// Wishes are messages that users want released. Bulk and Login are messages that gave no lesson: see Pass.
	Wishes int64 `json:"wishes"`
	Bulk   int64 `json:"bulk"`
	Login  int64 `json:"login"`
	// Users gave them. Messages are those whose octets are kept.
	Users    int64 `json:"users"`
	Messages int64 `json:"messages"`
	// Newest is the time of the last one.
	Newest time.Time `json:"newest,omitzero"`
}

// Status counts.
func (j *Journal) Status(ctx context.Context) (s Status, err error) {
	var newest sql.NullInt64
	err = j.db.Read().QueryRowContext(ctx, `SELECT count(*) FILTER (WHERE undone = 0 AND spam = 0 AND how <> ?1), count(*) FILTER (WHERE undone = 0 AND spam = 1),
		count(*) FILTER (WHERE undone > 0), count(DISTINCT user), max(time), (SELECT coalesce(sum(count), 0) FROM capped),
		(SELECT count(*) FROM content), count(*) FILTER (WHERE undone = 0 AND how = ?1), (SELECT coalesce(sum(count), 0) FROM passed WHERE why = ?2),
		(SELECT coalesce(sum(count), 0) FROM passed WHERE why = ?3) FROM lesson`, Wish, Bulk, Login).
		Scan(&s.Ham, &s.Spam, &s.Undone, &s.Users, &newest, &s.Capped, &s.Messages, &s.Wishes, &s.Bulk, &s.Login)
	if err != nil {
		return Status{}, fmt.Errorf("lessons: %w", err)
	}
	if newest.Valid {
		s.Newest = time.UnixMilli(newest.Int64)
	}
	return s, nil
}

// Filter says which lessons are wanted. What is zero does not matter.
type Filter struct {
	User, SHA256 string
	// Since is the first moment; After is the id behind which to begin, the oldest first, for the training of a
	// classifier. Without it the newest come first.
	Since time.Time
	After int64
	// Oldest says that the oldest come first, as with After.
	Oldest bool
	// Holding leaves out what was taken back, and what is only a wish.
	Holding bool
	// Limit is how many at most: 100 if it is 0, 10,000 at most.
	Limit int
}

// List gives lessons.
func (j *Journal) List(ctx context.Context, f Filter) (all []Lesson, err error) {
	var where []string
	var args []any
	add := func(condition string, arg any) {
		where, args = append(where, condition), append(args, arg)
	}
	order := "id DESC"
	if f.Oldest {
		order = "id"
	}
	if f.User != "" {
		add("user = ?", f.User)
	}
	if f.SHA256 != "" {
		add("sha256 = ?", f.SHA256)
	}
	if !f.Since.IsZero() {
		add("time >= ?", f.Since.UnixMilli())
	}
	if f.After > 0 {
		add("id > ?", f.After)
		order = "id"
	}
	if f.Holding {
		add("undone = ?", 0)
		add("how <> ?", Wish)
	}
	query := `SELECT id, time, user, door, sha256, message_id, spam, how, place, undone, undone_by FROM lesson`
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	rows, err := j.db.Read().QueryContext(ctx, query+" ORDER BY "+order+" LIMIT ?", append(args, min(f.Limit, 10_000))...)
	if err != nil {
		return nil, fmt.Errorf("lessons: %w", err)
	}
	defer func() { _ = rows.Close() }() // its error is that of rows.Err
	for rows.Next() {
		var l Lesson
		var at, undone int64
		if err := rows.Scan(&l.ID, &at, &l.User, &l.Door, &l.SHA256, &l.MessageID, &l.Spam, &l.How, &l.Place, &undone, &l.UndoneBy); err != nil {
			return nil, fmt.Errorf("lessons: %w", err)
		}
		if l.Time = time.UnixMilli(at); undone > 0 {
			l.Undone = time.UnixMilli(undone)
		}
		all = append(all, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("lessons: %w", err)
	}
	return all, nil
}

// Content gives what is kept of the octets of a message, not ok if that is nothing.
func (j *Journal) Content(ctx context.Context, sha256 string) (octets []byte, ok bool, err error) {
	var body []byte
	err = j.db.Read().QueryRowContext(ctx, `SELECT body FROM content WHERE sha256 = ?`, sha256).Scan(&body)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("lessons: %w", err)
	}
	r, err := zlib.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, false, fmt.Errorf("lessons: message %s: %w", sha256, err)
	}
	octets, err = io.ReadAll(io.LimitReader(r, MaxContent))
	if err != nil {
		return nil, false, fmt.Errorf("lessons: message %s: %w", sha256, err)
	}
	return octets, true, nil
}
