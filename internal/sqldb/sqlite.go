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

// Result codes of SQLite: https://www.sqlite.org/rescode.html
const (
	codeBusy     = 5
	codeLocked   = 6
	codeNoMemory = 7
	codeReadOnly = 8
	codeIO       = 10
	codeCorrupt  = 11
	codeFull     = 13
	codeCantOpen = 14
	codeNotADB   = 26
)

func openSQLite(path string, durability Durability, schema Schema) (*DB, error) {
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
	db := &DB{schema: schema}
	if db.write, err = connectSQLite(path, durability, "immediate", 1); err != nil {
		return nil, err
	}
	if db.read, err = connectSQLite(path, durability, "deferred", 4); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := db.Ready(context.Background()); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", filepath.Base(path), err), db.Close())
	}
	return db, nil
}

// connectSQLite makes a pool. WAL lets readers of other processes go on while we write.
func connectSQLite(path string, durability Durability, lock string, connections int) (*sql.DB, error) {
	u := url.URL{Scheme: "file", Path: path, RawQuery: "_txlock=" + lock +
		"&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(" + string(durability) + ")&_pragma=foreign_keys(1)"}
	pool, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	pool.SetMaxOpenConns(connections)
	return pool, nil
}

func (db *DB) migrateSQLite(ctx context.Context) error {
	return db.transact(ctx, func(tx *sql.Tx) error {
		var version int
		if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
			return err
		}
		if err := run(ctx, tx, version, db.schema.SQLite); err != nil {
			return err
		}
		// a pragma takes no parameters; the number is ours
		_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(db.schema.SQLite)))
		return err
	})
}

// IsBroken says whether the error means that the file is damaged beyond use, so that it must be moved away.
func IsBroken(err error) bool {
	code := sqliteCode(err)
	return code == codeCorrupt || code == codeNotADB
}

// sqliteCode is the primary result code of an error, 0 if it is not SQLite's.
func sqliteCode(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code() & 0xff
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
