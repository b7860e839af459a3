package house

import (
	"errors"
	"path/filepath"

	"postern/internal/admin/api"
	"postern/internal/config"
	"postern/proxy/queue"
)

// AdminStore is where tokens and the log of acts are: a file in data_dir, or the server that several gateways share.
func AdminStore(cfg *config.Config) string {
	if cfg.SharedDatabase() {
		return cfg.Database.URL
	}
	return filepath.Join(cfg.DataDir, "admin.db")
}

// newAPI makes the JSON interface.
func (h *House) newAPI() *api.API {
	return api.New(api.Options{Store: h.acts, Ledger: h.Ledger, Recalls: h.Recalls, Shelves: h.shelves, Troubles: func() any {
		if t := h.Troubles(); t != nil {
			return t
		}
		return []Trouble{}
	}, Queue: apiQueue{h.Queue}, Guard: h.bans, Now: h.out.Now, Log: h.out.Log})
}

// apiQueue shows the queue to the JSON interface.
type apiQueue struct{ queue *queue.Queue }

// All implements api.Queue.
func (q apiQueue) All() (any, error) {
	list, err := q.queue.List()
	if list == nil {
		list = []queue.Status{}
	}
	return list, err
}

// Retry implements api.Queue.
func (q apiQueue) Retry(id string) error { return known(q.queue.Retry(id)) }

// Delete implements api.Queue.
func (q apiQueue) Delete(id string) error { return known(q.queue.Delete(id)) }

// known says of what isn't there that it isn't.
func known(err error) error {
	if errors.Is(err, queue.ErrNotFound) {
		return api.ErrNotFound
	}
	return err
}
