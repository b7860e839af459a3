package lists

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"postern/internal/sqldb"
	"postern/policy"
)

// Options of a Store. Zero values mean the defaults.
type Options struct {
	// MaxEntries is how many entries are kept in all, PerUser how many of one user: 200,000 and 1,000.
	MaxEntries, PerUser int
	Now                 func() time.Time
	// Progress is called with the progress of a large addition, from 0 to 1, unless nil.
	Progress func(share float64, entries int)
}

// Store keeps the entries, in a SQLite file or in a PostgreSQL database that several gateways share.
type Store struct {
	db  *sqldb.DB
	opt Options

	mu   sync.Mutex
	hits map[string]hit
	lost int64
}

func schema() sqldb.Schema {
	const text = `
CREATE TABLE list_entry (
	id TEXT PRIMARY KEY, list TEXT NOT NULL, scope TEXT NOT NULL, scope_of TEXT NOT NULL, sender TEXT NOT NULL, network TEXT NOT NULL,
	recipient TEXT NOT NULL, unauthenticated INTEGER NOT NULL, monitored INTEGER NOT NULL, owner TEXT NOT NULL, reason TEXT NOT NULL,
	created BIGINT NOT NULL, expires BIGINT NOT NULL, hits BIGINT NOT NULL, last_hit BIGINT NOT NULL, words TEXT NOT NULL
);
CREATE INDEX list_entry_created ON list_entry (created, id);
CREATE INDEX list_entry_scope ON list_entry (scope, scope_of);
CREATE INDEX list_entry_expires ON list_entry (expires);
CREATE TABLE list_mark (name TEXT PRIMARY KEY, n BIGINT NOT NULL);
INSERT INTO list_mark (name, n) VALUES ('version', 1);
`
	// bytewise order, the same as SQLite's
	postgres := strings.ReplaceAll(text, "id TEXT PRIMARY KEY", `id TEXT COLLATE "C" PRIMARY KEY`)
	return sqldb.Schema{Name: "lists", SQLite: []string{text}, Postgres: []string{postgres}}
}

// Open opens the store at a URL that sqldb.Connect knows.
func Open(where string, o Options) (*Store, error) {
	db, err := sqldb.Connect(where, sqldb.Full, schema())
	if err != nil {
		return nil, fmt.Errorf("lists: %w", err)
	}
	o.MaxEntries, o.PerUser = cmp.Or(o.MaxEntries, 200_000), cmp.Or(o.PerUser, 1000)
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Store{db: db, opt: o, hits: map[string]hit{}}, nil
}

// Close writes the hits that wait, and closes the database.
func (s *Store) Close(ctx context.Context) error {
	return errors.Join(s.Flush(ctx), s.db.Close())
}

// Add takes an entry in, and gives it as it is kept. One that says the same as another is joined with it: it has the
// later end, the newer owner and reason, and the hits of both. Created and ID are the store's.
func (s *Store) Add(ctx context.Context, e Entry) (Entry, error) {
	e.Created, e.Hits, e.LastHit = s.opt.Now(), 0, time.Time{}
	e, err := e.Normal()
	if err != nil {
		return e, err
	}
	if _, err := s.add(ctx, []Entry{e}); err != nil {
		return e, err
	}
	return s.Find(ctx, e.ID)
}

// AddAll takes entries in, all or none, and says how many are new. The error for one that is not valid wraps ErrInvalid.
func (s *Store) AddAll(ctx context.Context, entries []Entry) (int, error) {
	all := make([]Entry, len(entries))
	for i, e := range entries {
		e.Created, e.Hits, e.LastHit = s.opt.Now(), 0, time.Time{}
		var err error
		if all[i], err = e.Normal(); err != nil {
			return 0, fmt.Errorf("entry %d: %w", i+1, err)
		}
	}
	return s.add(ctx, all)
}

func (s *Store) add(ctx context.Context, all []Entry) (added int, err error) {
	err = s.db.Write(ctx, func(tx *sql.Tx) error {
		added = 0
		// first, since the lock on this row keeps other writers out: counts stay correct
		if err := s.bump(ctx, tx); err != nil {
			return err
		}
		users := map[string]bool{}
		for i, e := range all {
			isNew, err := s.put(ctx, tx, e)
			if err != nil {
				return err
			}
			if s.opt.Progress != nil {
				s.opt.Progress(float64(i+1)/float64(len(all)), i+1)
			}
			if isNew {
				added++
				users[e.ScopeOf] = users[e.ScopeOf] || e.Scope == User
			}
		}
		if added == 0 {
			return nil
		}
		return s.room(ctx, tx, users)
	})
	if err != nil {
		return 0, fmt.Errorf("lists: %w", err)
	}
	return added, nil
}

