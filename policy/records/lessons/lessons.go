// Package lessons is the journal of users' corrections: which user marked which message as spam or ham, by moving it
// into or out of Junk, by a flag, by a release. A classifier is taught from it, and what was learnt wrongly can be
// found and undone. It keeps the octets of the messages for a while, so that a new classifier can be taught as well.
package lessons

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"postern/internal/mail"
	"postern/internal/sqldb"
)

// Ways in which a lesson is given: Lesson.How.
const (
	Move    = "move"
	Copy    = "copy"
	Append  = "append"
	Flag    = "flag"
	Release = "release"
	Delete  = "delete" // out of the quarantine
	Admin   = "admin"
	Folder  = "folder" // a mailbox of labelled mail
	Report  = "report" // mail to an address for misjudged mail
	// Wish is no lesson: the user took a message out of Junk that is masked. An admin may release it; no classifier learns
	// from it.
	Wish = "release wanted"
)

// Reasons why messages gave no lesson: Pass.
const (
	// Bulk are those behind the first of a large move, Login those of a session whose login is in doubt.
	Bulk  = "bulk"
	Login = "login"
)

// Lesson is one correction.
type Lesson struct {
	ID   int64     `json:"id"`
	Time time.Time `json:"time"`
	User string    `json:"user"`
	Door string    `json:"door"`
	// SHA256 is that of the message's octets, in hexadecimal; Place is the mailbox that it came to.
	SHA256    string `json:"sha256"`
	MessageID string `json:"message_id,omitempty"`
	Spam      bool   `json:"spam"`
	How       string `json:"how"`
	Place     string `json:"place,omitempty"`
	// Admin says that an admin of the whole gateway gives the lesson. It is not kept.
	Admin bool `json:"-"`
	// Undone is when it was withdrawn, and UndoneBy the author: the zero time for a lesson that holds.
	Undone   time.Time `json:"undone,omitzero"`
	UndoneBy string    `json:"undone_by,omitempty"`
}

// Outcome is the result of a lesson.
type Outcome string

// The outcomes.
const (
	// Stored lessons are new. Restored ones took an earlier lesson of the same user back, and say no more than that.
	Stored   Outcome = "stored"
	Restored Outcome = "restored"
	// Repeated ones say what the user said before. Capped ones are over the user's daily measure and only counted.
	Repeated Outcome = "repeated"
	Capped   Outcome = "capped"
)

// Bounds, in octets: of what is kept of a message, and of each text.
const (
	MaxContent = 512 << 10
	maxText    = 1000
)

// ErrUnknown says that there is no such lesson that holds.
var ErrUnknown = errors.New("no such lesson, or it is undone already")

// Options of a journal. Zero values mean the defaults.
type Options struct {
	// Daily is how many lessons of one user who is no admin are stored in a day (UTC): 500.
	Daily int
	Now   func() time.Time
}

// Journal is the file with the lessons. It is safe for use by many goroutines.
type Journal struct {
	db  *sqldb.DB
	opt Options
}

func migrations() []string {
	return []string{`
CREATE TABLE lesson (
	id INTEGER PRIMARY KEY, time INTEGER NOT NULL, user TEXT NOT NULL, door TEXT NOT NULL, sha256 TEXT NOT NULL,
	message_id TEXT NOT NULL, spam INTEGER NOT NULL, how TEXT NOT NULL, place TEXT NOT NULL,
	undone INTEGER NOT NULL DEFAULT 0, undone_by TEXT NOT NULL DEFAULT ''
);
CREATE INDEX lesson_message ON lesson (user, sha256);
CREATE INDEX lesson_day ON lesson (user, time);
CREATE INDEX lesson_sha256 ON lesson (sha256);
CREATE TABLE content (sha256 TEXT PRIMARY KEY, time INTEGER NOT NULL, size INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX content_time ON content (time);
CREATE TABLE capped (user TEXT NOT NULL, day INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (user, day)) WITHOUT ROWID;
`, `
CREATE TABLE passed (user TEXT NOT NULL, day INTEGER NOT NULL, why TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (user, day, why)) WITHOUT ROWID;
`}
}

// Open opens the file, and makes it if it isn't there.
func Open(path string, o Options) (*Journal, error) {
	db, err := sqldb.Open(path, sqldb.Relaxed, migrations())
	if err != nil {
		return nil, fmt.Errorf("lessons: %w", err)
	}
	o.Daily = cmp.Or(o.Daily, 500)
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Journal{db: db, opt: o}, nil
}

// Close closes the file.
func (j *Journal) Close() error { return j.db.Close() }

