package replay

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"postern/internal/sqldb"
)

// ErrNoVersion says that there is no such version of the policy.
var ErrNoVersion = errors.New("there is no such version of the policy")

// Version is a policy that was put in force, or is being tried.
type Version struct {
	N int64 `json:"n"`
	// Version is the policy's own name for itself, which stands in every verdict.
	Version string    `json:"version"`
	Text    string    `json:"-"`
	Applied time.Time `json:"applied"`
	By      string    `json:"by"`
	Note    string    `json:"note,omitempty"`
}

// Trial is a draft that is tried on mail that comes in: only watched, or in force for a share of the recipients.
type Trial struct {
	Text  string    `json:"-"`
	Since time.Time `json:"since"`
	By    string    `json:"by"`
	// Share is from 0, only watched, to 100 percent.
	Share int `json:"share"`
	// Stopped says why it ended by itself, "" while it goes on.
	Stopped string `json:"stopped,omitempty"`
}

// Versions keeps them.
type Versions struct{ db *sqldb.DB }

func schema() sqldb.Schema {
	const text = `CREATE TABLE policy_version (
	n INTEGER PRIMARY KEY%s, version TEXT NOT NULL, text TEXT NOT NULL, applied BIGINT NOT NULL, by_whom TEXT NOT NULL, note TEXT NOT NULL);
CREATE TABLE policy_trial (
	n INTEGER PRIMARY KEY, text TEXT NOT NULL, since BIGINT NOT NULL, by_whom TEXT NOT NULL, share INTEGER NOT NULL, stopped TEXT NOT NULL)`
	return sqldb.Schema{Name: "policy", SQLite: []string{fmt.Sprintf(text, " AUTOINCREMENT")}, Postgres: []string{fmt.Sprintf(text, " GENERATED ALWAYS AS IDENTITY")}}
}

// OpenVersions opens them in the database that a URL or path names.
func OpenVersions(where string) (*Versions, error) {
	db, err := sqldb.Connect(where, sqldb.Full, schema())
	if err != nil {
		return nil, fmt.Errorf("policy versions: %w", err)
	}
	return &Versions{db}, nil
}

// Close closes the database.
func (v *Versions) Close() error { return v.db.Close() }

// Add keeps a version. The same one as the last is kept once.
func (v *Versions) Add(ctx context.Context, one Version) error {
	last, err := v.Back(ctx, 0)
	if err == nil && last.Version == one.Version && last.Text == one.Text {
		return nil
	}
	if err != nil && !errors.Is(err, ErrNoVersion) {
		return err
	}
	return v.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, v.db.Bind("INSERT INTO policy_version (version, text, applied, by_whom, note) VALUES (?, ?, ?, ?, ?)"),
			one.Version, one.Text, one.Applied.UnixMilli(), one.By, one.Note)
		return err
	})
}

// List gives the versions, the newest first.
func (v *Versions) List(ctx context.Context, limit int) ([]Version, error) {
	return v.query(ctx, "ORDER BY n DESC LIMIT ?", limit)
}

// Back gives the version that was put in force so many before the last.
func (v *Versions) Back(ctx context.Context, steps int) (Version, error) {
	return one(v.query(ctx, "ORDER BY n DESC LIMIT 1 OFFSET ?", steps))
}

// Get gives the newest version of that name or number.
func (v *Versions) Get(ctx context.Context, name string) (Version, error) {
	return one(v.query(ctx, "WHERE version = ? OR CAST(n AS TEXT) = ? ORDER BY n DESC LIMIT 1", name, name))
}

func one(all []Version, err error) (Version, error) {
	if err == nil && len(all) == 0 {
		err = ErrNoVersion
	}
	if err != nil {
		return Version{}, err
	}
	return all[0], nil
}

func (v *Versions) query(ctx context.Context, rest string, args ...any) ([]Version, error) {
	rows, err := v.db.Query(ctx, "SELECT n, version, text, applied, by_whom, note FROM policy_version "+rest, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // reading only; Err tells what matters
	all := []Version{}
	for rows.Next() {
		var one Version
		var at int64
		if err := rows.Scan(&one.N, &one.Version, &one.Text, &at, &one.By, &one.Note); err != nil {
			return nil, err
		}
		one.Applied = time.UnixMilli(at).UTC()
		all = append(all, one)
	}
	return all, rows.Err()
}

// Try begins a trial in place of the one before it; End ends it.
func (v *Versions) Try(ctx context.Context, t Trial) error {
	return v.db.Write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM policy_trial"); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, v.db.Bind("INSERT INTO policy_trial (n, text, since, by_whom, share, stopped) VALUES (1, ?, ?, ?, ?, ?)"),
			t.Text, t.Since.UnixMilli(), t.By, t.Share, t.Stopped)
		return err
	})
}

// End ends the trial.
func (v *Versions) End(ctx context.Context) error {
	return v.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM policy_trial")
		return err
	})
}

// Trial gives the trial there is; not ok without one.
func (v *Versions) Trial(ctx context.Context) (t Trial, ok bool, err error) {
	rows, err := v.db.Query(ctx, "SELECT text, since, by_whom, share, stopped FROM policy_trial")
	if err != nil {
		return t, false, err
	}
	defer func() { _ = rows.Close() }() // reading only; Err tells what matters
	if !rows.Next() {
		return t, false, rows.Err()
	}
	var at int64
	if err := rows.Scan(&t.Text, &at, &t.By, &t.Share, &t.Stopped); err != nil {
		return t, false, err
	}
	t.Since = time.UnixMilli(at).UTC()
	return t, true, rows.Err()
}
