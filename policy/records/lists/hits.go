package lists

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"
)

type hit struct {
	count int64
	last  time.Time
}

// maxPending is how many entries may have hits that are not written yet.
const maxPending = 50_000

// Hit counts that an entry decided, in memory; Flush writes it. It never waits for the database.
func (s *Store) Hit(id string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, known := s.hits[id]
	if !known && len(s.hits) >= maxPending {
		s.lost++
		return
	}
	h.count++
	if at.After(h.last) {
		h.last = at
	}
	s.hits[id] = h
}

// Lost is how many hits were not counted since the database did not take what waited.
func (s *Store) Lost() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

// Flush writes the hits that wait. If it fails they wait on.
func (s *Store) Flush(ctx context.Context) error {
	s.mu.Lock()
	pending := s.hits
	s.hits = map[string]hit{}
	s.mu.Unlock()
	if len(pending) == 0 {
		return nil
	}
	err := s.db.Write(ctx, func(tx *sql.Tx) error { return s.writeHits(ctx, tx, pending) })
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, h := range pending {
		now, known := s.hits[id]
		if !known && len(s.hits) >= maxPending {
			s.lost += h.count
			continue
		}
		now.count += h.count
		if h.last.After(now.last) {
			now.last = h.last
		}
		s.hits[id] = now
	}
	return fmt.Errorf("lists: %w", err)
}

// writeHits goes through the entries in order, so that two gateways don't wait for each other in a circle.
func (s *Store) writeHits(ctx context.Context, tx *sql.Tx, pending map[string]hit) error {
	update, err := tx.PrepareContext(ctx, s.db.Bind(`UPDATE list_entry SET hits = hits + ?, last_hit = CASE WHEN last_hit > ? THEN last_hit ELSE ? END WHERE id = ?`))
	if err != nil {
		return err
	}
	defer func() { _ = update.Close() }() // ends with its transaction
	for _, id := range slices.Sorted(maps.Keys(pending)) {
		h := pending[id]
		if _, err := update.ExecContext(ctx, h.count, millis(h.last), millis(h.last), id); err != nil {
			return err
		}
	}
	return nil
}
