package ledger

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"postern/internal/sqldb"
)

// write is the one writer. After the end it writes what is left, as long as that works and does not take too long.
func (l *Ledger) write() {
	defer close(l.done)
	l.probe() // so that an outage shows before there is anything to write
	end := time.Time{}
	for {
		n, urgent, open := l.backlog.ready()
		if !open {
			if end.IsZero() {
				end = time.Now().Add(closeTimeout)
			}
			if n == 0 || time.Now().After(end) {
				return
			}
		}
		if n == 0 {
			if urgent { // records in a file that could not be read leave nothing to take
				l.lose(l.backlog.finish(0))
			}
			l.idle()
			continue
		}
		if n < fullBatch && !urgent && open && l.more() {
			continue
		}
		if !l.store() && !l.retry() {
			return
		}
	}
}

// idle waits for something to write, and meanwhile looks for a database that was away.
func (l *Ledger) idle() {
	if l.Health().Since.IsZero() {
		<-l.backlog.wake
		return
	}
	timer := time.NewTimer(retryEvery)
	defer timer.Stop()
	select {
	case <-l.backlog.wake:
	case <-timer.C:
		l.probe()
	}
}

// Ping asks the database for a sign of life. While records can't be written, that is the answer.
func (l *Ledger) Ping(ctx context.Context) error {
	if err := l.asks(ctx); err != nil {
		return err
	}
	if h := l.Health(); !h.Since.IsZero() {
		return l.away(h.Why)
	}
	return nil
}

func (l *Ledger) asks(ctx context.Context) error {
	rows, err := l.db.Query(ctx, "SELECT 1")
	if err == nil {
		err = rows.Close()
	}
	return err
}

// probe asks whether the database is there.
func (l *Ledger) probe() {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	err := l.asks(ctx)
	if sqldb.IsAway(err) {
		l.begin(err)
	} else {
		l.reached()
	}
}

// more waits a moment for a batch to fill. It says whether the batch should be looked at again.
func (l *Ledger) more() bool {
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return false
		case <-l.backlog.wake:
			if n, urgent, open := l.backlog.ready(); n >= fullBatch || urgent || !open {
				return true
			}
		}
	}
}

// retry waits before the next try. It says false if the ledger is to end: then the rest is kept.
func (l *Ledger) retry() bool {
	timer := time.NewTimer(retryEvery)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.ending:
		// what gather still holds comes first
		for _, _, open := l.backlog.ready(); open; _, _, open = l.backlog.ready() {
			<-l.backlog.wake
		}
		return false
	}
}

// store writes the next batch. It says false if the database is away; the batch then stays. If only the batch fails each
// record is tried by itself, so that one bad record does not cost the others.
func (l *Ledger) store() bool {
	batch, err := l.backlog.next(l.batch)
	if err != nil {
		l.log.Error("records that waited in a file are lost", "error", err)
	}
	if len(batch) == 0 {
		l.lose(l.backlog.finish(0))
		return true
	}
	err = l.commit(batch)
	switch {
	case err == nil:
		l.recovered()
		l.batch = min(2*l.batch, maxBatch)
	case sqldb.IsAway(err):
		l.batch = max(l.batch/4, leastBatch) // it may have been too much for the time
		l.begin(err)
		return false
	case !l.singly(batch):
		return false
	}
	l.lose(l.backlog.finish(len(batch)))
	return true
}

func (l *Ledger) lose(n int) {
	if n > 0 {
		l.dropped.Add(int64(n))
		l.log.Error("records that waited in a file are lost", "records", n)
	}
}

// singly writes records one by one and drops those that can't be written. It says false if the database goes away
// meanwhile; those that were written are then written once more, which changes nothing.
func (l *Ledger) singly(batch []entry) bool {
	dropped, why := 0, error(nil)
	for i := range batch {
		err := l.commit(batch[i : i+1])
		if sqldb.IsAway(err) {
			l.begin(err)
			return false
		}
		if err != nil {
			dropped, why = dropped+1, err
		}
	}
	if dropped == 0 {
		l.recovered()
	} else {
		l.drop(dropped, why)
		l.reached()
	}
	return true
}

// begin notes that the database is down, and wakes the waiters with that error.
func (l *Ledger) begin(err error) {
	l.outage.mu.Lock()
	first := l.outage.since.IsZero()
	if l.outage.why = reason(err); first {
		l.outage.since = l.now()
	}
	why := l.outage.why
	l.outage.mu.Unlock()
	if first {
		l.log.Error("the ledger's database is away, records wait and mail goes on", "error", why)
	}
	l.backlog.giveUp(l.away(why))
}

// reached notes that the database is there.
func (l *Ledger) reached() {
	l.outage.mu.Lock()
	since := l.outage.since
	l.outage.since, l.outage.why = time.Time{}, ""
	l.outage.mu.Unlock()
	if !since.IsZero() {
		l.backlog.goOn()
		l.log.Info("the ledger's database is back", "away_since", since, "waiting", l.backlog.waiting())
	}
}

func (l *Ledger) recovered() {
	l.reached()
	if l.failing.Swap(false) {
		l.log.Info("the ledger writes again", "dropped", l.Dropped())
	}
}

