package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"postern/filters"
	"postern/proxy/health"
)

const (
	// freezer is the filter that stops users who suddenly write to many strangers.
	freezer = "correspondents"
	// frozenCheck is how often known frozen users are checked: another gateway may have thawed them. frozenLook is how
	// often all are listed, to find users that another gateway froze; that gateway alerts its admin itself.
	frozenCheck = 5 * time.Second
	frozenLook  = 5 * time.Minute
	// frozenTold is how many users are reported one by one.
	frozenTold = 20
	frozenMost = 1000
)

// frozenUsers are those who may not send now, as far as is known.
type frozenUsers struct {
	mu              sync.Mutex
	rows            []filters.Row
	stale           bool
	listed, checked time.Time
}

// changed notes that a user was frozen or thawed.
func (f *frozenUsers) changed(filter string) {
	if filter != freezer {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stale = true
}

// due gives which users to check now: all, or the known ones.
func (f *frozenUsers) due(now time.Time) (list bool, check []filters.Row) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stale || now.Sub(f.listed) >= frozenLook {
		f.stale, f.listed, f.checked = false, now, now
		return true, nil
	}
	if now.Sub(f.checked) >= frozenCheck {
		f.checked = now
		return false, f.rows
	}
	return false, nil
}

func (f *frozenUsers) set(rows []filters.Row) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows = rows
}

// lookAtFrozen updates the set of frozen users.
func (a *App) lookAtFrozen(ctx context.Context) {
	list, check := a.frozen.due(a.out.Now())
	switch {
	case list:
		s := a.pipeline.Load().Chain.AdminTables()[freezer]
		if s == nil { // freezing is off
			a.frozen.set(nil)
			return
		}
		rows, err := s.Rows(ctx, frozenMost)
		if err != nil {
			a.out.Log.Error("frozen users", "error", err)
			return
		}
		a.frozen.set(rows)
	case len(check) > 0:
		var still []filters.Row
		for _, row := range check {
			if _, ok := a.out.State.Get(ctx, row.Key); ok {
				still = append(still, row)
			}
		}
		a.frozen.set(still)
	}
}

// troubles are one for each frozen user, and one for those beyond that.
func (f *frozenUsers) troubles(now time.Time) []health.Trouble {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []health.Trouble
	more := 0
	for _, row := range f.rows {
		switch {
		case !now.Before(row.Until):
		case len(all) >= frozenTold:
			more++
		default:
			all = append(all, health.Trouble{Kind: "frozen", Subject: row.Key, Since: row.Since,
				Text: fmt.Sprintf("a user may not send until %s, his password may be stolen: %s; postern frozen thaw %s lets him",
					row.Until.Local().Format("2006-01-02 15:04"), row.Text, row.Key)})
		}
	}
	if more > 0 {
		all = append(all, health.Trouble{Kind: "frozen", Subject: "more", Text: fmt.Sprintf("%d more users may not send now, see postern frozen", more)})
	}
	return all
}

// thawing is the table of frozen users; a thawed user is no trouble from then on.
type thawing struct {
	filters.AdminTable
	frozen *frozenUsers
}

// Apply implements filters.AdminTable.
func (t thawing) Apply(ctx context.Context, verb, key string) error {
	defer t.frozen.changed(freezer)
	return t.AdminTable.Apply(ctx, verb, key)
}
