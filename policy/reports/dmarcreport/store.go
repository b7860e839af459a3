package dmarcreport

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"postern/internal/sqldb"
)

// Limits of what is counted: different records in memory between two writes, and of one domain on one day.
const (
	maxPending = 20_000
	maxPerDay  = 10_000
)

// keepDays is how long what could not be reported is kept.
const keepDays = 3

// Store counts observations by day (UTC). Collect only counts in memory; Flush writes. A crash costs what was counted
// since the last Flush.
type Store struct {
	db  *sqldb.DB
	log *slog.Logger

	// the limits, smaller in tests
	maxPending, maxPerDay int

	mu      sync.Mutex
	pending map[key]int64
	lost    int64
}

// key is all that makes records different. Its texts are JSON, written by us.
type key struct {
	day                      int64
	domain, published, other string
}

// other is what a record has beside its count.
type other struct {
	Rua    []string `json:"rua"`
	Record Record   `json:"record"`
}

func migrations() []string {
	return []string{`
		CREATE TABLE observed (
			day INTEGER NOT NULL, domain TEXT NOT NULL, published TEXT NOT NULL, other TEXT NOT NULL, count INTEGER NOT NULL,
			PRIMARY KEY (day, domain, published, other)) WITHOUT ROWID;
		CREATE TABLE reported (day INTEGER NOT NULL, domain TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (day, domain)) WITHOUT ROWID;`}
}

// Open opens the file, and makes it if it isn't there.
func Open(path string, log *slog.Logger) (*Store, error) {
	db, err := sqldb.Open(path, sqldb.Relaxed, migrations())
	if err != nil {
		return nil, fmt.Errorf("dmarc reports: %w", err)
	}
	return &Store{db: db, log: log, maxPending: maxPending, maxPerDay: maxPerDay, pending: map[key]int64{}}, nil
}

// Close writes what is left and closes the file.
func (s *Store) Close(ctx context.Context) error {
	if err := s.Flush(ctx); err != nil {
		s.log.Error("dmarc reports", "error", err)
	}
	return s.db.Close()
}

// Collect counts an observation. It waits for nothing.
func (s *Store) Collect(at time.Time, o Observation) {
	published, err := json.Marshal(o.Published)
	if err == nil {
		var rest []byte
		rest, err = json.Marshal(other{o.Rua, o.Record})
		k := key{day(at), o.Published.Domain, string(published), string(rest)}
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, known := s.pending[k]; err == nil && (known || len(s.pending) < s.maxPending) {
			s.pending[k]++
			return
		}
		s.lost++
	}
}

func day(at time.Time) int64 { return at.Unix() / 86400 }

// Lost says how many observations were dropped because of a limit or an error.
func (s *Store) Lost() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

// Flush writes what was counted since the last one.
func (s *Store) Flush(ctx context.Context) error {
	s.mu.Lock()
	pending := s.pending
	s.pending = map[key]int64{}
	s.mu.Unlock()
	if len(pending) == 0 {
		return nil
	}
	var dropped int64
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		room := map[[2]string]int{}
		for k, n := range pending {
			group := [2]string{fmt.Sprint(k.day), k.domain}
			if _, ok := room[group]; !ok {
				var rows int
				if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM observed WHERE day = ? AND domain = ?", k.day, k.domain).Scan(&rows); err != nil {
					return err
				}
				room[group] = s.maxPerDay - rows
			}
			result, err := tx.ExecContext(ctx, "UPDATE observed SET count = count + ? WHERE day = ? AND domain = ? AND published = ? AND other = ?",
				n, k.day, k.domain, k.published, k.other)
			if err != nil {
				return err
			}
			if updated, err := result.RowsAffected(); err != nil || updated > 0 {
				continue
			}
			if room[group] <= 0 {
				dropped += n
				continue
			}
			room[group]--
			if _, err := tx.ExecContext(ctx, "INSERT INTO observed VALUES (?, ?, ?, ?, ?)", k.day, k.domain, k.published, k.other, n); err != nil {
				return err
			}
		}
		return nil
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost += dropped
	if err != nil {
		for k, n := range pending { // for the next time, as far as there is room
			if _, known := s.pending[k]; known || len(s.pending) < s.maxPending {
				s.pending[k] += n
			} else {
				s.lost += n
			}
		}
		return fmt.Errorf("dmarc reports: %w", err)
	}
	return nil
}

// due names the domains of the days before today for which no report was made.
func (s *Store) due(ctx context.Context, today int64) ([]dueReport, error) {
	rows, err := s.db.Read().QueryContext(ctx, `SELECT DISTINCT day, domain FROM observed o WHERE day < ? AND NOT EXISTS
		(SELECT 1 FROM reported r WHERE r.day = o.day AND r.domain = o.domain) ORDER BY day, domain`, today)
	if err != nil {
		return nil, fmt.Errorf("dmarc reports: %w", err)
	}
	defer rows.Close()
	var all []dueReport
	for rows.Next() {
		var d dueReport
		if err := rows.Scan(&d.day, &d.domain); err != nil {
			return nil, fmt.Errorf("dmarc reports: %w", err)
		}
		all = append(all, d)
	}
	return all, rows.Err()
}

type dueReport struct {
	day    int64
	domain string
}

// part is a report for one published policy, and its addresses.
type part struct {
	feedback Feedback
	rua      []string
}

// parts gives the reports for a domain and a day: one for each policy it published (RFC 9990 section 3.3).
func (s *Store) parts(ctx context.Context, d dueReport) ([]part, error) {
	rows, err := s.db.Read().QueryContext(ctx, "SELECT published, other, count FROM observed WHERE day = ? AND domain = ? ORDER BY published, other", d.day, d.domain)
	if err != nil {
		return nil, fmt.Errorf("dmarc reports: %w", err)
	}
	defer rows.Close()
	var all []part
	last := ""
	for rows.Next() {
		var published, rest string
		var o other
		var n int64
		if err := rows.Scan(&published, &rest, &n); err != nil {
			return nil, fmt.Errorf("dmarc reports: %w", err)
		}
		if err := json.Unmarshal([]byte(rest), &o); err != nil {
			return nil, fmt.Errorf("dmarc reports: %w", err)
		}
		if len(all) == 0 || published != last {
			p := part{}
			if err := json.Unmarshal([]byte(published), &p.feedback.Published); err != nil {
				return nil, fmt.Errorf("dmarc reports: %w", err)
			}
			all, last = append(all, p), published
		}
		p := &all[len(all)-1]
		p.rua = o.Rua
		o.Record.Row.Count = n
		p.feedback.Records = append(p.feedback.Records, o.Record)
	}
	return all, rows.Err()
}

// done notes that a domain's report of a day was sent, or has no destination.
func (s *Store) done(ctx context.Context, d dueReport, at time.Time) error {
	return s.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO reported VALUES (?, ?, ?)", d.day, d.domain, at.Unix())
		return err
	})
}

// Expire deletes days whose reports are finished.
func (s *Store) Expire(ctx context.Context, now time.Time) error {
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		for _, table := range []string{"observed", "reported"} {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE day < ?", day(now)-keepDays); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("dmarc reports: %w", err)
	}
	return nil
}
