package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"postern/internal/mail"
	"postern/internal/sqldb"
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
// What was put before is found.
func (l *Ledger) Explain(ctx context.Context, id string) (*Record, error) {
	id = strings.Trim(id, "() \t\r\n") // as it is copied from a reply
	if !mail.ValidID(id) {
		return nil, fmt.Errorf("%q: %w", Printable(cut(id, 64)), ErrUnknown)
	}
	l.settle(ctx)
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	r, err := l.explain(ctx, id)
	if errors.Is(err, ErrUnknown) && strings.ToUpper(id) != id {
		id = strings.ToUpper(id)
		r, err = l.explain(ctx, id)
	}
	if err != nil {
		return l.explainFates(ctx, id, err)
	}
	return r, l.addFates(ctx, r.Transactions)
}

func (l *Ledger) explain(ctx context.Context, id string) (*Record, error) {
	found, err := all[Transaction](ctx, l, "SELECT n, id, record FROM message WHERE id = ?", id)
	if err != nil {
		return nil, err
	}
	if len(found) == 1 {
		c, err := l.connection(ctx, found[0].ConnID)
		return &Record{c, found}, err
	}
	whole, err := l.connectionID(ctx, id)
	if err != nil {
		return nil, err
	}
	c, err := l.connection(ctx, whole)
	if err != nil {
		return nil, err
	}
	found, err = all[Transaction](ctx, l, "SELECT n, id, record FROM message WHERE conn = ? ORDER BY n", whole)
	return &Record{c, found}, err
}

func (l *Ledger) connection(ctx context.Context, id string) (*Connection, error) {
	found, err := all[Connection](ctx, l, "SELECT n, id, record FROM connection WHERE id = ?", id)
	if err != nil || len(found) == 0 {
		return nil, err // or it still lasts
	}
	return &found[0], nil
}

// connectionID completes the front of an id.
func (l *Ledger) connectionID(ctx context.Context, front string) (string, error) {
	if len(front) < shortestFront {
		return "", fmt.Errorf("%s: %w", front, ErrUnknown)
	}
	// ids are of ASCII: "~" is behind all of them
	found, err := rows(ctx, l, `SELECT 0, id, id FROM connection WHERE id >= ? AND id < ?
		UNION SELECT 0, conn, conn FROM message WHERE conn >= ? AND conn < ? LIMIT 6`, front, front+"~", front, front+"~")
	if err != nil {
		return "", err
	}
	var ids []string
	for _, r := range found {
		if r.id == front {
			return r.id, nil
		}
		ids = append(ids, r.id)
	}
	switch len(ids) {
	case 0:
		return "", fmt.Errorf("%s: %w", front, ErrUnknown)
	case 1:
		return ids[0], nil
	}
	return "", fmt.Errorf("%s: %w: %s", front, ErrAmbiguous, strings.Join(ids, ", "))
}

// Search gives the transactions that the query asks for, the newest first: of the same millisecond in no order, but
// always the same. What was put before is found.
func (l *Ledger) Search(ctx context.Context, q Query) ([]Transaction, error) {
	found, _, err := l.Page(ctx, q)
	return found, err
}

// Page is Search that also says where the next page begins: that is its After. It is "" where nothing is left.
func (l *Ledger) Page(ctx context.Context, q Query) ([]Transaction, string, error) {
	s, err := l.plan(q)
	if err != nil {
		return nil, "", err
	}
	l.settle(ctx)
	found, next, err := page(ctx, l, s, messages, s.holds)
	if err != nil {
		return nil, "", err
	}
	return found, next, l.addFates(ctx, found)
}

// Connections gives the connections that the query asks for, the newest first. It heeds those fields that a connection
// has: text, time, client, id, symbol, user, door.
func (l *Ledger) Connections(ctx context.Context, q Query) ([]Connection, error) {
	q = Query{Text: q.Text, Since: q.Since, Until: q.Until, Client: q.Client, ID: q.ID, Symbol: q.Symbol, User: q.User, Door: q.Door, Limit: q.Limit, After: q.After}
	s, err := l.plan(q)
	if err != nil {
		return nil, err
	}
	l.settle(ctx)
	found, _, err := page(ctx, l, s, connections, func(c *Connection) bool {
		return inside(s.query.Client, c.Client) && (!s.looking || s.begins(c.terms())) && (s.id == "" || !c.Started.Before(q.Since) && (q.Until.IsZero() || c.Started.Before(q.Until)))
	})
	return found, err
}

