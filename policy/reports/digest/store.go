package digest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"time"

	"postern/internal/mail"
	"postern/internal/sqldb"
)

// Store remembers which links were used and which digests were sent, in a SQLite file or in a PostgreSQL database that
// several gateways share.
type Store struct {
	db  *sqldb.DB
	now func() time.Time
}

// lease is for how long a gateway that began a digest is believed to be still at it.
const lease = 10 * time.Minute

func schema() sqldb.Schema {
	const text = `
CREATE TABLE digest_spent (token TEXT PRIMARY KEY, expires BIGINT NOT NULL);
CREATE INDEX digest_spent_expires ON digest_spent (expires);
CREATE TABLE digest_sent (mailbox TEXT NOT NULL, slot BIGINT NOT NULL, begun BIGINT NOT NULL, done INTEGER NOT NULL, PRIMARY KEY (mailbox, slot));
`
	return sqldb.Schema{Name: "digest", SQLite: []string{text}, Postgres: []string{text}}
}

// OpenStore opens the store at a URL that sqldb.Connect knows. No now means the clock.
func OpenStore(where string, now func() time.Time) (*Store, error) {
	db, err := sqldb.Connect(where, sqldb.Full, schema())
	if err != nil {
		return nil, fmt.Errorf("digest: %w", err)
	}
	if now == nil {
		now = time.Now
	}
	return &Store{db, now}, nil
}

// Close closes it.
func (s *Store) Close() error { return s.db.Close() }

// Spend uses a claim up. Of any number of callers exactly one gets true; for the others the act is done already. The
// first one performs it, and calls Unspend if it fails.
func (s *Store) Spend(ctx context.Context, c Claim) (first bool, err error) {
	err = s.db.Write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, s.db.Bind("INSERT INTO digest_spent (token, expires) VALUES (?, ?) ON CONFLICT (token) DO NOTHING"), c.key(), c.Expires.Unix())
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		first = n > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("digest: %w", err)
	}
	return first, nil
}

// Unspend makes a claim usable again, as its act failed.
func (s *Store) Unspend(ctx context.Context, c Claim) error {
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, s.db.Bind("DELETE FROM digest_spent WHERE token = ?"), c.key())
		return err
	})
	if err != nil {
		return fmt.Errorf("digest: %w", err)
	}
	return nil
}

// key is of fixed length, whatever the addresses are.
func (c Claim) key() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\x00%s\x00%s\x00%s\x00%d", c.Action, c.User.Key(), c.Mailbox.Key(), c.Item, c.Expires.Unix()))
	return hex.EncodeToString(sum[:])
}

// Begin takes the digest of a mailbox for a slot. One gateway gets true; another one only when the first has not called
// Done within ten minutes: then it crashed, and the digest may not be on the queue.
func (s *Store) Begin(ctx context.Context, mailbox mail.Address, slot time.Time) (mine bool, err error) {
	now := s.now()
	err = s.db.Write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, s.db.Bind(`INSERT INTO digest_sent (mailbox, slot, begun, done) VALUES (?, ?, ?, 0)
			ON CONFLICT (mailbox, slot) DO UPDATE SET begun = excluded.begun WHERE digest_sent.done = 0 AND digest_sent.begun <= ?`),
			mailbox.Key(), slot.Unix(), now.UnixMilli(), now.Add(-lease).UnixMilli())
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		mine = n > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("digest: %w", err)
	}
	return mine, nil
}

// Done says that the digest is on the queue.
func (s *Store) Done(ctx context.Context, mailbox mail.Address, slot time.Time) error {
	return s.end(ctx, "UPDATE digest_sent SET done = 1 WHERE mailbox = ? AND slot = ?", mailbox, slot)
}

// Undo means that it could not be queued: the next gateway tries again.
func (s *Store) Undo(ctx context.Context, mailbox mail.Address, slot time.Time) error {
	return s.end(ctx, "DELETE FROM digest_sent WHERE mailbox = ? AND slot = ? AND done = 0", mailbox, slot)
}

func (s *Store) end(ctx context.Context, text string, mailbox mail.Address, slot time.Time) error {
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, s.db.Bind(text), mailbox.Key(), slot.Unix())
		return err
	})
	if err != nil {
		return fmt.Errorf("digest: %w", err)
	}
	return nil
}

// Last gives for each mailbox, by its key, the slot of its last digest.
func (s *Store) Last(ctx context.Context) (map[string]time.Time, error) {
	rows, err := s.db.Query(ctx, "SELECT mailbox, max(slot) FROM digest_sent WHERE done = 1 GROUP BY mailbox")
	if err != nil {
		return nil, fmt.Errorf("digest: %w", err)
	}
	defer func() { _ = rows.Close() }() // reading only; Err tells what matters
	last := map[string]time.Time{}
	for rows.Next() {
		var mailbox string
		var slot int64
		if err := rows.Scan(&mailbox, &slot); err != nil {
			return nil, fmt.Errorf("digest: %w", err)
		}
		last[mailbox] = time.Unix(slot, 0).UTC()
	}
	return last, rows.Err()
}

// Expire forgets links that hold no more, and digests from before a time that were not a mailbox's last.
func (s *Store) Expire(ctx context.Context, before time.Time) error {
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, s.db.Bind("DELETE FROM digest_spent WHERE expires < ?"), s.now().Unix()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, s.db.Bind(`DELETE FROM digest_sent WHERE slot < ? AND EXISTS
			(SELECT 1 FROM digest_sent later WHERE later.mailbox = digest_sent.mailbox AND later.slot > digest_sent.slot AND later.done = 1)`), before.Unix())
		return err
	})
	if err != nil {
		return fmt.Errorf("digest: %w", err)
	}
	return nil
}
