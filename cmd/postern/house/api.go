package house

import (
	"errors"
	"path/filepath"

	"postern/internal/admin/api"
	"postern/internal/config"
	"postern/proxy/access"
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
	p := &Policies{Config: h.cfg, Versions: h.Versions, Ledger: h.Ledger, Quarantine: h.Quarantine, Now: h.out.Now, Reload: h.reloadPolicy, Lists: h.Lists}
	return api.New(api.Options{Store: h.acts, Ledger: h.Ledger, Recalls: h.Recalls, Shelves: h.shelves, Troubles: func() any {
		if t := h.Troubles(); t != nil {
			return t
		}
		return []Trouble{}
	}, Queue: apiQueue{h.Queue}, Guard: h.bans, Now: h.out.Now, Log: h.out.Log,
		Quarantine: h.Quarantine, Release: h.Releaser().Release, Lists: h.Lists,
		Policies: p.verbs(), Lessons: h.Lessons, AppPasswords: apiAppPasswords{access.OpenAppPasswords(AppPasswordsFile(h.cfg), false), h}, Reload: h.reloadAgain})
}

// reloadPolicy puts a changed policy in force: by a reload where there is a configuration to read again.
func (h *House) reloadPolicy() error {
	if h.reread == nil {
		return h.rejudge()
	}
	return h.reloadAgain()
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
func (q apiQueue) Retry(id, by string) error { return known(q.queue.Retry(id, by)) }

// Delete implements api.Queue.
func (q apiQueue) Delete(id, by string) error { return known(q.queue.Delete(id, by)) }

// known says of what isn't there that it isn't.
func known(err error) error {
	if errors.Is(err, queue.ErrNotFound) || errors.Is(err, access.ErrNoAppPassword) {
		return api.ErrNotFound
	}
	return err
}

// apiAppPasswords shows the app passwords to the JSON interface.
type apiAppPasswords struct {
	store *access.AppPasswords
	house *House
}

// List implements api.AppPasswords.
func (p apiAppPasswords) List(user string) ([]api.AppPassword, error) {
	all, err := p.store.List(user)
	var told []api.AppPassword
	for _, one := range all {
		told = append(told, api.AppPassword{User: one.User, Name: one.Name, Protocols: one.Protocols, Created: one.Created})
	}
	return told, err
}

// Add implements api.AppPasswords.
func (p apiAppPasswords) Add(user, name, real string, protocols []string) (string, error) {
	return p.store.Add(user, name, real, protocols, p.house.out.Now())
}

// Remove implements api.AppPasswords.
func (p apiAppPasswords) Remove(user, name string) error { return known(p.store.Remove(user, name)) }
