package quarantine

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/internal/mail"
)

// Filter says which items are listed. What it leaves out does not matter.
type Filter struct {
	// State is Held where nothing is said; "all" lists all.
	State State
	// Recipient is an address or a domain.
	Recipient string
	// Text is looked for in subject, sender and author, whatever its case.
	Text string
	// Since is included, Until isn't.
	Since, Until time.Time
	// Limit is how many are listed, the newest first; 0 is 100.
	Limit int
}

// AnyState lists items of all states.
const AnyState State = "all"

// List gives the items that the filter asks for, the newest first.
func (q *Quarantine) List(ctx context.Context, f Filter) ([]Item, error) {
	text, args := "SELECT meta, state, by FROM item WHERE 1", []any{}
	and := func(condition string, value any) {
		text += " AND " + condition
		args = append(args, value)
	}
	if f.State == "" {
		f.State = Held
	}
	if f.State != AnyState {
		and("state = ?", string(f.State))
	}
	if !f.Since.IsZero() {
		and("time >= ?", f.Since.UnixMilli())
	}
	if !f.Until.IsZero() {
		and("time < ?", f.Until.UnixMilli())
	}
	if f.Recipient != "" {
		column, value := "domain", strings.TrimPrefix(f.Recipient, "@")
		if a, err := mail.ParseAddress(f.Recipient); err == nil {
			column, value = "address", a.Key()
		} else {
			value = mail.ASCIIDomain(value)
		}
		and("id IN (SELECT item FROM recipient WHERE "+column+" = ?)", value)
	}
	if f.Text != "" {
		and(`instr(lower(coalesce(meta ->> 'subject', '') || char(10) || coalesce(meta ->> 'header_from', '') || char(10) ||
			coalesce(meta -> 'from' ->> 'Local', '') || '@' || coalesce(meta -> 'from' ->> 'Domain', '')), lower(?)) > 0`, f.Text)
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	found, err := q.items(ctx, f.Limit, text+" ORDER BY time DESC, id DESC LIMIT ?", append(args, f.Limit)...)
	if err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	return found, nil
}

// Unfinished gives what was claimed and not finished, the oldest first. At the start, before anybody can claim anything,
// that is what a crash left: it is to be put on the queue again, under the same id, and finished.
func (q *Quarantine) Unfinished(ctx context.Context) ([]Item, error) {
	found, err := q.items(ctx, 0, "SELECT meta, state, by FROM item WHERE state = ? ORDER BY time, id", string(Releasing))
	if err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	return found, nil
}

// Expire deletes what came before, held or released, and says how many. What is being released stays.
func (q *Quarantine) Expire(ctx context.Context, before time.Time) (int, error) {
	n := 0
	for {
		old, err := q.items(ctx, 0, "SELECT meta, state, by FROM item WHERE time < ? AND state <> ? ORDER BY time LIMIT 200", before.UnixMilli(), string(Releasing))
		if err != nil {
			return n, fmt.Errorf("quarantine: %w", err)
		}
		if len(old) == 0 {
			return n, nil
		}
		for _, item := range old {
			if err := q.Delete(ctx, item.ID); err != nil && !errors.Is(err, ErrTaken) && !errors.Is(err, ErrUnknown) {
				return n, err
			}
			n++
		}
	}
}

func (q *Quarantine) items(ctx context.Context, room int, text string, args ...any) ([]Item, error) {
	rows, err := q.db.Read().QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // reading only; Err tells what matters
	found := make([]Item, 0, room)
	for rows.Next() {
		var meta []byte
		var state, by string
		if err := rows.Scan(&meta, &state, &by); err != nil {
			return nil, err
		}
		var item Item
		if err := json.Unmarshal(meta, &item); err != nil {
			return nil, err
		}
		item.State, item.By = State(state), by
		found = append(found, item)
	}
	return found, rows.Err()
}

// reconcile brings the index in line with the files: after a crash, after the loss of the index, after somebody took
// files away by hand. It never touches a message, and the server may hold and release mail while the CLI comes through
// here: the index is read before the files, so that what appears in between is merely new.
func (q *Quarantine) reconcile(ctx context.Context) error {
	known, err := q.states(ctx)
	if err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	here, err := scan(q.dir)
	if err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	left, err := scan(filepath.Join(q.dir, released))
	if err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	for id := range here {
		if _, ok := known[id]; !ok && !left[id] {
			q.adopt(ctx, id, q.folder(id), Held)
		}
	}
	for id := range left {
		switch state, ok := known[id]; {
		case !ok:
			q.adopt(ctx, id, q.leftFolder(id), Released)
		case state == Releasing: // it went as far as its file and no further
			if err := q.change(ctx, id, Releasing, Released, nil); err != nil && !errors.Is(err, ErrTaken) && !errors.Is(err, ErrUnknown) {
				return err
			}
		}
	}
	for id := range known {
		if !here[id] && !left[id] {
			q.forget(ctx, id)
		}
	}
	return nil
}

// forget takes an item without a file out of the index.
func (q *Quarantine) forget(ctx context.Context, id string) {
	for _, dir := range []string{q.folder(id), q.leftFolder(id)} {
		if _, err := os.Stat(filepath.Join(dir, id)); !errors.Is(err, fs.ErrNotExist) {
			return // there it is, or it can't be known
		}
	}
	err := q.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM item WHERE id = ?", id)
		return err
	})
	q.log.Warn("a message has gone from the quarantine", "id", id, "error", err)
}

// adopt takes a file into the index. One that can't be read is left where it is, for the admin to look at.
func (q *Quarantine) adopt(ctx context.Context, id, dir string, state State) {
	var item Item
	m, err := mail.OpenStored(filepath.Join(dir, id), &item)
	if err == nil {
		err = m.Close()
	}
	if err == nil && item.ID != id {
		err = fmt.Errorf("the file says that it is %q", item.ID)
	}
	if err == nil {
		err = q.index(ctx, &item, state)
	}
	if err != nil {
		q.log.Error("a file in the quarantine can't be taken into the index", "id", id, "error", err)
		return
	}
	q.log.Info("a message was taken into the index of the quarantine", "id", id, "state", string(state))
}

func (q *Quarantine) states(ctx context.Context) (map[string]State, error) {
	rows, err := q.db.Read().QueryContext(ctx, "SELECT id, state FROM item")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // reading only; Err tells what matters
	known := map[string]State{}
	for rows.Next() {
		var id, state string
		if err := rows.Scan(&id, &state); err != nil {
			return nil, err
		}
		known[id] = State(state)
	}
	return known, rows.Err()
}

// scan finds the ids in the shards of a folder, and removes what a crash left half written.
func scan(dir string) (map[string]bool, error) {
	ids := map[string]bool{}
	shards, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, s := range shards {
		if !s.IsDir() || len(s.Name()) != 2 {
			continue
		}
		files, err := os.ReadDir(filepath.Join(dir, s.Name()))
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			switch name := f.Name(); {
			case strings.HasPrefix(name, ".new-"):
				if err := removeOld(f, filepath.Join(dir, s.Name(), name)); err != nil {
					return nil, err
				}
			case mail.ValidID(name) && shard(name) == s.Name():
				ids[name] = true
			}
		}
	}
	return ids, nil
}

// removeOld removes a half-written file unless it may be another process's work of this very moment: the CLI opens the
// quarantine while the server holds mail.
func removeOld(f fs.DirEntry, path string) error {
	info, err := f.Info()
	if errors.Is(err, fs.ErrNotExist) || err == nil && time.Since(info.ModTime()) < time.Hour {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
