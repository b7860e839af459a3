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
func (h *App) openLists() (err error) {
	if h.Lists, err = lists.Open(ListsStore(h.cfg), lists.Options{Now: h.out.Now}); err != nil {
		return err
	}
	h.later(h.Lists.Close)
	ctx, cancel := context.WithTimeout(context.Background(), listsLook)
	defer cancel()
	version, entries, err := h.listEntries(ctx)
	if err != nil { // mail flows without them, and opening is tried again
		h.out.Log.Error("lists", "error", err)
		return nil
	}
	h.out.Entries, h.listsVersion = entries, version
	return nil
}

// listEntries gives the entries that decide, and a version that is not newer than they are.
func (h *App) listEntries(ctx context.Context) (int64, []policy.ListEntry, error) {
	version, err := h.Lists.Version(ctx)
	if err != nil {
		return 0, nil, err
	}
	all, err := h.Lists.All(ctx)
	return version, lists.Deciding(all), err
}

// watchLists reloads the policy when a list was changed, at whichever gateway.
func (h *App) watchLists(ctx context.Context) {
	if err := h.Lists.Flush(ctx); err != nil {
		h.out.Log.Error("hits of lists", "error", err)
	}
	version, err := h.Lists.Version(ctx)
	if err != nil {
		h.out.Log.Error("lists", "error", err)
		return
	}
	if version == h.listsVersion {
		return
	}
	version, entries, err := h.listEntries(ctx)
	if err == nil {
		h.changing.Lock()
		h.out.Entries = entries
		h.changing.Unlock()
		err = h.rejudge()
	}
	if err != nil {
		h.out.Log.Error("lists: what was in force stays", "error", err)
		return
	}
	h.listsVersion = version
	h.out.Log.Info("lists in force", "entries", len(entries))
}

func (h *App) expireLists(ctx context.Context) {
	if _, err := h.Lists.Expire(ctx); err != nil {
		h.out.Log.Error("lists expiry", "error", err)
	}
}

// hearVerdicts reports verdicts to the lists and the breaker, and known good clients to the gateway.
func (h *App) hearVerdicts() {
	h.Gateway.Known = h.known
	h.Gateway.OnListHit = h.onListHit
	if h.cfg.PolicyBreaker.Enabled.On() {
		h.Gateway.OnVerdict = h.onVerdict
	}
}

// listed counts a hit of an entry in memory; it is written later.
func (h *App) onListHit(entry string) { h.Lists.Hit(entry, h.out.Now()) }
