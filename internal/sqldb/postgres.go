package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// A server that does not answer is an error soon, never a hang.
const (
	connectTimeout = 2 * time.Second
	connections    = 6
	idleTime       = time.Minute
)

func openPostgres(where string, schema Schema) (*DB, error) {
	config, err := pgx.ParseConfig(where)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", ErrURL) // pgx's words may repeat the URL
	}
	if config.ConnectTimeout == 0 || config.ConnectTimeout > connectTimeout {
		config.ConnectTimeout = connectTimeout
	}
	// no named statements: each query is planned for its own values, and a pooler between us and the server does no harm
	if config.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "postern"
	}
	pool := stdlib.OpenDB(*config)
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
	pool.SetConnMaxIdleTime(idleTime)
	return &DB{write: pool, read: pool, postgres: true, schema: schema}, nil
}

// migratePostgres waits for another gateway that is doing the same.
func (db *DB) migratePostgres(ctx context.Context) error {
	const lock = 0x706f737465726e // "postern"
	return db.transact(ctx, func(tx *sql.Tx) error {
		for _, text := range []string{
			fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", lock),
			"CREATE TABLE IF NOT EXISTS postern_schema (name text PRIMARY KEY, version integer NOT NULL)",
		} {
			if _, err := tx.ExecContext(ctx, text); err != nil {
				return err
			}
		}
		version := 0
		err := tx.QueryRowContext(ctx, "SELECT version FROM postern_schema WHERE name = $1", db.schema.Name).Scan(&version)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if version == len(db.schema.Postgres) {
			return nil
		}
		if err := run(ctx, tx, version, db.schema.Postgres); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO postern_schema VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET version = excluded.version",
			db.schema.Name, len(db.schema.Postgres))
		return err
	})
}

// IsAway says whether an error is the database's and not the statement's: the server is gone, stops, refuses us or has no
// room; the file is locked, read-only or its disk full. The same statement may succeed later.
func IsAway(err error) bool {
	var server *pgconn.PgError
	var connect *pgconn.ConnectError
	var network net.Error
	switch {
	case err == nil:
		return false
	case errors.Is(err, errSchema), errors.As(err, &connect):
		return true
	case errors.As(err, &server):
		return awayState(server.Code)
	case errors.As(err, &network), pgconn.SafeToRetry(err):
		return true
	}
	for _, lost := range []error{context.DeadlineExceeded, context.Canceled, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, driver.ErrBadConn, sql.ErrConnDone, sql.ErrTxDone} {
		if errors.Is(err, lost) {
			return true
		}
	}
	switch sqliteCode(err) {
	case codeBusy, codeLocked, codeNoMemory, codeReadOnly, codeIO, codeCorrupt, codeFull, codeCantOpen, codeNotADB:
		return true
	}
	return false
}

// awayState knows the SQLSTATEs: https://www.postgresql.org/docs/current/errcodes-appendix.html
func awayState(code string) bool {
	switch code {
	case "25006", // read-only: a standby
		"3D000", "42501", // no such database, no right to it
		"42P01", "55P03": // a table is gone, a lock not to be had
		return true
	}
	if len(code) != 5 {
		return true
	}
	switch code[:2] {
	case "08", "28", "40", "53", "57", "58", "F0", "XX": // connection, login, deadlock, resources, operator, system, configuration, internal
		return true
	}
	return false
}
