package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// walkPage is how many records are in memory at a time, in each of two pages.
const walkPage = 1000

// Walk gives f all transactions of a time, the oldest first, with their facts; the zero time is no bound. What was put
// before is there. An error of f ends it and is returned. Writers are not held up, however long f takes.
func (l *Ledger) Walk(ctx context.Context, since, until time.Time, f func(*Transaction) error) error {
	s, err := l.plan(Query{Since: since, Until: until})
	if err != nil {
		return err
	}
	l.settle(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pages := make(chan walked) // while one is worked on, the next is read
	go func() {
		defer close(pages)
		for from := s.from; ; {
			page := l.walkPage(ctx, from, s.below)
			select {
			case pages <- page:
			case <-ctx.Done():
				return
			}
			if page.err != nil || page.last < 0 {
				return
			}
			from = page.last + 1
		}
	}()
	for page := range pages {
		if page.err != nil {
			return page.err
		}
		for i := range page.found {
			if err := f(&page.found[i]); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

type walked struct {
	found []Transaction
	last  int64 // -1 behind the last page
	err   error
}

func (l *Ledger) walkPage(ctx context.Context, from, below int64) walked {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	some, err := rows(ctx, l, "SELECT n, id, record FROM message WHERE n >= ? AND n < ? ORDER BY n LIMIT ?", from, below, walkPage)
	if err != nil {
		return walked{err: err}
	}
	w := walked{found: make([]Transaction, len(some)), last: -1}
	if len(some) == walkPage {
		w.last = some[len(some)-1].n
	}
	var all sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0))
	for first := range errs { // reading JSON is what takes the time
		all.Go(func() {
			for i := first; i < len(some) && errs[first] == nil; i += len(errs) {
				if w.found[i], errs[first] = decode[Transaction](some[i].record); errs[first] != nil {
					errs[first] = fmt.Errorf("ledger: %s: %w", some[i].id, errs[first])
				}
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return walked{err: err}
		}
	}
	return w
}

// Batches of Expire: small, so that the writer never waits long.
const (
	expireBatch = 500
	maskBatch   = 200
)

// Expire forgets what is older, and masks what is due, a few records at a time. It gives how many were forgotten.
func (l *Ledger) Expire(ctx context.Context, before time.Time) (int64, error) {
	var total int64
	for _, t := range tables() {
		for {
			n, err := l.forget(ctx, t, stamp(before))
			if total += n; err != nil {
				return total, fmt.Errorf("ledger: expire: %w", err)
			}
			if n == 0 {
				break
			}
		}
	}
	if err := l.tellOld(ctx); err != nil {
		return total, fmt.Errorf("ledger: index what became of messages: %w", err)
	}
	if err := l.maskDue(ctx); err != nil {
		return total, fmt.Errorf("ledger: mask addresses: %w", err)
	}
	return total, nil
}

func (l *Ledger) forget(ctx context.Context, t table, below int64) (n int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	oldest := "IN (SELECT n FROM " + string(t) + " WHERE n < ? ORDER BY n LIMIT ?)"
	err = l.db.Write(ctx, func(tx *sql.Tx) error {
		if !l.db.Postgres() {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+string(t)+"_terms WHERE rowid "+oldest, below, expireBatch); err != nil {
				return err
			}
		}
		result, err := tx.ExecContext(ctx, l.db.Bind("DELETE FROM "+string(t)+" WHERE n "+oldest), below, expireBatch)
		if err != nil {
			return err
		}
		n, err = result.RowsAffected()
		return err
	})
	return n, err
}

// maskDue masks the records that have come of age since it last did. Those that come later than that are masked when they
// are written.
func (l *Ledger) maskDue(ctx context.Context) error {
	if l.privacy.MaskAfter <= 0 {
		return nil
	}
	below := stamp(l.now().Add(-l.privacy.MaskAfter))
	for _, t := range tables() {
		for {
			n, err := l.maskSome(ctx, t, below)
			if err != nil {
				return err
			}
			if n < maskBatch {
				break
			}
		}
	}
	return nil
}

// maskSome masks the next few behind the mark, and moves the mark.
func (l *Ledger) maskSome(ctx context.Context, t table, below int64) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	n := 0
	err := l.db.Write(ctx, func(tx *sql.Tx) error {
		name, mark := "masked "+string(t), int64(0)
		if err := tx.QueryRowContext(ctx, l.db.Bind("SELECT coalesce(max(n), 0) FROM mark WHERE name = ?"), name).Scan(&mark); err != nil {
			return err
		}
		found, err := tx.QueryContext(ctx, l.db.Bind("SELECT n, id, record FROM "+string(t)+" WHERE n >= ? AND n < ? ORDER BY n LIMIT ?"), mark, below, maskBatch)
		if err != nil {
			return err
		}
		some, err := l.collect(found)
		if err != nil {
			return err
		}
		for _, r := range some {
			if err := l.maskOne(ctx, tx, t, r); err != nil {
				return err
			}
		}
		next := below
		if n = len(some); n == maskBatch {
			next = some[n-1].n + 1
		}
		_, err = tx.ExecContext(ctx, l.db.Bind("INSERT INTO mark (name, n) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET n = excluded.n"), name, next)
		return err
	})
	return n, err
}

func (l *Ledger) maskOne(ctx context.Context, tx *sql.Tx, t table, r row) error {
	e, err := maskedEntry(t, r.record)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, l.db.Bind("UPDATE "+string(t)+" SET record = ? WHERE n = ?"), e.record, r.n); err != nil {
		return err
	}
	if err := l.index(ctx, tx, t, r.n, e.terms); err != nil {
		return err
	}
	return l.tell(ctx, tx, []entry{e})
}

// maskedEntry makes an entry of a record without full addresses.
func maskedEntry(t table, record []byte) (entry, error) {
	switch t {
	case messages:
		one, err := decode[Transaction](record)
		if err != nil {
			return entry{}, err
		}
		return one.masked().entry()
	case fates:
		one, err := decode[Fate](record)
		if err != nil {
			return entry{}, err
		}
		return one.masked().entry()
	}
	one, err := decode[Connection](record)
	if err != nil {
		return entry{}, err
	}
	return one.masked().entry()
}