// LastWith gives the last transactions that hold a symbol, the newest first, MaxLimit at most.
func (l *Ledger) LastWith(ctx context.Context, symbol string, limit int) ([]Transaction, error) {
	return l.Search(ctx, Query{Symbol: symbol, Limit: limit})
}

// row is a record as it is stored.
type row struct {
	n      int64
	id     string
	record []byte
}

// lookThrough is how many records are looked through for words that begin with something, before the index is asked: it
// would put together all that so many words hold, while what is common is soon found among the newest.
const lookThrough = 2000

// page reads until it has as many records as are wanted.
func page[T any](ctx context.Context, l *Ledger, s *search, t table, want func(*T) bool) ([]T, string, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	found, all := []T{}, s.terms
	if s.looking = s.fronts(); s.looking {
		s.terms = slices.DeleteFunc(slices.Clone(all), func(one term) bool { return one.front })
		next, done, err := read(ctx, l, s, t, lookThrough, want, &found)
		if err != nil || done {
			return found, next, err
		}
		s.terms, s.looking = all, false
	}
	next, _, err := read(ctx, l, s, t, 0, want, &found)
	return found, next, err
}

// read adds to a page until it is full, nothing is left, or room records were looked at; 0 is no limit. Terms are exact
// but for a few things that only the record tells, so that more is seldom read than wanted.
func read[T any](ctx context.Context, l *Ledger, s *search, t table, room int, want func(*T) bool, found *[]T) (next string, done bool, err error) {
	for looked := 0; room == 0 || looked < room; {
		atMost := s.limit - len(*found) + 1
		if s.looking {
			atMost = max(atMost, lookThrough/4)
		}
		some, err := l.fetch(ctx, s, t, atMost)
		if err != nil {
			return "", true, err
		}
		for _, r := range some {
			one, err := decode[T](r.record)
			if err != nil {
				return "", true, fmt.Errorf("ledger: %s: %w", r.id, err)
			}
			if !want(&one) {
				s.passed(r)
				continue
			}
			if len(*found) == s.limit {
				return s.place(), true, nil
			}
			*found = append(*found, one)
			s.passed(r)
		}
		if len(some) < atMost {
			return "", true, nil
		}
		looked += len(some)
	}
	return "", false, nil
}

// passed lets the search go on behind a row.
func (s *search) passed(r row) {
	if s.id != "" {
		s.after = r.id
	} else {
		s.below = r.n
	}
}

func (s *search) place() string {
	if s.id != "" {
		return s.after
	}
	return strconv.FormatInt(s.below, 36)
}

func (l *Ledger) fetch(ctx context.Context, s *search, t table, limit int) ([]row, error) {
	switch {
	case s.id != "":
		return l.fetchIDs(ctx, s, t, limit)
	case len(s.terms) == 0:
		return rows(ctx, l, "SELECT n, id, record FROM "+string(t)+" WHERE n >= ? AND n < ? ORDER BY n DESC LIMIT ?", s.from, s.below, limit)
	case l.db.Postgres():
		return l.fetchPostgres(ctx, s, t, limit)
	}
	name := string(t)
	return rows(ctx, l, "SELECT m.n, m.id, m.record FROM "+name+"_terms JOIN "+name+" m ON m.n = "+name+"_terms.rowid WHERE "+name+
		"_terms MATCH ? AND "+name+"_terms.rowid >= ? AND "+name+"_terms.rowid < ? ORDER BY "+name+"_terms.rowid DESC LIMIT ?",
		match(s.terms, " AND ", " OR ", "*", `"`), s.from, s.below, limit)
}

// fetchIDs goes along the ids, which sort by the time of the connection.
func (l *Ledger) fetchIDs(ctx context.Context, s *search, t table, limit int) ([]row, error) {
	below := s.id + "~" // behind all characters of ids
	if s.after != "" {
		below = s.after
	}
	text, args := "SELECT m.n, m.id, m.record FROM "+string(t)+" m WHERE m.id >= ? AND m.id < ?", []any{s.id, below}
	if len(s.terms) > 0 {
		if l.db.Postgres() {
			text += " AND m.terms @@ ?::tsquery"
			args = append(args, tsquery(s.terms))
		} else {
			text += " AND m.n IN (SELECT rowid FROM " + string(t) + "_terms WHERE " + string(t) + "_terms MATCH ?)"
			args = append(args, match(s.terms, " AND ", " OR ", "*", `"`))
		}
	}
	return rows(ctx, l, text+" ORDER BY m.id DESC LIMIT ?", append(args, limit)...)
}