func (s *Store) bump(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, "UPDATE list_mark SET n = n + 1 WHERE name = 'version'")
	return err
}

// room says whether too many are kept now.
func (s *Store) room(ctx context.Context, tx *sql.Tx, users map[string]bool) error {
	var n int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM list_entry").Scan(&n); err != nil {
		return err
	}
	if n > s.opt.MaxEntries {
		return fmt.Errorf("%w: there may be %d entries", ErrFull, s.opt.MaxEntries)
	}
	for user, is := range users {
		if !is {
			continue
		}
		if err := tx.QueryRowContext(ctx, s.db.Bind("SELECT count(*) FROM list_entry WHERE scope = 'user' AND scope_of = ?"), user).Scan(&n); err != nil {
			return err
		}
		if n > s.opt.PerUser {
			return fmt.Errorf("%w: one user may have %d entries", ErrFull, s.opt.PerUser)
		}
	}
	return nil
}

func (s *Store) put(ctx context.Context, tx *sql.Tx, e Entry) (isNew bool, err error) {
	words := strings.ToLower(strings.Join([]string{e.Sender, networkText(e.Network), e.Recipient, e.Owner, e.Reason}, "\n"))
	r, err := tx.ExecContext(ctx, s.db.Bind(`INSERT INTO list_entry
		(id, list, scope, scope_of, sender, network, recipient, unauthenticated, monitored, owner, reason, created, expires, hits, last_hit, words)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?) ON CONFLICT (id) DO NOTHING`),
		e.ID, string(e.List), string(e.Scope), e.ScopeOf, e.Sender, networkText(e.Network), e.Recipient, number(e.Unauthenticated), number(e.Monitored),
		e.Owner, e.Reason, millis(e.Created), millis(e.Expires), words)
	if err != nil {
		return false, err
	}
	if n, err := r.RowsAffected(); err != nil || n > 0 {
		return n > 0, err
	}
	// 0 is for ever, the latest of ends
	_, err = tx.ExecContext(ctx, s.db.Bind(`UPDATE list_entry SET owner = ?, reason = ?, words = ?,
		expires = CASE WHEN expires = 0 THEN 0 WHEN CAST(? AS BIGINT) = 0 THEN 0 WHEN expires > ? THEN expires ELSE ? END WHERE id = ?`),
		e.Owner, e.Reason, words, millis(e.Expires), millis(e.Expires), millis(e.Expires), e.ID)
	return false, err
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

func networkText(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

// Remove takes an entry out. The error is ErrUnknown if there is none.
func (s *Store) Remove(ctx context.Context, id string) error {
	n, err := s.remove(ctx, "id = ?", id)
	if err == nil && n == 0 {
		err = ErrUnknown
	}
	return err
}

// Expire deletes expired entries, and gives their number.
func (s *Store) Expire(ctx context.Context) (int64, error) {
	return s.remove(ctx, "expires > 0 AND expires <= ?", s.opt.Now().UnixMilli())
}

func (s *Store) remove(ctx context.Context, where string, args ...any) (n int64, err error) {
	err = s.db.Write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, s.db.Bind("DELETE FROM list_entry WHERE "+where), args...)
		if err != nil {
			return err
		}
		if n, err = r.RowsAffected(); err != nil || n == 0 {
			return err
		}
		return s.bump(ctx, tx)
	})
	if err != nil {
		return 0, fmt.Errorf("lists: %w", err)
	}
	return n, nil
}

// Version is another number whenever entries were added, changed or taken out, by whichever gateway: then policy is to be
// compiled anew. Hits don't change it.
func (s *Store) Version(ctx context.Context) (n int64, err error) {
	rows, err := s.db.Query(ctx, "SELECT n FROM list_mark WHERE name = 'version'")
	if err != nil {
		return 0, fmt.Errorf("lists: %w", err)
	}
	defer func() { _ = rows.Close() }() // reading only; Err tells what matters
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			return 0, fmt.Errorf("lists: %w", err)
		}
	}
	return n, rows.Err()
}

const columns = "SELECT id, list, scope, scope_of, sender, network, recipient, unauthenticated, monitored, owner, reason, created, expires, hits, last_hit FROM list_entry"