// Learn takes a lesson into the journal, and up to MaxContent octets of the message, which may be nil. The lesson's ID is
// given by the journal; its Time is now if it is zero.
//
// A lesson opposite to the user's earlier one withdraws that. It is not a lesson itself, since it only restores the
// former state; unless the message was uploaded and had none.
func (j *Journal) Learn(ctx context.Context, l Lesson, content *mail.Message) (Outcome, error) {
	if sum, err := hex.DecodeString(l.SHA256); err != nil || len(sum) != 32 {
		return "", fmt.Errorf("lessons: %.80q is no SHA-256", l.SHA256)
	}
	if l.Time.IsZero() {
		l.Time = j.opt.Now()
	}
	for _, text := range []*string{&l.User, &l.Door, &l.MessageID, &l.How, &l.Place} {
		*text = cut(*text)
	}
	body, err := packed(content)
	if err != nil {
		return "", fmt.Errorf("lessons: %w", err)
	}
	var done Outcome
	err = j.db.Write(ctx, func(tx *sql.Tx) error {
		if done, err = j.learn(ctx, tx, l); err != nil || done != Stored || body == nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO content (sha256, time, size, body) VALUES (?, ?, ?, ?)
			ON CONFLICT (sha256) DO UPDATE SET time = max(time, excluded.time)`, l.SHA256, l.Time.UnixMilli(), content.Size(), body)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("lessons: %w", err)
	}
	return done, nil
}

func (j *Journal) learn(ctx context.Context, tx *sql.Tx, l Lesson) (Outcome, error) {
	var before Lesson
	err := tx.QueryRowContext(ctx, `SELECT id, spam, how FROM lesson WHERE user = ? AND sha256 = ? AND undone = 0 ORDER BY id DESC LIMIT 1`,
		l.User, l.SHA256).Scan(&before.ID, &before.Spam, &before.How)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return "", err
	case before.Spam == l.Spam:
		return Repeated, nil
	default:
		if _, err := undo(ctx, tx, before.ID, l.User, l.Time); err != nil || before.How != Append {
			return Restored, err
		}
	}
	day := l.Time.UTC().Truncate(24 * time.Hour)
	var today int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM lesson WHERE user = ? AND time >= ? AND time < ?`,
		l.User, day.UnixMilli(), day.Add(24*time.Hour).UnixMilli()).Scan(&today); err != nil {
		return "", err
	}
	if !l.Admin && today >= j.opt.Daily {
		_, err := tx.ExecContext(ctx, `INSERT INTO capped (user, day, count) VALUES (?, ?, 1) ON CONFLICT (user, day) DO UPDATE SET count = count + 1`,
			l.User, day.UnixMilli())
		return Capped, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO lesson (time, user, door, sha256, message_id, spam, how, place) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		l.Time.UnixMilli(), l.User, l.Door, l.SHA256, l.MessageID, l.Spam, l.How, l.Place)
	return Stored, err
}

func undo(ctx context.Context, tx *sql.Tx, id int64, by string, at time.Time) (int64, error) {
	r, err := tx.ExecContext(ctx, `UPDATE lesson SET undone = ?, undone_by = ? WHERE id = ? AND undone = 0`, at.UnixMilli(), cut(by), id)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// Undo takes a lesson back, and gives it. The error is ErrUnknown if there is none that holds.
func (j *Journal) Undo(ctx context.Context, id int64, by string) (l Lesson, err error) {
	l.ID = id
	err = j.db.Write(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT user, sha256, spam, how FROM lesson WHERE id = ? AND undone = 0`, id).Scan(&l.User, &l.SHA256, &l.Spam, &l.How)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrUnknown
		}
		if err == nil {
			_, err = undo(ctx, tx, id, by, j.opt.Now())
		}
		if err != nil {
			return fmt.Errorf("lessons: %w", err)
		}
		return nil
	})
	return l, err
}

// TakeBack withdraws a user's lesson on a message, if there is one in force; ok is false if not.
func (j *Journal) TakeBack(ctx context.Context, user, sha256 string, spam bool) (ok bool, err error) {
	err = j.db.Write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE lesson SET undone = ?, undone_by = ? WHERE user = ? AND sha256 = ? AND spam = ? AND undone = 0`,
			j.opt.Now().UnixMilli(), cut(user), cut(user), sha256, spam)
		if err != nil {
			return fmt.Errorf("lessons: %w", err)
		}
		n, err := r.RowsAffected()
		ok = n > 0
		return err
	})
	return ok, err
}

// Pass counts messages that a user moved and that gave no lesson.
func (j *Journal) Pass(ctx context.Context, user, why string, messages int64) error {
	return j.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO passed (user, day, why, count) VALUES (?, ?, ?, ?) ON CONFLICT (user, day, why) DO UPDATE SET count = count + excluded.count`,
			cut(user), j.opt.Now().UTC().Truncate(24*time.Hour).UnixMilli(), cut(why), messages)
		if err != nil {
			return fmt.Errorf("lessons: %w", err)
		}
		return nil
	})
}

// Expire deletes the octets of messages without a lesson since a time. The lessons stay. It says of how many messages.
func (j *Journal) Expire(ctx context.Context, since time.Time) (n int64, err error) {
	err = j.db.Write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `DELETE FROM content WHERE time < ?`, since.UnixMilli())
		if err != nil {
			return fmt.Errorf("lessons: %w", err)
		}
		n, err = r.RowsAffected()
		return err
	})
	return n, err
}

// packed compresses what is kept of a message: RFC 1950. It gives nil for none.
func packed(m *mail.Message) ([]byte, error) {
	if m == nil {
		return nil, nil
	}
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	if _, err := io.Copy(w, io.NewSectionReader(m, 0, min(m.Size(), MaxContent))); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func cut(text string) string { return text[:min(len(text), maxText)] }