// commit writes a batch in one transaction.
func (l *Ledger) commit(batch []entry) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	return l.db.Write(ctx, func(tx *sql.Tx) error {
		for _, t := range tables() {
			some := latest(batch, t)
			if len(some) == 0 {
				continue
			}
			put := putSQLite
			if l.db.Postgres() {
				put = putPostgres
			}
			if err := put(ctx, tx, t, some); err != nil {
				return err
			}
		}
		return l.tell(ctx, tx, batch)
	})
}

// latest gives the entries of one table, of each id the last.
func latest(batch []entry, t table) []entry {
	var some []entry
	at := map[string]int{}
	for _, e := range batch {
		if e.table != t {
			continue
		}
		if i, ok := at[e.id]; ok {
			some[i] = e
			continue
		}
		at[e.id] = len(some)
		some = append(some, e)
	}
	return some
}

// maxTries bounds the search for a free place: there is none where something else forbids the record.
const maxTries = 1000

var errNoPlace = errors.New("the database has no place for the record")

func putSQLite(ctx context.Context, tx *sql.Tx, t table, batch []entry) error {
	insert, err := tx.PrepareContext(ctx, "INSERT OR IGNORE INTO "+string(t)+" (n, id, conn, record) VALUES (?,?,?,?)")
	if err != nil {
		return err
	}
	index, err := tx.PrepareContext(ctx, "INSERT INTO "+string(t)+"_terms (rowid, terms) VALUES (?,?)")
	if err != nil {
		return err
	}
	for _, e := range batch {
		for try := 0; ; try++ {
			result, err := insert.ExecContext(ctx, e.n, e.id, e.conn, e.record)
			if err != nil {
				return err
			}
			if n, err := result.RowsAffected(); err != nil {
				return err
			} else if n == 1 {
				break
			}
			if try == 0 { // a newer record of the same id; else another record stands there
				if err := removeSQLite(ctx, tx, t, e.id); err != nil {
					return err
				}
				continue
			}
			if e.n++; try > maxTries {
				return errNoPlace
			}
		}
		if _, err := index.ExecContext(ctx, e.n, e.terms); err != nil {
			return err
		}
	}
	return nil
}

func removeSQLite(ctx context.Context, tx *sql.Tx, t table, id string) error {
	for _, text := range []string{
		"DELETE FROM " + string(t) + "_terms WHERE rowid = (SELECT n FROM " + string(t) + " WHERE id = ?)",
		"DELETE FROM " + string(t) + " WHERE id = ?",
	} {
		if _, err := tx.ExecContext(ctx, text, id); err != nil {
			return err
		}
	}
	return nil
}

// putPostgres writes all in one statement, as each costs a way to the server and back.
func putPostgres(ctx context.Context, tx *sql.Tx, t table, batch []entry) error {
	if err := place(ctx, tx, t, batch); err != nil {
		return err
	}
	numbers, ids, conns := make([]int64, len(batch)), make([]string, len(batch)), make([]string, len(batch))
	list, records := make([]string, len(batch)), make([][]byte, len(batch))
	for i, e := range batch {
		numbers[i], ids[i], conns[i], list[i], records[i] = e.n, e.id, e.conn, e.terms, e.record
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO "+string(t)+` (n, id, conn, record, terms)
		SELECT n, id, conn, record, array_to_tsvector(string_to_array(terms, ' '))
		FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::text[]) AS e (n, id, conn, record, terms)
		ON CONFLICT (id) DO UPDATE SET n = excluded.n, conn = excluded.conn, record = excluded.record, terms = excluded.terms`,
		numbers, ids, conns, records, list)
	return err
}

// place moves entries whose place is taken. Should another gateway take one meanwhile, the batch fails and is tried again.
func place(ctx context.Context, tx *sql.Tx, t table, batch []entry) error {
	at := make(map[int64]string, len(batch))
	for i := range batch {
		for at[batch[i].n] != "" {
			batch[i].n++
		}
		at[batch[i].n] = batch[i].id
	}
	for {
		numbers := make([]int64, len(batch))
		for i, e := range batch {
			numbers[i] = e.n
		}
		taken, err := others(ctx, tx, t, numbers, at)
		if err != nil || len(taken) == 0 {
			return err
		}
		for i := range batch {
			if slices.Contains(taken, batch[i].n) {
				delete(at, batch[i].n)
				for batch[i].n++; at[batch[i].n] != ""; batch[i].n++ {
				}
				at[batch[i].n] = batch[i].id
			}
		}
	}
}

// others gives the places at which records of other ids stand.
func others(ctx context.Context, tx *sql.Tx, t table, numbers []int64, ours map[int64]string) ([]int64, error) {
	rows, err := tx.QueryContext(ctx, "SELECT n, id FROM "+string(t)+" WHERE n = ANY($1)", numbers)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // reading only; Err tells what matters
	var taken []int64
	for rows.Next() {
		var n int64
		var id string
		if err := rows.Scan(&n, &id); err != nil {
			return nil, err
		}
		if id != ours[n] {
			taken = append(taken, n)
		}
	}
	return taken, rows.Err()
}
