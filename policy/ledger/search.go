package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/policy"
)

// Errors of Explain.
var (
	ErrUnknown   = errors.New("the ledger has no such id")
	ErrAmbiguous = errors.New("several ids begin like this")
)

// Record is all that is known under an id.
type Record struct {
	// Connection is nil while it lasts, or where it was left out.
	Connection   *Connection   `json:"connection,omitempty"`
	Transactions []Transaction `json:"transactions,omitempty"`
}

// Explain gives the record of a transaction with its connection, or of a connection with all its transactions. The
// front of an id, four characters or more, is enough where no other begins like it. Small letters are read as capitals.
func (l *Ledger) Explain(ctx context.Context, id string) (*Record, error) {
	id = strings.Trim(id, "() \t\r\n") // as it is copied from a reply
	if !mail.ValidID(id) {
		return nil, fmt.Errorf("%q: %w", Printable(cut(id, 64)), ErrUnknown)
	}
	r, err := l.explain(ctx, id)
	if errors.Is(err, ErrUnknown) && strings.ToUpper(id) != id {
		return l.explain(ctx, strings.ToUpper(id))
	}
	return r, err
}

func (l *Ledger) explain(ctx context.Context, id string) (*Record, error) {
	messages, err := l.messages(ctx, "SELECT record FROM message WHERE id = ?", id)
	if err != nil {
		return nil, err
	}
	if len(messages) == 1 {
		c, err := l.connection(ctx, messages[0].ConnID)
		return &Record{c, messages}, err
	}
	whole, err := l.connectionID(ctx, id)
	if err != nil {
		return nil, err
	}
	c, err := l.connection(ctx, whole)
	if err != nil {
		return nil, err
	}
	messages, err = l.messages(ctx, "SELECT record FROM message WHERE conn = ? ORDER BY time, n", whole)
	return &Record{c, messages}, err
}

// connectionID completes the front of an id.
func (l *Ledger) connectionID(ctx context.Context, front string) (string, error) {
	const shortest = 4
	if len(front) < shortest {
		return "", fmt.Errorf("%s: %w", front, ErrUnknown)
	}
	// ids are of ASCII: "~" is behind all of them
	rows, err := l.db.Read().QueryContext(ctx, `SELECT id FROM connection WHERE id >= ?1 AND id < ?1 || '~'
		UNION SELECT conn FROM message WHERE conn >= ?1 AND conn < ?1 || '~' LIMIT 6`, front)
	if err != nil {
		return "", fmt.Errorf("ledger: %w", err)
	}
	defer func() { _ = rows.Close() }() // reading only; Err tells what matters
	var found []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return "", fmt.Errorf("ledger: %w", err)
		}
		if id == front {
			return id, rows.Err()
		}
		found = append(found, id)
	}
	switch {
	case rows.Err() != nil:
		return "", fmt.Errorf("ledger: %w", rows.Err())
	case len(found) == 0:
		return "", fmt.Errorf("%s: %w", front, ErrUnknown)
	case len(found) > 1:
		return "", fmt.Errorf("%s: %w: %s", front, ErrAmbiguous, strings.Join(found, ", "))
	}
	return found[0], nil
}

func (l *Ledger) connection(ctx context.Context, id string) (*Connection, error) {
	var text []byte
	err := l.db.Read().QueryRowContext(ctx, "SELECT record FROM connection WHERE id = ?", id).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil // it still lasts
	}
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	c := &Connection{}
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("ledger: record of %s: %w", id, err)
	}
	return c, nil
}

// Filter says which records are looked for. What it leaves out does not matter.
type Filter struct {
	// Since is included, Until isn't.
	Since, Until time.Time
	// Sender and Recipient are addresses or domains.
	Sender, Recipient string
	Client            netip.Prefix
	Disposition       *policy.Disposition
	Symbol            string
	// Limit is how many records are given, the newest first; 0 is 100.
	Limit int
}

const defaultLimit = 100

