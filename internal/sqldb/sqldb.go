// Package sqldb opens the databases of the gateway: a SQLite file (one writer, any number of readers, also from another
// process) or a PostgreSQL server that several gateways share. Both have the same few methods.
package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// DB is one database. Writes go through Write; reads don't wait for them.
type DB struct {
	write, read *sql.DB
	postgres    bool
	schema      Schema

	mu    sync.Mutex
	ready bool
}

// Schema is what one store keeps in a database. Each migration is run once, in order; one that was released is never
// changed.
type Schema struct {
	// Name tells the stores in one PostgreSQL database apart.
	Name             string
	SQLite, Postgres []string
}

// Durability says what a power cut may cost a file. The file itself is never at risk, nor is anything in a mere crash. A
// server keeps all that was committed, unless its admin says otherwise.
type Durability string

// Relaxed may lose the last second, for records that come in thousands; Full loses nothing that was committed.
const (
	Relaxed Durability = "NORMAL"
	Full    Durability = "FULL"
)

// ErrURL says that a database URL can't be read. It never repeats the URL, which may hold a password.
var ErrURL = errors.New(`not a database we know: write "sqlite:/path/to/file.db" or "postgres://user:password@host:5432/name"`)

// Open opens a SQLite file, makes it if it isn't there (readable by its owner only), and brings its schema up to date.
func Open(path string, durability Durability, migrations []string) (*DB, error) {
	return openSQLite(path, durability, Schema{SQLite: migrations})
}

// Connect opens the database that a URL names: "sqlite:PATH", a bare path, or "postgres://USER:PASSWORD@HOST:PORT/NAME"
// with the parameters that libpq knows. A SQLite file is opened and its schema brought up to date, as by Open. A server is
// not yet asked anything, so that one that is away keeps nothing from starting: see Ready.
func Connect(where string, durability Durability, schema Schema) (*DB, error) {
	scheme, rest, found := strings.Cut(where, ":")
	switch {
	case strings.Contains(where, "password="): // libpq's other form; as a path it would be a file that tells the password
	case !found && where != "":
		return openSQLite(where, durability, schema)
	case scheme == "sqlite" && rest != "":
		return openSQLite(strings.TrimPrefix(rest, "//"), durability, schema)
	case scheme == "postgres", scheme == "postgresql":
		return openPostgres(where, schema)
	case found && strings.ContainsAny(scheme, `/\`):
		return openSQLite(where, durability, schema) // a path with a colon in it
	}
	return nil, fmt.Errorf("open database: %w", ErrURL)
}

// IsPostgres says whether a URL names a PostgreSQL server.
func IsPostgres(where string) bool {
	return strings.HasPrefix(where, "postgres://") || strings.HasPrefix(where, "postgresql://")
}

// Name is a database URL without its password, for logs and pages.
func Name(where string) string {
	if !IsPostgres(where) {
		return strings.TrimPrefix(where, "sqlite:")
	}
	u, err := url.Parse(where)
	if err != nil {
		return "postgres"
	}
	return (&url.URL{Scheme: "postgres", Host: u.Host, Path: u.Path}).String()
}

// Close closes the database.
func (db *DB) Close() error {
	var errs []error
	for _, pool := range []*sql.DB{db.read, db.write} {
		if pool != nil {
			errs = append(errs, pool.Close())
		}
	}
	return errors.Join(errs...)
}

// Postgres says whether this is a PostgreSQL server; else it is a SQLite file.
func (db *DB) Postgres() bool { return db.postgres }

// Read is for queries, with statements that Bind has been over. A server must have been Ready before.
func (db *DB) Read() *sql.DB { return db.read }

// Query reads rows once the schema is up to date. The statement has "?" for its parameters.
func (db *DB) Query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if err := db.Ready(ctx); err != nil {
		return nil, err
	}
	return db.read.QueryContext(ctx, db.Bind(text), args...)
}

// Bind writes the parameters of a statement as its database wants them: "?" stays for SQLite and becomes $1, $2, … for
// PostgreSQL. So a statement must have no other question mark in it.
func (db *DB) Bind(text string) string {
	if !db.postgres || !strings.Contains(text, "?") {
		return text
	}
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(text, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("$" + strconv.Itoa(n))
		text = after
	}
}

// Write runs f in one transaction, once the schema is up to date. An error of f undoes it all.
func (db *DB) Write(ctx context.Context, f func(*sql.Tx) error) error {
	if err := db.Ready(ctx); err != nil {
		return err
	}
	return db.transact(ctx, f)
}

func (db *DB) transact(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := f(tx); err != nil {
		if undone := tx.Rollback(); undone != nil && !errors.Is(undone, sql.ErrTxDone) && !IsAway(err) {
			return errors.Join(err, undone)
		}
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// Ready brings the schema up to date if that has not been done yet. With a server it is also the question whether it is
// there at all.
func (db *DB) Ready(ctx context.Context) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.ready {
		return nil
	}
	migrate := db.migrateSQLite
	if db.postgres {
		migrate = db.migratePostgres
	}
	if err := migrate(ctx); err != nil {
		return err
	}
	db.ready = true
	return nil
}

// run runs the migrations behind a version.
func run(ctx context.Context, tx *sql.Tx, version int, migrations []string) error {
	if version > len(migrations) {
		return fmt.Errorf("%w: its schema has version %d and this program knows %d: it was written by a newer Postern", errSchema, version, len(migrations))
	}
	for n, m := range migrations[version:] {
		if _, err := tx.ExecContext(ctx, m); err != nil {
			return fmt.Errorf("%w: migration %d: %w", errSchema, version+n+1, err)
		}
	}
	return nil
}

var errSchema = errors.New("schema")
