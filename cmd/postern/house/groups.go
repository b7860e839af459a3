package house

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/internal/state"
	"postern/proxy/relay/recipients"
)

// groups looks up the directory's groups of addresses, and remembers them for a while.
type groups struct {
	directory *recipients.LDAP
	attribute string
	house     *House
}

// How long groups are remembered, and how many and how long names there may be.
const (
	groupsHold = 10 * time.Minute
	maxGroups  = 200
	maxGroup   = 200
)

// of gives the groups of an address, none if the directory does not know it; not ok if it can't be asked.
func (g *groups) of(ctx context.Context, a mail.Address) (names []string, ok bool) {
	key := state.Key("groups", a.Key())
	names = []string{}
	if kept, ok := g.house.out.State.Get(ctx, key); ok && json.Unmarshal(kept, &names) == nil {
		return names, true
	}
	values, err := g.directory.Attribute(ctx, a, g.attribute)
	if err != nil {
		g.house.out.Log.Warn("groups of a recipient", "error", err)
		return nil, false
	}
	for _, v := range values[:min(len(values), maxGroups)] {
		names = append(names, groupName(v))
	}
	if text, err := json.Marshal(names); err == nil {
		g.house.out.State.Put(ctx, key, text, groupsHold)
	}
	return names, true
}

// openGroups opens the directory for groups, if it is to tell them.
func (h *House) openGroups() error {
	l := h.cfg.Recipients.LDAP
	if l.URL == "" || l.GroupAttribute == "" {
		return nil
	}
	directory, err := openLDAP(h.cfg)
	if err != nil {
		return err
	}
	h.groups = &groups{directory, l.GroupAttribute, h}
	return nil
}

// groupName is the common name of a group that is given by its DN (RFC 4514), else what is given.
func groupName(value string) string {
	first, rest, isDN := strings.Cut(value, ",")
	kind, name, named := strings.Cut(first, "=")
	if isDN && rest != "" && named && strings.EqualFold(strings.TrimSpace(kind), "cn") {
		value = strings.ReplaceAll(name, `\`, "")
	}
	return value[:min(len(value), maxGroup)]
}