func tsquery(terms []term) string { return match(terms, " & ", " | ", ":*", "'") }

// newest is how many of the newest records a search in PostgreSQL looks through before it asks the index. GIN knows no
// order: with it, what a tenth of a million records hold costs seconds. What is as common as that is soon found among
// the newest; what isn't gives the index little to do.
const newest = 20000

// The planner is given the index to use: what it guesses of several terms together is far off, and of a table that has
// just grown it knows nothing.
const (
	byTime  = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off"
	byTerms = "SET LOCAL enable_bitmapscan = on; SET LOCAL enable_sort = on; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL work_mem = '64MB'"
)

func (l *Ledger) fetchPostgres(ctx context.Context, s *search, t table, limit int) ([]row, error) {
	if err := l.db.Ready(ctx); err != nil {
		return nil, l.failed(err)
	}
	tx, err := l.db.Read().BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, l.failed(err)
	}
	defer func() { _ = tx.Rollback() }() // there is nothing to keep
	ask := func(way, text string, args ...any) ([]row, error) {
		if _, err := tx.ExecContext(ctx, way); err != nil {
			return nil, l.failed(err)
		}
		found, err := tx.QueryContext(ctx, l.db.Bind(text), args...)
		if err != nil {
			return nil, l.failed(err)
		}
		return l.collect(found)
	}
	words, name := tsquery(s.terms), string(t)
	borders, err := ask(byTime, "SELECT n, '', ''::bytea FROM "+name+" WHERE n >= ? AND n < ? ORDER BY n DESC OFFSET ? LIMIT 1", s.from, s.below, newest)
	if err != nil {
		return nil, err
	}
	edge := s.from
	if len(borders) == 1 {
		edge = borders[0].n
	}
	found, err := ask(byTime, "SELECT n, id, record FROM "+name+" WHERE n >= ? AND n < ? AND terms @@ ?::tsquery ORDER BY n DESC LIMIT ?", edge, s.below, words, limit)
	if err != nil || len(found) == limit || len(borders) == 0 {
		return found, err
	}
	more, err := ask(byTerms, "WITH hit AS MATERIALIZED (SELECT n FROM "+name+" WHERE terms @@ ?::tsquery AND n >= ? AND n < ?) "+
		"SELECT n, id, record FROM "+name+" WHERE n IN (SELECT n FROM hit ORDER BY n DESC LIMIT ?) ORDER BY n DESC", words, s.from, edge, limit-len(found))
	return append(found, more...), err
}

// rows runs a query for n, id and record.
func rows(ctx context.Context, l *Ledger, text string, args ...any) ([]row, error) {
	found, err := l.db.Query(ctx, text, args...)
	if err != nil {
		return nil, l.failed(err)
	}
	return l.collect(found)
}

func (l *Ledger) collect(found *sql.Rows) ([]row, error) {
	defer func() { _ = found.Close() }() // reading only; Err tells what matters
	var some []row
	for found.Next() {
		var r row
		if err := found.Scan(&r.n, &r.id, &r.record); err != nil {
			return nil, l.failed(err)
		}
		some = append(some, r)
	}
	if err := found.Err(); err != nil {
		return nil, l.failed(err)
	}
	return some, nil
}

// failed tells an outage from the rest.
func (l *Ledger) failed(err error) error {
	if sqldb.IsAway(err) {
		return fmt.Errorf("%w: %w", ErrAway, err)
	}
	return fmt.Errorf("ledger: %w", err)
}

// all gives all records of a query.
func all[T any](ctx context.Context, l *Ledger, text string, args ...any) ([]T, error) {
	some, err := rows(ctx, l, text, args...)
	if err != nil {
		return nil, err
	}
	found := make([]T, 0, len(some))
	for _, r := range some {
		one, err := decode[T](r.record)
		if err != nil {
			return nil, fmt.Errorf("ledger: %s: %w", r.id, err)
		}
		found = append(found, one)
	}
	return found, nil
}