// Search gives the transactions that the filter asks for, the newest first.
func (l *Ledger) Search(ctx context.Context, f Filter) ([]Transaction, error) {
	q := query{text: "SELECT record FROM message WHERE 1"}
	q.times("time", f)
	if f.Sender != "" {
		q.address("sender", "domain", f.Sender)
	}
	q.client(f.Client)
	switch {
	case f.Recipient != "":
		sub := query{text: " AND n IN (SELECT message FROM recipient WHERE 1"}
		sub.address("address", "domain", f.Recipient)
		if f.Disposition != nil {
			sub.and("disposition = ?", int(*f.Disposition))
		}
		q.text += sub.text + ")"
		q.args = append(q.args, sub.args...)
	case f.Disposition != nil:
		q.and("n IN (SELECT message FROM recipient WHERE disposition = ?)", int(*f.Disposition))
	}
	if f.Symbol != "" {
		q.and("n IN (SELECT message FROM symbol WHERE symbol = ?)", strings.ToUpper(f.Symbol))
	}
	found, err := l.messagesWhere(ctx, q.text+" ORDER BY time DESC, n DESC", f.limit(), func(t *Transaction) bool { return inside(f.Client, t.Client) }, q.args...)
	return found, err
}

// Connections gives the connections that the filter asks for, the newest first. It heeds time, client and limit.
func (l *Ledger) Connections(ctx context.Context, f Filter) ([]Connection, error) {
	q := query{text: "SELECT record FROM connection WHERE 1"}
	q.times("started", f)
	q.client(f.Client)
	rows, err := l.db.Read().QueryContext(ctx, q.text+" ORDER BY started DESC, id DESC", q.args...)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return collect(rows, f.limit(), func(c *Connection) bool { return inside(f.Client, c.Client) })
}

// Expire forgets what is older, a few records at a time, so that the writer never waits long.
func (l *Ledger) Expire(ctx context.Context, before time.Time) (int64, error) {
	var total int64
	for _, text := range []string{
		"DELETE FROM message WHERE n IN (SELECT n FROM message WHERE time < ? ORDER BY time LIMIT 500)",
		"DELETE FROM connection WHERE id IN (SELECT id FROM connection WHERE started < ? ORDER BY started LIMIT 500)",
	} {
		for {
			var n int64
			err := l.db.Write(ctx, func(tx *sql.Tx) error {
				result, err := tx.ExecContext(ctx, text, before.UnixMilli())
				if err != nil {
					return err
				}
				n, err = result.RowsAffected()
				return err
			})
			if err != nil {
				return total, fmt.Errorf("ledger: expire: %w", err)
			}
			if total += n; n == 0 {
				break
			}
		}
	}
	return total, nil
}

func (f Filter) limit() int {
	if f.Limit <= 0 {
		return defaultLimit
	}
	return f.Limit
}

// query is a statement under construction. Values only ever become parameters.
type query struct {
	text string
	args []any
}

func (q *query) and(condition string, args ...any) {
	q.text += " AND " + condition
	q.args = append(q.args, args...)
}

func (q *query) times(column string, f Filter) {
	if !f.Since.IsZero() {
		q.and(column+" >= ?", f.Since.UnixMilli())
	}
	if !f.Until.IsZero() {
		q.and(column+" < ?", f.Until.UnixMilli())
	}
}

func (q *query) address(column, domain, value string) {
	value = strings.ToLower(value)
	switch at := strings.LastIndexByte(value, '@'); {
	case value == "<>":
		q.and(column + " = ''")
	case at <= 0:
		q.and(domain+" = ?", value[at+1:])
	default:
		q.and(column+" = ?", value)
	}
}

// client narrows by one address; a network is looked at record by record.
func (q *query) client(p netip.Prefix) {
	if p.IsValid() && p.IsSingleIP() {
		q.and("client = ?", addrText(p.Addr()))
	}
}

func inside(p netip.Prefix, a netip.Addr) bool {
	return !p.IsValid() || p.Contains(a.Unmap().WithZone(""))
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.Unmap().WithZone("").String()
}

func (l *Ledger) messages(ctx context.Context, text string, args ...any) ([]Transaction, error) {
	return l.messagesWhere(ctx, text, -1, func(*Transaction) bool { return true }, args...)
}

func (l *Ledger) messagesWhere(ctx context.Context, text string, limit int, want func(*Transaction) bool, args ...any) ([]Transaction, error) {
	rows, err := l.db.Read().QueryContext(ctx, text, args...)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return collect(rows, limit, want)
}

// collect reads records until it has as many as are wanted; fewer than 0 are all.
func collect[T any](rows *sql.Rows, limit int, want func(*T) bool) ([]T, error) {
	defer func() { _ = rows.Close() }() // reading only; Err tells what matters
	found := []T{}
	for len(found) != limit && rows.Next() {
		var text []byte
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("ledger: %w", err)
		}
		var one T
		if err := json.Unmarshal(text, &one); err != nil {
			return nil, fmt.Errorf("ledger: a record can't be read: %w", err)
		}
		if want(&one) {
			found = append(found, one)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return found, nil
}
