package quarantine

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"strings"

	"postern/internal/mail"
)

// migrations of the index. Rows of the first form have form 0 after the second, and are filled in when it is opened.
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
`, `
DROP TABLE recipient;
ALTER TABLE item RENAME TO item_1;
DROP INDEX item_time;
DROP INDEX item_state;

CREATE TABLE item (
	id TEXT PRIMARY KEY, time INTEGER NOT NULL, state TEXT NOT NULL, by TEXT NOT NULL, category TEXT NOT NULL,
	campaign TEXT NOT NULL, expires INTEGER NOT NULL, sender TEXT NOT NULL, sender_domain TEXT NOT NULL,
	author TEXT NOT NULL, author_domain TEXT NOT NULL, words TEXT NOT NULL, meta BLOB NOT NULL, form INTEGER NOT NULL
);
INSERT INTO item SELECT id, time, state, by, '', '', 0, '', '', '', '', '', meta, 0 FROM item_1;
DROP TABLE item_1;
CREATE INDEX item_time ON item (time, id);
CREATE INDEX item_state ON item (state, time, id);
CREATE INDEX item_campaign ON item (campaign, time);
CREATE INDEX item_expires ON item (expires) WHERE expires > 0;
CREATE INDEX item_sender ON item (sender);
CREATE INDEX item_sender_domain ON item (sender_domain);
CREATE INDEX item_author ON item (author);
CREATE INDEX item_author_domain ON item (author_domain);
CREATE INDEX item_form ON item (form) WHERE form = 0;

CREATE TABLE recipient (
	item TEXT NOT NULL REFERENCES item (id) ON DELETE CASCADE, address TEXT NOT NULL, domain TEXT NOT NULL,
	n INTEGER NOT NULL, standing TEXT NOT NULL, state TEXT NOT NULL, forward INTEGER NOT NULL,
	PRIMARY KEY (item, address)
) WITHOUT ROWID;
CREATE INDEX recipient_address ON recipient (address, state);
CREATE INDEX recipient_domain ON recipient (domain, state);
CREATE INDEX recipient_releasing ON recipient (item) WHERE state = 'releasing';
`}
}

// index writes an item into the index, in place of what it had of it.
func (q *Quarantine) index(ctx context.Context, item *Item, list []Standing) error {
	return q.db.Write(ctx, func(tx *sql.Tx) error { return indexIn(ctx, tx, item, list) })
}

func indexIn(ctx context.Context, tx *sql.Tx, item *Item, list []Standing) error {
	bare := *item
	bare.Category = cmp.Or(item.Category, Categorize(item.Reasons)) // files of older versions have neither
	bare.Campaign = cmp.Or(item.Campaign, CampaignKey(item.Subject, authorDomain(*item), item.LinkDomain, item.AttachmentHash))
	bare.State, bare.By, bare.Standings = "", "", nil
	meta, err := json.Marshal(bare)
	if err != nil {
		return err
	}
	author := mail.Address{}
	if boxes, _, err := mail.ParseFrom(item.HeaderFrom); err == nil && len(boxes) > 0 {
		author = boxes[0].Address
	}
	expires := int64(0)
	if !item.Expires.IsZero() {
		expires = item.Expires.UnixMilli()
	}
	words := strings.ToLower(strings.Join([]string{item.Subject, item.HeaderFrom, item.From.String()}, "\n"))
	if _, err := tx.ExecContext(ctx, "DELETE FROM item WHERE id = ?", item.ID); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO item (id, time, state, by, category, campaign, expires, sender, sender_domain, author, author_domain, words, meta, form)
		VALUES (?, ?, ?, '', ?, ?, ?, ?, ?, ?, ?, ?, ?, 2)`, item.ID, item.Time.UnixMilli(), string(Held), string(bare.Category), bare.Campaign, expires,
		item.From.Key(), item.From.ASCIIDomain(), author.Key(), author.ASCIIDomain(), words, meta); err != nil {
		return err
	}
	return writeStandings(ctx, tx, item.ID, list)
}

// standings reads the states of an item's copies, in their order. The error is ErrUnknown where there is no such item.
func standings(ctx context.Context, tx *sql.Tx, id string) ([]Standing, error) {
	rows, err := tx.QueryContext(ctx, "SELECT standing FROM recipient WHERE item = ? ORDER BY n", id)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // reading only; Err tells what matters
	var list []Standing
	for rows.Next() {
		var text []byte
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		var s Standing
		if err := json.Unmarshal(text, &s); err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if list == nil {
		return nil, ErrUnknown
	}
	return list, nil
}

// writeStandings writes the states of the copies into the index, and the resulting state of the item.
func writeStandings(ctx context.Context, tx *sql.Tx, id string, list []Standing) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM recipient WHERE item = ?", id); err != nil {
		return err
	}
	for n, s := range list {
		text, err := json.Marshal(s)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO recipient (item, address, domain, n, standing, state, forward) VALUES (?, ?, ?, ?, ?, ?, ?)",
			id, s.Address.Key(), s.Address.ASCIIDomain(), n, text, string(s.State), s.Forward); err != nil {
			return err
		}
	}
	state, by := summary(list)
	_, err := tx.ExecContext(ctx, "UPDATE item SET state = ?, by = ? WHERE id = ?", string(state), by, id)
	return err
}
