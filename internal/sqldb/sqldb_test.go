package sqldb

import (
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestMigrationsRunOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd name ?&#%20.db")
	first := []string{"CREATE TABLE a (x)"}
	db, err := Open(path, Full, first)
	if err != nil {
		t.Fatal(err)
	}
	undone := errors.New("undone")
	err = db.Write(t.Context(), func(tx *sql.Tx) error {
		if _, err := tx.Exec("INSERT INTO a VALUES (1)"); err != nil {
			return err
		}
		return undone
	})
	if !errors.Is(err, undone) {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db, err = Open(path, Full, append(first, "ALTER TABLE a ADD COLUMN y", "INSERT INTO a VALUES (2, 3)"))
	if err != nil {
		t.Fatal(err)
	}
	var n, x int
	if err := db.Read().QueryRow("SELECT count(*), max(x) FROM a").Scan(&n, &x); err != nil || n != 1 || x != 2 {
		t.Errorf("%d rows, x is %d, %v", n, x, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Full, first); err == nil || !strings.Contains(err.Error(), "newer Postern") {
		t.Errorf("an older program opens it: %v", err)
	}
	if found, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(found) == 0 || !strings.Contains(found[0], "odd name ?&#%20.db") {
		t.Errorf("the file has another name: %v", found)
	}
}

func TestFailedMigrationChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	if _, err := Open(path, Full, []string{"CREATE TABLE a (x)", "NONSENSE"}); err == nil || !strings.Contains(err.Error(), "migration 2") {
		t.Fatal(err)
	}
	db, err := Open(path, Full, []string{"CREATE TABLE a (x)"})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}
