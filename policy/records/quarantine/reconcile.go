package quarantine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
)

// reconcile brings the index in line with the files: after a crash, after the loss of the index, after files were
// removed by hand. It never touches a message, and the server may hold and release mail while the CLI comes through
// here: the index is read before the files, so that what appears in between is merely new.
func (q *Quarantine) reconcile(ctx context.Context) error {
	if err := q.fillIn(ctx); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
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

	q.compareFiles(ctx, known, here, left)
	there := func(id string) bool { return here.messages[id] || left.messages[id] }
	for id := range known {
		if !there(id) {
			q.forget(ctx, id)
		}
	}
	for id := range here.states {
		if _, ok := known[id]; !ok && !there(id) {
			q.removeStray(id)
		}
	}

	return nil
}

// compareFiles takes up messages that the index does not know, and states that it has missed.
func (q *Quarantine) compareFiles(ctx context.Context, known map[string]State, here, left found) {
	for id := range here.messages {
		switch _, ok := known[id]; {
		case left.messages[id]:
		case !ok:
			q.adopt(ctx, id, q.folder(id), Held)
		case here.states[id]: // some of its copies may have gone further than the index knows
			q.catchUp(ctx, id)
		}
	}
	for id := range left.messages {
		switch state, ok := known[id]; {
		case !ok:
			q.adopt(ctx, id, q.leftFolder(id), Released)
		case state != Released: // it went as far as its file and no further
			q.catchUp(ctx, id)
		}
	}
}

// fillIn gives rows that an older version wrote what this one's have.
func (q *Quarantine) fillIn(ctx context.Context) error {
	old, err := q.items(ctx, 0, selectItem+" WHERE form = 0")
	if err != nil {
		return err
	}
	for _, item := range old {
		list := fresh(item.Recipients)
		for i := range list {
			if item.State != Held {
				list[i].State, list[i].By, list[i].At, list[i].Release = item.State, item.By, item.Time, 1
			}
		}
		err := q.db.Write(ctx, func(tx *sql.Tx) error {
			if item.State != Held {
				if err := makeFolder(q.folder(item.ID)); err != nil {
					return err
				}
				if err := q.writeState(item.ID, list); err != nil {
					return err
				}
			}
			return indexIn(ctx, tx, &item, list)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// catchUp brings one item's row to where its files are: the file beside the message has the states of the copies, and a
// message that lies among those that left has no copy that is held.
func (q *Quarantine) catchUp(ctx context.Context, id string) {
	err := q.db.Write(ctx, func(tx *sql.Tx) error {
		before, err := standings(ctx, tx, id)
		if err != nil {
			return err
		}
		// read with the write lock held: no other process changes it meanwhile
		list, err := q.readState(id)
		if err != nil {
			return err
		}
		if list == nil {
			list = slices.Clone(before)
		}
		if _, err := os.Stat(filepath.Join(q.leftFolder(id), id)); err == nil {
			list = allLeft(list)
		} else if state, _ := summary(list); state == Released {
			if err := q.moveAway(id); err != nil {
				return err
			}
		}
		if slices.Equal(before, list) {
			return nil
		}
		return writeStandings(ctx, tx, id, list)
	})
	if err != nil && !errors.Is(err, ErrUnknown) {
		q.log.Error("the index of the quarantine can't be brought in line with a message's file", "id", id, "error", err)
	}
}

func allLeft(list []Standing) []Standing {
	for i := range list {
		if list[i].State == Held || list[i].State == Releasing {
			list[i].State = Released
		}
	}
	return list
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
	q.removeStray(id)
}

// removeStray removes the state file of a deleted message, unless one may be being written at this moment.
func (q *Quarantine) removeStray(id string) {
	info, err := os.Stat(q.statePath(id))
	if err != nil || time.Since(info.ModTime()) < time.Hour {
		return
	}
	if err := os.Remove(q.statePath(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		q.log.Warn("the state of a message that has gone can't be removed", "id", id, "error", err)
	}
}

// adopt takes a file into the index. One that can't be read is left where it is, for the admin to look at.
func (q *Quarantine) adopt(ctx context.Context, id, dir string, state State) {
	var s stored
	m, err := mail.OpenStored(filepath.Join(dir, id), &s)
	if err == nil {
		err = m.Close()
	}
	if err == nil && s.ID != id {
		err = fmt.Errorf("the file says that it is %q", s.ID)
	}
	if err == nil {
		err = q.db.Write(ctx, func(tx *sql.Tx) error {
			// read with the write lock held: no other process changes it meanwhile
			list, err := q.readState(id)
			if err != nil {
				// its release can't be known: held, it is released twice at worst, but never lost
				q.log.Error("what became of a message's copies can't be read; they are held", "id", id, "error", err)
			}
			if list == nil {
				list = fresh(s.Recipients)
			}
			if state == Released {
				list = allLeft(list)
			}
			return indexIn(ctx, tx, &s.Item, list)
		})
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

// found are the ids in a folder: of messages, and of states that lie beside them.
type found struct{ messages, states map[string]bool }

// scan finds the ids in the shards of a folder, and removes what a crash left half written.
func scan(dir string) (found, error) {
	ids := found{map[string]bool{}, map[string]bool{}}
	shards, err := os.ReadDir(dir)
	if err != nil {
		return ids, err
	}
	for _, s := range shards {
		if !s.IsDir() || len(s.Name()) != 2 {
			continue
		}
		files, err := os.ReadDir(filepath.Join(dir, s.Name()))
		if err != nil {
			return ids, err
		}
		for _, f := range files {
			name := f.Name()
			id, isState := strings.CutPrefix(name, statePrefix)
			switch {
			case strings.HasPrefix(name, ".new-"):
				if err := removeOld(f, filepath.Join(dir, s.Name(), name)); err != nil {
					return ids, err
				}
			case !mail.ValidID(id) || shard(id) != s.Name():
			case isState:
				ids.states[id] = true
			default:
				ids.messages[id] = true
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
