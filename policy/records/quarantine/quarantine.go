// Package quarantine keeps mail for review. Each message is one file, complete on disk before 250 is sent; a small file
// beside it has the state of each recipient's copy, once it changes. The files are the truth: the index that serves
// lists can be lost and is made anew from them.
package quarantine

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
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
	Route    mail.Route `json:"route"`
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
	// Category is why it is held; Hold draws it from the reasons if it is "".
	Category Category `json:"category,omitempty"`
	// LinkDomain is the domain of the first link, AttachmentHash the SHA-256 of the first attachment, "" for none. Campaign
	// is the key that similar mails share, as the filter campaigns found it; Hold makes it of these two, the subject and the
	// author if it is "".
	LinkDomain     string `json:"link_domain,omitempty"`
	AttachmentHash string `json:"attachment_hash,omitempty"`
	Campaign       string `json:"campaign,omitempty"`
	// Expires is when it goes whatever the general time is; the zero time for that.
	Expires time.Time `json:"expires,omitzero"`

	// Fetched is there for a message that lies, or lay, in a mailbox, and was masked when it was fetched from there; nil for
	// one that came in by SMTP.
	Fetched *Fetched `json:"fetched,omitempty"`

	// State, By and Standings are the index's: they change while the file doesn't. By made the last release.
	State     State      `json:"state,omitempty"`
	By        string     `json:"by,omitempty"`
	Standings []Standing `json:"standings,omitempty"`
}

// Fetched says out of which mailbox a message was fetched.
type Fetched struct {
	Backend string `json:"backend"`
	// Mailbox is its owner's login name.
	Mailbox  string        `json:"mailbox"`
	Protocol mail.Protocol `json:"protocol"`
	// SHA256 is that of the octets, in hexadecimal.
	SHA256 string `json:"sha256"`
}

// State is where an item, or one recipient's copy of it, is on its way out. An item is held as long as one copy is.
type State string

// The states, in their order.
const (
	Held      State = "held"
	Releasing State = "releasing" // claimed; it is being put on the queue
	Released  State = "released"
	Deleted   State = "deleted" // of a copy; an item all of whose copies are deleted is gone
	Expired   State = "expired" // only reported: an item past its retention is gone
)

// Errors of a Quarantine.
var (
	ErrUnknown = errors.New("the quarantine has no such message")
	ErrTaken   = errors.New("somebody else has released this message")
	ErrDeleted = errors.New("this copy of the message was deleted")
)

// Quarantine is a folder of held mail. Its methods may be called by any goroutine, and by another process.
type Quarantine struct {
	dir  string
	db   *sqldb.DB
	log  *slog.Logger
	keys [][]byte
	now  func() time.Time
	told func(Change)
}

// Options of a Quarantine. Zero values mean the defaults.
type Options struct {
	Log *slog.Logger
	// Keys seal the messages, KeySize octets each: the first seals, all of them open, so that keys can be changed. With none
	// messages are held in the clear, and rejected ones not at all. Envelope, subject and reasons are never sealed: lists
	// need them, and the log has them too.
	Keys [][]byte
	Now  func() time.Time
	// Told is called with changes of copies once they are on disk, unless nil. It must be quick.
	Told func(Change)
}

const released = "released" // the folder of what has left: not two characters long, so no shard

// Open opens the quarantine in a folder and makes it if it isn't there. The index is brought in line with the files.
func Open(dir string, log *slog.Logger) (*Quarantine, error) {
	return OpenWith(dir, Options{Log: log})
}

