package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/sqldb"
	"postern/internal/testing/pgtest"
)

func connect(t *testing.T, where string, migrations ...string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Connect(where, sqldb.Full, sqldb.Schema{Name: "test", Postgres: migrations})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func insert(ctx context.Context, db *sqldb.DB, n int) error {
	return db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, db.Bind("INSERT INTO a VALUES (?)"), n)
		return err
	})
}

// Two gateways that start at once run each migration once.
func TestPostgresMigrations(t *testing.T) {
	s := pgtest.Start(t)
	migrations := []string{"CREATE TABLE a (x integer)", "ALTER TABLE a ADD COLUMN y integer; INSERT INTO a VALUES (2, 3)"}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := connect(t, s.URL, migrations...).Ready(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := s.Do("SELECT count(*) FROM a"); got != "1" {
		t.Errorf("the second migration ran %s times", got)
	}
	err := connect(t, s.URL, migrations[0]).Ready(t.Context())
	if err == nil || !strings.Contains(err.Error(), "newer Postern") || !sqldb.IsAway(err) {
		t.Errorf("an older program uses it: %v", err)
	}
	err = connect(t, s.URL, append(migrations, "CREATE TABLE b (x integer); NONSENSE")...).Ready(t.Context())
	if err == nil || !strings.Contains(err.Error(), "migration 3") || s.Do("SELECT count(*) FROM pg_tables WHERE tablename = 'b'") != "0" {
		t.Errorf("half a migration: %v", err)
	}
}

// A server that is gone, or stands still, is an error within seconds, and works again when it is back.
func TestPostgresAway(t *testing.T) {
	s := pgtest.Start(t)
	db := connect(t, s.URL, "CREATE TABLE a (x integer)")
	if err := insert(t.Context(), db, 1); err != nil {
		t.Fatal(err)
	}
	for name, outage := range map[string]struct{ begin, end func() }{
		"killed": {s.Kill, s.Restart}, "stopped": {s.Stop, s.Restart}, "frozen": {s.Freeze, s.Continue},
	} {
		outage.begin()
		for range 2 { // on a connection that was open, and on a new one
			begun := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := insert(ctx, db, 2)
			cancel()
			if err == nil || !sqldb.IsAway(err) || time.Since(begun) > 10*time.Second {
				t.Errorf("%s: %v after %v", name, err, time.Since(begun))
			}
		}
		outage.end()
		var err error
		for range 20 { // connections that were open are found dead one by one
			if err = insert(t.Context(), db, 3); err == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if err != nil {
			t.Errorf("%s and back: %v", name, err)
		}
	}
	if err := insert(t.Context(), connect(t, s.URL), 1); err == nil || !sqldb.IsAway(err) {
		t.Errorf("a schema of a newer program: %v", err)
	}
}

// An error of a statement is not taken for an outage, and undoes its transaction.
func TestPostgresStatementFails(t *testing.T) {
	s := pgtest.Start(t)
	db := connect(t, s.URL, "CREATE TABLE a (x integer PRIMARY KEY)")
	if err := insert(t.Context(), db, 1); err != nil {
		t.Fatal(err)
	}
	if err := insert(t.Context(), db, 1); err == nil || sqldb.IsAway(err) {
		t.Errorf("twice the same key: %v", err)
	}
	undone := errors.New("undone")
	err := db.Write(t.Context(), func(tx *sql.Tx) error {
		if _, err := tx.Exec("INSERT INTO a VALUES (2)"); err != nil {
			return err
		}
		return undone
	})
	if !errors.Is(err, undone) || s.Do("SELECT count(*) FROM a") != "1" {
		t.Error(err)
	}
}

// Neither a password nor what may be one is told to anybody.
func TestPasswordIsNotTold(t *testing.T) {
	const secret = "pa55w0rd"
	for _, where := range []string{
		"postgres://u:" + secret + "@127.0.0.1:1/x?connect_timeout=1", "postgres://u:" + secret + "@[::1/x", "postgres://u:" + secret + "%zz@h/x",
		"postgres://u:" + secret + "@127.0.0.1:1/x?sslmode=nonsense", "mysql://u:" + secret + "@h/x", "host=h password=" + secret, "postgres:" + secret,
	} {
		db, err := sqldb.Connect(where, sqldb.Full, sqldb.Schema{})
		if err == nil {
			err = db.Ready(t.Context())
			_ = db.Close()
		}
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%v", err)
		}
		if name := sqldb.Name(where); sqldb.IsPostgres(where) && strings.Contains(name, secret) {
			t.Error(name)
		}
	}
	s := pgtest.Start(t)
	wrong := strings.Replace(s.URL, "s3cret", secret, 1)
	err := connect(t, wrong).Ready(t.Context())
	if err == nil || !sqldb.IsAway(err) || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "password") {
		t.Errorf("a wrong password: %v", err)
	}
}

func TestConnectToFiles(t *testing.T) {
	dir := t.TempDir()
	for _, where := range []string{dir + "/a.db", "sqlite:" + dir + "/b.db", "sqlite://" + dir + "/c.db", dir + "/odd:name.db"} {
		db, err := sqldb.Connect(where, sqldb.Full, sqldb.Schema{SQLite: []string{"CREATE TABLE a (x)"}})
		if err != nil {
			t.Errorf("%s: %v", where, err)
			continue
		}
		if err := insert(t.Context(), db, 1); err != nil || db.Postgres() {
			t.Errorf("%s: %v", where, err)
		}
		_ = db.Close()
	}
	for _, where := range []string{"", "sqlite:", "oracle:x"} {
		if _, err := sqldb.Connect(where, sqldb.Full, sqldb.Schema{}); !errors.Is(err, sqldb.ErrURL) {
			t.Errorf("%q: %v", where, err)
		}
	}
}
