package app

import (
	"context"
	"encoding/json"
	"time"

	"postern/internal/mail"
	"postern/internal/state"
	"postern/policy"
	"postern/proxy/relay/recipients"
)

// told looks up an attribute of addresses in the directory, and caches it.
type told struct {
	directory *recipients.LDAP
	attribute string
	kind      string              // what the values are, for keys of the state and the log
	name      func(string) string // of a value
	app       *App
}

// How long values are remembered, and how many and how long they may be.
const (
	toldHold   = 10 * time.Minute
	maxValues  = 200
	maxPerName = 200
)

// of gives the values of an address, none if the directory does not know it; not ok if it can't be asked.
func (g *told) of(ctx context.Context, a mail.Address) (names []string, ok bool) {
	key := state.Key(g.kind, a.Key())
	names = []string{}
	if kept, ok := g.app.out.State.Get(ctx, key); ok && json.Unmarshal(kept, &names) == nil {
		return names, true
	}
	values, err := g.directory.Attribute(ctx, a, g.attribute)
	if err != nil {
		g.app.out.Log.Warn("the directory can't be asked", "for", g.kind, "error", err)
		return nil, false
	}
	for _, v := range values[:min(len(values), maxValues)] {
		names = append(names, g.name(v))
	}
	if text, err := json.Marshal(names); err == nil {
		g.app.out.State.Put(ctx, key, text, toldHold)
	}
	return names, true
}

// openDirectory opens the directory for the attributes of addresses: groups and logins.
func (a *App) openDirectory() (err error) {
	l := a.cfg.Recipients.LDAP
	if a.groups, err = a.openTold("groups", l.GroupAttribute, groupName); err != nil {
		return err
	}

	a.logins, err = a.openTold("logins", l.LoginAttribute, func(v string) string { return v[:min(len(v), maxPerName)] })
	if a.logins != nil {
		a.out.Logins = a.logins.of
	}

	return err
}

func (a *App) openTold(kind, attribute string, name func(string) string) (*told, error) {
	if a.cfg.Recipients.LDAP.URL == "" || attribute == "" {
		return nil, nil
	}

	directory, err := openLDAP(a.cfg)
	if err != nil {
		return nil, err
	}
	a.laterPlain(directory.Close)

	return &told{directory, attribute, kind, name, a}, nil
}

// groupName is the name of a group that is given by its DN, else what is given.
func groupName(value string) string {
	name, _ := policy.GroupName(value)
	return name[:min(len(name), maxPerName)]
}
