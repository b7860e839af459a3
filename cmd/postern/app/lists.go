package app

import (
	"context"
	"time"

	"postern/internal/config"
	"postern/policy"
	"postern/policy/records/lists"
)

// ListsStore is where the lists are.
func ListsStore(cfg *config.Config) string { return cfg.Store("lists.db") }

// listsLook is how often the lists are checked for changes and their hits are written.
const listsLook = 3 * time.Second

// openLists opens the lists and takes their entries into the policy that is made next.
func (a *App) openLists() (err error) {
	if a.Lists, err = lists.Open(ListsStore(a.cfg), lists.Options{Now: a.out.Now}); err != nil {
		return err
	}
	a.later(a.Lists.Close)
	ctx, cancel := context.WithTimeout(context.Background(), listsLook)
	defer cancel()
	version, entries, err := a.listEntries(ctx)
	if err != nil { // mail flows without them, and opening is tried again
		a.out.Log.Error("lists", "error", err)
		return nil
	}
	a.out.Entries, a.listsVersion = entries, version
	return nil
}

// listEntries gives the entries that decide, and a version that is not newer than they are.
func (a *App) listEntries(ctx context.Context) (int64, []policy.ListEntry, error) {
	version, err := a.Lists.Version(ctx)
	if err != nil {
		return 0, nil, err
	}
	all, err := a.Lists.All(ctx)
	return version, lists.Deciding(all), err
}

// watchLists reloads the policy when a list was changed, at whichever gateway.
func (a *App) watchLists(ctx context.Context) {
	if err := a.Lists.Flush(ctx); err != nil {
		a.out.Log.Error("hits of lists", "error", err)
	}
	version, err := a.Lists.Version(ctx)
	if err != nil {
		a.out.Log.Error("lists", "error", err)
		return
	}
	if version == a.listsVersion {
		return
	}
	version, entries, err := a.listEntries(ctx)
	if err == nil {
		a.changing.Lock()
		a.out.Entries = entries
		a.changing.Unlock()
		err = a.rejudge()
	}
	if err != nil {
		a.out.Log.Error("lists: what was in force stays", "error", err)
		return
	}
	a.listsVersion = version
	a.out.Log.Info("lists in force", "entries", len(entries))
}

func (a *App) expireLists(ctx context.Context) {
	if _, err := a.Lists.Expire(ctx); err != nil {
		a.out.Log.Error("lists expiry", "error", err)
	}
}

// hearVerdicts reports verdicts to the lists and the breaker, and known good clients to the gateway.
func (a *App) hearVerdicts() {
	a.Gateway.Known = a.known
	a.Gateway.OnListHit = a.onListHit
	if a.cfg.PolicyBreaker.Enabled.On() {
		a.Gateway.OnVerdict = a.onVerdict
	}
}

// listed counts a hit of an entry in memory; it is written later.
func (a *App) onListHit(entry string) { a.Lists.Hit(entry, a.out.Now()) }