// Find gives one entry. The error is ErrUnknown if there is none.
func (s *Store) Find(ctx context.Context, id string) (Entry, error) {
	found, err := s.query(ctx, columns+" WHERE id = ?", id)
	if err == nil && len(found) == 0 {
		err = ErrUnknown
	}
	if err != nil {
		return Entry{}, err
	}
	return found[0], nil
}

// All gives the entries that hold now, for policy: the admin's first, then the domains', then the users', each in the
// order of their ids, so that every gateway compiles the same. Monitored ones are among them: see Deciding.
func (s *Store) All(ctx context.Context) ([]Entry, error) {
	return s.query(ctx, columns+" WHERE expires = 0 OR expires > ? ORDER BY CASE scope WHEN 'admin' THEN 0 WHEN 'domain' THEN 1 ELSE 2 END, id", s.opt.Now().UnixMilli())
}

// Query says which entries are listed. What it leaves out does not matter.
type Query struct {
	List    policy.ListName
	Scope   Scope
	ScopeOf string
	// Text is looked for in sender, network, recipient, owner and reason, whatever its case.
	Text string
	// Unused lists only those without a hit since that time, or ever.
	Unused time.Time
	// Limit is how many are listed, the newest first: 100 for 0, at most 1,000.
	Limit int
	// After is the cursor that the page before gave.
	After string
}

// Search gives a page of entries, and the cursor of the next one, "" if there is none.
func (s *Store) Search(ctx context.Context, q Query) (found []Entry, next string, err error) {
	text, args := columns+" WHERE 1 = 1", []any{}
	and := func(condition string, values ...any) {
		text += " AND " + condition
		args = append(args, values...)
	}
	for _, field := range [][2]string{{"list", string(q.List)}, {"scope", string(q.Scope)}, {"scope_of", strings.ToLower(q.ScopeOf)}} {
		if field[1] != "" {
			and(field[0]+" = ?", field[1])
		}
	}
	if q.Text != "" {
		position := "instr(words, ?)"
		if s.db.Postgres() {
			position = "strpos(words, ?)"
		}
		and(position+" > 0", strings.ReplaceAll(strings.ToLower(strings.ToValidUTF8(q.Text, "")), "\x00", ""))
	}
	if !q.Unused.IsZero() {
		and("last_hit < ?", q.Unused.UnixMilli())
	}
	if q.After != "" {
		at, id, ok := strings.Cut(q.After, "_")
		created, err := strconv.ParseInt(at, 10, 64)
		if !ok || err != nil || len(id) > 64 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, "", ErrCursor
		}
		and("(created, id) < (CAST(? AS BIGINT), ?)", created, id)
	}
	limit := min(cmp.Or(max(q.Limit, 0), 100), 1000)
	if found, err = s.query(ctx, text+" ORDER BY created DESC, id DESC LIMIT "+strconv.Itoa(limit+1), args...); err != nil {
		return nil, "", err
	}
	if len(found) > limit {
		found = found[:limit]
		last := found[limit-1]
		next = strconv.FormatInt(last.Created.UnixMilli(), 10) + "_" + last.ID
	}
	return found, next, nil
}

func (s *Store) query(ctx context.Context, text string, args ...any) (found []Entry, err error) {
	rows, err := s.db.Query(ctx, text, args...)
	if err != nil {
		return nil, fmt.Errorf("lists: %w", err)
	}
	defer func() { _ = rows.Close() }() // reading only; Err tells what matters
	for rows.Next() {
		var e Entry
		var network string
		var unauthenticated, monitored int
		var created, expires, lastHit int64
		if err := rows.Scan(&e.ID, &e.List, &e.Scope, &e.ScopeOf, &e.Sender, &network, &e.Recipient, &unauthenticated, &monitored, &e.Owner, &e.Reason,
			&created, &expires, &e.Hits, &lastHit); err != nil {
			return nil, fmt.Errorf("lists: %w", err)
		}
		if network != "" {
			if e.Network, err = netip.ParsePrefix(network); err != nil {
				return nil, fmt.Errorf("lists: entry %s: %w", e.ID, err)
			}
		}
		e.Unauthenticated, e.Monitored = unauthenticated != 0, monitored != 0
		e.Created, e.Expires, e.LastHit = fromMillis(created), fromMillis(expires), fromMillis(lastHit)
		found = append(found, e)
	}
	return found, rows.Err()
}