// OpenWith is Open with more to say.
func OpenWith(dir string, o Options) (*Quarantine, error) {
	q := &Quarantine{dir: dir, log: cmp.Or(o.Log, slog.Default()), keys: o.Keys, now: o.Now, told: o.Told}
	if q.now == nil {
		q.now = time.Now
	}
	for _, k := range o.Keys {
		if len(k) != KeySize {
			return nil, fmt.Errorf("quarantine: a key has %d octets, it must have %d", len(k), KeySize)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, released), 0o700); err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	path := filepath.Join(dir, "index.db")
	db, err := sqldb.Open(path, sqldb.Full, migrations())
	if sqldb.IsBroken(err) {
		q.log.Error("the index of the quarantine is damaged, it is made anew from the files", "error", err)
		if err := sqldb.MoveAside(path, q.now().UTC().Format("20060102T150405")); err != nil {
			return nil, fmt.Errorf("quarantine: move the damaged index aside: %w", err)
		}
		db, err = sqldb.Open(path, sqldb.Full, migrations())
	}
	if err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	q.db = db
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

// Hold stores a message. When it returns nil the message is synced to disk. Should only the index fail, the message is
// held all the same: the index finds it at the next start.
func (q *Quarantine) Hold(ctx context.Context, item Item, content mail.Copy) error {
	if !mail.ValidID(item.ID) {
		return fmt.Errorf("hold %q: not an id", item.ID)
	}
	if len(item.Recipients) == 0 {
		return fmt.Errorf("hold %s: it has no recipient", item.ID)
	}
	item.Size, item.State, item.By, item.Standings = content.Size(), "", "", nil
	item.Category = cmp.Or(item.Category, Categorize(item.Reasons))
	item.Campaign = cmp.Or(item.Campaign, CampaignKey(item.Subject, authorDomain(item), item.LinkDomain, item.AttachmentHash))
	dir := q.folder(item.ID)
	if err := makeFolder(dir); err != nil {
		return fmt.Errorf("hold %s: %w", item.ID, err)
	}
	if err := q.store(dir, item, content); err != nil {
		// it may be complete, with only the folder's fsync failed: the sender is deferred
		return fmt.Errorf("hold: %w", errors.Join(err, q.remove(item.ID)))
	}
	if err := q.index(context.WithoutCancel(ctx), &item, fresh(item.Recipients)); err != nil {
		q.log.Error("a held message is not in the index before the next start", "id", item.ID, "error", err)
	}
	return nil
}

// HoldRejected stores a refused message for a short time, so that a wrong reject can be undone: it is released like any
// other. It is always sealed; without a key the error is ErrKey.
func (q *Quarantine) HoldRejected(ctx context.Context, item Item, content mail.Copy, ttl time.Duration) error {
	if len(q.keys) == 0 {
		return fmt.Errorf("hold %s: %w", item.ID, ErrKey)
	}
	item.Category, item.Expires = Rejected, q.now().Add(ttl)
	return q.Hold(ctx, item, content)
}

// stored is the first line of a file.
type stored struct {
	Item
	Sealed *seal `json:"sealed,omitempty"`
}

func (q *Quarantine) store(dir string, item Item, content mail.Copy) error {
	if len(q.keys) == 0 {
		return mail.WriteStored(dir, item.ID, stored{Item: item}, content)
	}
	s := newSeal(q.keys[0])
	return mail.WriteStored(dir, item.ID, stored{item, s}, sealing{s, q.keys[0], item.ID, content})
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

// Get gives an item and opens its message, which the caller closes: exactly the octets that were held, our own fields on
// top included. The error is ErrKey or ErrDamaged where a sealed message can't be opened.
func (q *Quarantine) Get(ctx context.Context, id string) (Item, *mail.Message, error) {
	item, err := q.item(ctx, id)
	if err != nil {
		return item, nil, err
	}
	var s stored
	m, err := mail.OpenStored(filepath.Join(q.folder(id), id), &s)
	if errors.Is(err, fs.ErrNotExist) {
		m, err = mail.OpenStored(filepath.Join(q.leftFolder(id), id), &s)
	}
	if err == nil && s.Sealed != nil {
		m, err = q.unseal(s, m)
	}
	if err != nil {
		return item, nil, fmt.Errorf("quarantine: %w", err)
	}
	return item, m, nil
}

// Find gives an item without its message.
func (q *Quarantine) Find(ctx context.Context, id string) (Item, error) {
	return q.item(ctx, id)
}

// Export writes the octets of a message, for analysis elsewhere.
func (q *Quarantine) Export(ctx context.Context, id string, w io.Writer) (err error) {
	_, m, err := q.Get(ctx, id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if _, err := io.Copy(w, m.Open()); err != nil {
		return fmt.Errorf("quarantine: export %s: %w", id, err)
	}
	return nil
}

// item reads the index. Anything that has not the form of an id is unknown: it never gets near a path.
func (q *Quarantine) item(ctx context.Context, id string) (Item, error) {
	if !mail.ValidID(id) {
		return Item{}, ErrUnknown
	}
	found, err := q.items(ctx, 1, selectItem+" WHERE id = ?", id)
	if err == nil && len(found) == 0 {
		err = ErrUnknown
	}
	if err != nil {
		return Item{}, fmt.Errorf("%s: %w", id, err)
	}
	return found[0], nil
}

// Drop undoes a Hold: the transaction was deferred after all, and the sender will come again. Dropping what isn't there
// is no error.
func (q *Quarantine) Drop(ctx context.Context, id string) error {
	_, err := q.throwAway(ctx, id)
	if errors.Is(err, ErrUnknown) && mail.ValidID(id) {
		return q.remove(id) // held, and never came into the index
	}
	return err
}

// Delete removes an item permanently, unless it is being released at this moment.
func (q *Quarantine) Delete(ctx context.Context, id, by string) error {
	gone, err := q.throwAway(ctx, id)
	q.tellGone(id, gone, by, Deleted)

	return err
}

// throwAway deletes an item and gives what had become of its copies before.
func (q *Quarantine) throwAway(ctx context.Context, id string) (list []Standing, err error) {
	if !mail.ValidID(id) {
		return nil, ErrUnknown
	}
	err = q.db.Write(ctx, func(tx *sql.Tx) error {
		if list, err = standings(ctx, tx, id); err != nil {
			return err
		}
		for _, s := range list {
			if s.State == Releasing {
				return ErrTaken
			}
		}
		return q.erase(ctx, tx, id)
	})
	if err != nil {
		return nil, fmt.Errorf("quarantine: delete %s: %w", id, err)
	}
	return list, nil
}

// erase removes the files within the transaction: if they can't go, the index keeps the item.
func (q *Quarantine) erase(ctx context.Context, tx *sql.Tx, id string) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM item WHERE id = ?", id); err != nil {
		return err
	}
	return q.remove(id)
}

func (q *Quarantine) remove(id string) error {
	for _, path := range []string{filepath.Join(q.folder(id), id), filepath.Join(q.leftFolder(id), id), q.statePath(id)} {
		err := os.Remove(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = mail.SyncDir(filepath.Dir(path))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const statePrefix = ".state-" // before an id: what became of the copies of that message

func (q *Quarantine) statePath(id string) string {
	return filepath.Join(q.folder(id), statePrefix+id)
}

func authorDomain(item Item) string {
	if boxes, _, err := mail.ParseFrom(item.HeaderFrom); err == nil && len(boxes) > 0 {
		return boxes[0].Address.ASCIIDomain()
	}
	return strings.ToLower(item.From.ASCIIDomain())
}
