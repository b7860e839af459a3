// Package sqldb opens the SQLite files of the gateway: one writer, any number of readers, also from another process.
package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite" // registers the driver "sqlite", without cgo
)

// DB is one file. Writes go through Write, one transaction at a time; reads don't wait for them.
type DB struct {
	write, read *sql.DB
}

// Result codes of SQLite: https://www.sqlite.org/rescode.html
const (
	codeCorrupt = 11
	codeNotADB  = 26
)

// Durability says what a power cut may cost. The file itself is never at risk, nor is anything in a mere crash.
type Durability string

// Relaxed may lose the last second, for records that come in thousands; Full loses nothing that was committed.
const (
	Relaxed Durability = "NORMAL"
	Full    Durability = "FULL"
)

// Open opens a file, makes it if it isn't there (readable by its owner only), and brings its schema up to date. Each
// migration is run once, in order; a migration that was released is never changed.
func Open(path string, durability Durability, migrations []string) (*DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	// SQLite gives its side files the mode of the main one
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db := &DB{}
	if db.write, err = connect(path, durability, "immediate", 1); err != nil {
		return nil, err
	}
	if db.read, err = connect(path, durability, "deferred", 4); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := db.migrate(migrations); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", filepath.Base(path), err), db.Close())
	}
	return db, nil
}

// connect makes a pool. WAL lets readers of other processes go on while we write.
func connect(path string, durability Durability, lock string, connections int) (*sql.DB, error) {
	u := url.URL{Scheme: "file", Path: path, RawQuery: "_txlock=" + lock +
		"&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(" + string(durability) + ")&_pragma=foreign_keys(1)"}
	pool, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	pool.SetMaxOpenConns(connections)
	return pool, nil
}

// Close closes both pools.
func (db *DB) Close() error {
	var errs []error
	for _, pool := range []*sql.DB{db.read, db.write} {
		if pool != nil {
			errs = append(errs, pool.Close())
		}
	}
	return errors.Join(errs...)
}

// Read is for queries.
func (db *DB) Read() *sql.DB { return db.read }

// Write runs f in one transaction. An error of f undoes it all.
func (db *DB) Write(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

func (db *DB) migrate(migrations []string) error {
	return db.Write(context.Background(), func(tx *sql.Tx) error {
		var version int
		if err := tx.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
			return err
		}
		if version > len(migrations) {
			return fmt.Errorf("its schema has version %d and this program knows %d: it was written by a newer Postern", version, len(migrations))
		}
		for n, m := range migrations[version:] {
			if _, err := tx.Exec(m); err != nil {
				return fmt.Errorf("migration %d: %w", version+n+1, err)
			}
		}
		// a pragma takes no parameters; the number is ours
		_, err := tx.Exec(fmt.Sprintf("PRAGMA user_version = %d", len(migrations)))
		return err
	})
}

// IsBroken says whether the error means that the file is damaged beyond use, so that it must be moved away.
func IsBroken(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	code := e.Code() & 0xff
	return code == codeCorrupt || code == codeNotADB
}

// MoveAside renames a broken file and its side files, so that a new one can begin; suffix tells several apart. What is
// in the old one can often be saved by hand (sqlite3 .recover).
func MoveAside(path, suffix string) error {
	var errs []error
	for _, side := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(path+side, path+".broken-"+suffix+side); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
