package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A message is found by its later fates: its terms hold the words of its fates, and each word together with the copy's
// recipient. So a search for them costs what any other search costs.

// Words are all that a message can be searched by, in the order of a message's life.
func Words() []Word {
	return []Word{Deferred, Delivered, Refused, Expired, Bounced, Released, Requeued, Redirected, Deleted, Masked, Recalled, Restored}
}

// ParseWord reads one of them.
func ParseWord(text string) (Word, error) {
	w := Word(strings.ToLower(strings.TrimSpace(text)))
	if slices.Contains(Words(), w) {
		return w, nil
	}
	var all []string
	for _, one := range Words() {
		all = append(all, string(one))
	}
	return "", bad("%q must be one of %s", cut(text, 100), strings.Join(all, ", "))
}

// of is a word together with the copy's recipient: an address, or "@" and a domain.
func (w Word) of(whose string) string { return string(w) + " " + whose }

// told gives the terms of a message together with those of its fates.
func (t *Transaction) told(list []Fate) string {
	all := newTerms()
	for _, one := range strings.Fields(t.terms()) {
		all.add(one)
	}
	copyOf := func(w Word, recipient string) {
		address, domain := fold(recipient)
		all.exact(fieldFate, w.of(address))
		all.exact(fieldFate, w.of("@"+domain))
	}
	for _, f := range list {
		all.exact(fieldFate, string(f.Word))
		if f.Recipient != "" {
			copyOf(f.Word, f.Recipient)
			continue
		}
		for _, r := range t.Recipients {
			copyOf(f.Word, r.Address)
		}
	}
	return all.String()
}

// became reads the terms of a search for later fates.
func (s *search) became() error {
	if s.query.Fate == "" {
		return nil
	}
	word, err := ParseWord(string(s.query.Fate))
	if err != nil {
		return err
	}
	address, domain, whole := addressOrDomain(s.query.Recipient)
	switch {
	case s.query.Recipient == "":
		s.exact(fieldFate, string(word))
	case whole:
		s.exact(fieldFate, word.of(address))
	default:
		s.exact(fieldFate, word.of("@"+domain))
	}
	return nil
}

// tell updates the index of the messages whose fates are in a batch.
func (l *Ledger) tell(ctx context.Context, tx *sql.Tx, batch []entry) error {
	seen := map[string]bool{}
	var ids []any
	for _, e := range batch {
		id := e.id
		switch e.table {
		case fates:
			id = e.conn
		case connections:
			continue
		}
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	for some := range slices.Chunk(ids, fatesAtOnce) {
		if err := l.tellSome(ctx, tx, some); err != nil {
			return err
		}
	}
	return nil
}

func (l *Ledger) tellSome(ctx context.Context, tx *sql.Tx, ids []any) error {
	places := "(?" + strings.Repeat(",?", len(ids)-1) + ")"
	known, err := l.within(ctx, tx, "SELECT n, conn, record FROM fate WHERE conn IN "+places+" ORDER BY n", ids...)
	if err != nil || len(known) == 0 {
		return err
	}
	of := map[string][]Fate{}
	var told []any
	for _, r := range known {
		f, err := decode[Fate](r.record)
		if err != nil {
			return fmt.Errorf("ledger: %s: %w", r.id, err)
		}
		if of[r.id] == nil {
			told = append(told, r.id)
		}
		if len(of[r.id]) < maxFates {
			of[r.id] = append(of[r.id], f)
		}
	}
	found, err := l.within(ctx, tx, "SELECT n, id, record FROM message WHERE id IN (?"+strings.Repeat(",?", len(told)-1)+")", told...)
	if err != nil {
		return err
	}
	for _, r := range found {
		t, err := decode[Transaction](r.record)
		if err != nil {
			return fmt.Errorf("ledger: %s: %w", r.id, err)
		}
		if err := l.index(ctx, tx, messages, r.n, t.told(of[r.id])); err != nil {
			return err
		}
	}
	return nil
}

// within reads rows inside a transaction.
func (l *Ledger) within(ctx context.Context, tx *sql.Tx, text string, args ...any) ([]row, error) {
	found, err := tx.QueryContext(ctx, l.db.Bind(text), args...)
	if err != nil {
		return nil, err
	}
	return l.collect(found)
}

// index sets the terms of a record.
func (l *Ledger) index(ctx context.Context, tx *sql.Tx, t table, n int64, terms string) error {
	text := "INSERT OR REPLACE INTO " + string(t) + "_terms (terms, rowid) VALUES (?, ?)"
	if l.db.Postgres() {
		text = "UPDATE " + string(t) + " SET terms = array_to_tsvector(string_to_array($1::text, ' ')) WHERE n = $2"
	}
	_, err := tx.ExecContext(ctx, text, terms, n)
	return err
}

// tellOld indexes the fates that were written before messages were found by them: once, a few at a time.
func (l *Ledger) tellOld(ctx context.Context) error {
	const name, all = "told", 1<<63 - 1
	for done := false; !done; {
		err := l.db.Write(ctx, func(tx *sql.Tx) error {
			var mark int64
			if err := tx.QueryRowContext(ctx, l.db.Bind("SELECT coalesce(max(n), -1) FROM mark WHERE name = ?"), name).Scan(&mark); err != nil {
				return err
			}
			some, err := l.within(ctx, tx, "SELECT n, conn, record FROM fate WHERE n > ? ORDER BY n LIMIT ?", mark, fatesAtOnce)
			if err != nil {
				return err
			}
			var batch []entry
			for _, r := range some {
				batch = append(batch, entry{table: fates, conn: r.id})
			}
			next := int64(all)
			if done = len(some) < fatesAtOnce; !done {
				next = some[len(some)-1].n
			}
			_, err = tx.ExecContext(ctx, l.db.Bind("INSERT INTO mark (name, n) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET n = excluded.n"), name, next)
			return errors.Join(err, l.tell(ctx, tx, batch))
		})
		if err != nil {
			return err
		}
	}
	return nil
}
