// Package quarantine keeps mail that somebody has to look at. Each message is one file, written so that it stands there
// whole before anybody says 250; an index beside it serves lists and says who released what. The files are the truth:
// the index can be lost and is made anew from them.
package quarantine

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"postern/internal/mail"
	"postern/internal/sqldb"
	"postern/policy"
)

// Item is a held message with all that is needed to release it.
type Item struct {
	// ID is the transaction's, with a suffix where one transaction has several.
	ID         string           `json:"id"`
	Time       time.Time        `json:"time"`
	From       mail.Address     `json:"from"`
	Params     mail.Params      `json:"params"`
	Recipients []mail.Recipient `json:"recipients"`
	// Route is the next hop that released mail goes to.
	Route    string     `json:"route"`
	Outbound bool       `json:"outbound,omitempty"`
	Client   netip.Addr `json:"client"`
	User     string     `json:"user,omitempty"`
	// Reason is the sentence that the verdict hangs on; Reasons, Score and Policy are the rest of it.
	Reason     string          `json:"reason"`
	Reasons    []policy.Reason `json:"reasons,omitempty"`
	Score      float64         `json:"score"`
	Policy     string          `json:"policy_version,omitempty"`
	Subject    string          `json:"subject,omitempty"`
	HeaderFrom string          `json:"header_from,omitempty"`
	MessageID  string          `json:"message_id,omitempty"`
	// Size is the length of what is held in octets; Hold sets it.
	Size int64 `json:"size"`

	// State and By are the index's: they change while the file doesn't.
	State State  `json:"state,omitempty"`
	By    string `json:"by,omitempty"`
}

// State is where an item is on its way out.
type State string

// The states, in their order.
const (
	Held      State = "held"
	Releasing State = "releasing" // somebody has claimed it; it is being put on the queue
	Released  State = "released"
)

// Errors of a Quarantine.
var (
	ErrUnknown = errors.New("the quarantine has no such message")
	ErrTaken   = errors.New("somebody else has released this message")
)

// Quarantine is a folder of held mail. Its methods may be called by any goroutine, and by another process.
type Quarantine struct {
	dir string
	db  *sqldb.DB
	log *slog.Logger
}

const released = "released" // the folder of what has left: not two characters long, so no shard

func migrations() []string {
	return []string{`
CREATE TABLE item (
	id TEXT PRIMARY KEY, time INTEGER NOT NULL, state TEXT NOT NULL, by TEXT NOT NULL DEFAULT '', meta BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX item_time ON item (time);
CREATE INDEX item_state ON item (state, time);

CREATE TABLE recipient (
	address TEXT NOT NULL, domain TEXT NOT NULL, item TEXT NOT NULL REFERENCES item (id) ON DELETE CASCADE,
	PRIMARY KEY (address, item)
) WITHOUT ROWID;
CREATE INDEX recipient_item ON recipient (item);
CREATE INDEX recipient_domain ON recipient (domain);
`}
}

// Open opens the quarantine in a folder and makes it if it isn't there. The index is brought in line with the files.
func Open(dir string, log *slog.Logger) (*Quarantine, error) {
	if err := os.MkdirAll(filepath.Join(dir, released), 0o700); err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	path := filepath.Join(dir, "index.db")
	db, err := sqldb.Open(path, sqldb.Full, migrations())
	if sqldb.IsBroken(err) {
		log.Error("the index of the quarantine is damaged, it is made anew from the files", "error", err)
		if err := sqldb.MoveAside(path, time.Now().UTC().Format("20060102T150405")); err != nil {
			return nil, fmt.Errorf("quarantine: move the damaged index aside: %w", err)
		}
		db, err = sqldb.Open(path, sqldb.Full, migrations())
	}
	if err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	q := &Quarantine{dir: dir, db: db, log: log}
	if err := q.reconcile(context.Background()); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return q, nil
}

// Close closes the index.
func (q *Quarantine) Close() error { return q.db.Close() }

// shard is the folder of an id: 256 of them, so that none gets too long.
func shard(id string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // a hash takes all
	return fmt.Sprintf("%02x", h.Sum32()&0xff)
}

func (q *Quarantine) folder(id string) string { return filepath.Join(q.dir, shard(id)) }
func (q *Quarantine) leftFolder(id string) string {
	return filepath.Join(q.dir, released, shard(id))
}

// Hold puts a message away. When it returns nil the message is on disk for good. Should only the index fail, the message
// is held all the same: the index finds it at the next start.
func (q *Quarantine) Hold(ctx context.Context, item Item, content mail.Copy) error {
	if !mail.ValidID(item.ID) {
		return fmt.Errorf("hold %q: not an id", item.ID)
	}
	item.Size, item.State, item.By = content.Size(), "", ""
	dir := q.folder(item.ID)
	if err := makeFolder(dir); err != nil {
		return fmt.Errorf("hold %s: %w", item.ID, err)
	}
	if err := mail.WriteStored(dir, item.ID, item, content); err != nil {
		// it may stand there whole, with only the folder's fsync failed: the sender is told to come again
		return fmt.Errorf("hold: %w", errors.Join(err, q.remove(item.ID)))
	}
	if err := q.index(context.WithoutCancel(ctx), &item, Held); err != nil {
		q.log.Error("a held message is not in the index before the next start", "id", item.ID, "error", err)
	}
	return nil
}

// makeFolder makes a folder so that it outlasts a power cut.
func makeFolder(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return mail.SyncDir(filepath.Dir(dir))
}

