package recall

import (
	"context"
	"database/sql"
	"strings"
	"time"
)

// Grant lets the owner of a mailbox read a message that would be masked. It holds until the message is called back.
type Grant struct {
	// SHA256 is that of the octets in the mailbox, in hexadecimal; User the mailbox's owner.
	SHA256, User string
	// ID is that of the kept original, By the author of the release.
	ID, By string
}

// Release grants. A recall that was there before is overruled for this mailbox.
func (l *List) Release(ctx context.Context, g Grant) error {
	key := g.key()
	if len(key.sha256) != 64 {
		return ErrHash
	}
	err := l.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, l.db.Bind("INSERT INTO recall_grant (sha256, mailbox, id, by_whom, time) VALUES (?, ?, ?, ?, ?)"),
			key.sha256, key.user, cut(g.ID), cut(g.By), l.now().UnixMilli())
		return err
	})
	l.forget()
	return wrap(err)
}

func (g Grant) key() grantKey {
	return grantKey{strings.ToLower(strings.TrimSpace(g.SHA256)), cut(strings.ToLower(g.User))}
}

// Granted says whether a message was released to a user, and not called back since: by its hash, or by one of the ids,
// which are its Message-ID and the ledger's.
func (l *List) Granted(ctx context.Context, sha256, user string, ids ...string) bool {
	defer l.look(ctx).Unlock()
	at, ok := l.grants[Grant{SHA256: sha256, User: user}.key()]
	if !ok {
		return false
	}
	r, back := l.find(sha256, ids...)
	return !back || !r.at.After(at)
}

func (l *List) allGrants(ctx context.Context) (map[grantKey]time.Time, error) {
	rows, err := l.db.Query(ctx, "SELECT sha256, mailbox, time FROM recall_grant ORDER BY n")
	if err != nil {
		return nil, wrap(err)
	}
	defer func() { _ = rows.Close() }() // reading only; Err tells what matters
	all := map[grantKey]time.Time{}
	for rows.Next() {
		var k grantKey
		var at int64
		if err := rows.Scan(&k.sha256, &k.user, &at); err != nil {
			return nil, wrap(err)
		}
		all[k] = time.UnixMilli(at).UTC()
	}
	return all, wrap(rows.Err())
}