func (q *Quarantine) index(ctx context.Context, item *Item, state State) error {
	meta, err := json.Marshal(item)
	if err != nil {
		return err
	}
	return q.db.Write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM item WHERE id = ?", item.ID); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO item (id, time, state, meta) VALUES (?,?,?,?)", item.ID, item.Time.UnixMilli(), string(state), meta); err != nil {
			return err
		}
		for _, r := range item.Recipients {
			if _, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO recipient (address, domain, item) VALUES (?,?,?)", r.Address.Key(), r.Address.ASCIIDomain(), item.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// Get gives an item and opens its message, which the caller closes: exactly the octets that were held, our own fields on
// top included.
func (q *Quarantine) Get(ctx context.Context, id string) (Item, *mail.Message, error) {
	item, err := q.item(ctx, id)
	if err != nil {
		return item, nil, err
	}
	dir := q.folder(id)
	if item.State == Released {
		dir = q.leftFolder(id)
	}
	var stored Item
	m, err := mail.OpenStored(filepath.Join(dir, id), &stored)
	if err != nil {
		return item, nil, fmt.Errorf("quarantine: %w", err)
	}
	return item, m, nil
}

// item reads the index. Anything that has not the form of an id is unknown: it never gets near a path.
func (q *Quarantine) item(ctx context.Context, id string) (Item, error) {
	if !mail.ValidID(id) {
		return Item{}, ErrUnknown
	}
	found, err := q.items(ctx, 1, "SELECT meta, state, by FROM item WHERE id = ?", id)
	if err == nil && len(found) == 0 {
		err = ErrUnknown
	}
	if err != nil {
		return Item{}, fmt.Errorf("%s: %w", id, err)
	}
	return found[0], nil
}

// Claim takes an item for release; by says who did. Of any number of callers exactly one gets it, the others ErrTaken.
// The winner puts the message on the queue and calls Finish. If it dies in between, Unfinished gives the item again.
func (q *Quarantine) Claim(ctx context.Context, id, by string) error {
	return q.change(ctx, id, Held, Releasing, by)
}

// Return gives a claimed item back: it could not be put on the queue.
func (q *Quarantine) Return(ctx context.Context, id string) error {
	return q.change(ctx, id, Releasing, Held, "")
}

// Finish says that a claimed item is safe on the queue. Its file is kept until it expires. Finishing twice is no error.
func (q *Quarantine) Finish(ctx context.Context, id string) error {
	item, err := q.item(ctx, id)
	if err != nil || item.State == Released {
		return err
	}
	if item.State != Releasing {
		return fmt.Errorf("%s: nobody has claimed it", id)
	}
	// the file first: if the index is lost after this, the message is not taken for held again
	if err := makeFolder(q.leftFolder(id)); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	err = os.Rename(filepath.Join(q.folder(id), id), filepath.Join(q.leftFolder(id), id))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("quarantine: %w", err)
	}
	if err := errors.Join(mail.SyncDir(q.leftFolder(id)), mail.SyncDir(q.folder(id))); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	err = q.change(ctx, id, Releasing, Released, nil)
	if errors.Is(err, ErrTaken) {
		if item, again := q.item(ctx, id); again == nil && item.State == Released {
			return nil // another process has just seen the file where it is now
		}
	}
	return err
}

// change moves an item from one state to another, if it is in that state; by nil leaves who did.
func (q *Quarantine) change(ctx context.Context, id string, from, to State, by any) error {
	if !mail.ValidID(id) {
		return ErrUnknown
	}
	var n int64
	err := q.db.Write(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, "UPDATE item SET state = ?, by = coalesce(?, by) WHERE id = ? AND state = ?", string(to), by, id, string(from))
		if err != nil {
			return err
		}
		n, err = result.RowsAffected()
		return err
	})
	if err != nil {
		return fmt.Errorf("quarantine: %s: %w", id, err)
	}
	if n == 0 {
		if _, err := q.item(ctx, id); err != nil {
			return err
		}
		return fmt.Errorf("%s: %w", id, ErrTaken)
	}
	return nil
}

// Drop undoes a Hold: the transaction was deferred after all, and the sender will come again. Dropping what isn't there
// is no error.
func (q *Quarantine) Drop(ctx context.Context, id string) error {
	err := q.Delete(ctx, id)
	if errors.Is(err, ErrUnknown) && mail.ValidID(id) {
		return q.remove(id) // held, and never came into the index
	}
	return err
}

// Delete throws an item away for good, unless it is being released at this moment.
func (q *Quarantine) Delete(ctx context.Context, id string) error {
	item, err := q.item(ctx, id)
	if err != nil {
		return err
	}
	var n int64
	err = q.db.Write(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, "DELETE FROM item WHERE id = ? AND state = ?", id, string(item.State))
		if err != nil {
			return err
		}
		if n, err = result.RowsAffected(); err != nil || n == 0 {
			return err
		}
		if item.State == Releasing {
			return fmt.Errorf("%s: %w", id, ErrTaken)
		}
		return q.remove(id) // within: if the file can't go, the index keeps it
	})
	if err != nil {
		return fmt.Errorf("quarantine: delete: %w", err)
	}
	if n == 0 {
		return fmt.Errorf("%s: %w", id, ErrTaken)
	}
	return nil
}

func (q *Quarantine) remove(id string) error {
	for _, dir := range []string{q.folder(id), q.leftFolder(id)} {
		err := os.Remove(filepath.Join(dir, id))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = mail.SyncDir(dir)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
