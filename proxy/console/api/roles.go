package api

import (
	"slices"
	"strings"

	"postern/policy/records/ledger"
)

// Role says what a caller may do.
type Role string

// The roles. Admin may do all. DomainAdmin is limited to their domains. Helpdesk searches and releases messages.
// Auditor sees all and changes nothing. User has their own mail.
const (
	Admin       Role = "admin"
	DomainAdmin Role = "domain-admin"
	Helpdesk    Role = "helpdesk"
	Auditor     Role = "auditor"
	User        Role = "user"
)

// Roles are all of them.
func Roles() []Role { return []Role{Admin, DomainAdmin, Helpdesk, Auditor, User} }

func (r Role) in(list []Role) bool { return slices.Contains(list, r) }

// Origin is a way to the table of verbs.
type Origin string

// The origins. Link is a link in a digest: it is no way to the table, but what users do by it is in the audit log, too.
const (
	Network Origin = "api"
	CLI     Origin = "cli"
	Console Origin = "console"
	Link    Origin = "link"
)

// Caller is the author of a request.
type Caller struct {
	// Name is the token's, for the audit log.
	Name string
	Role Role
	// From is the interface used.
	From Origin
	// Domains are those of a DomainAdmin, Addresses the mailboxes of a User: their own, and those they are deputy for.
	Domains, Addresses []string
}

// all reports whether the caller sees all users' mail.
func (c Caller) all() bool { return c.Role == Admin || c.Role == Helpdesk || c.Role == Auditor }

// owns says whether an address is within what the caller may see.
func (c Caller) owns(address string) bool {
	switch c.Role {
	case Admin, Helpdesk, Auditor:
		return true
	case DomainAdmin:
		_, domain, ok := strings.Cut(address, "@")
		return ok && slices.ContainsFunc(c.Domains, func(d string) bool { return strings.EqualFold(d, domain) })
	case User:
		return slices.ContainsFunc(c.Addresses, func(a string) bool { return strings.EqualFold(a, address) })
	}
	return false
}

// ours gives the part of a record that the caller may see: not ok if none of it is the caller's. Other recipients and
// their data are left out.
func (c Caller) ours(t ledger.Transaction) (ledger.Transaction, bool) {
	if c.all() {
		return t, true
	}
	if t.Outbound && c.owns(t.From) {
		return sees(c, recordMessage, t), true
	}
	var own []ledger.Recipient
	for _, r := range t.Recipients {
		if c.owns(r.Address) {
			own = append(own, r)
		}
	}
	if len(own) == 0 && !(t.Kind == ledger.Fetch && c.owns(t.User)) {
		return t, false
	}
	t = t.For(own)
	if len(own) == 1 {
		t.Decisive, t.Reply = own[0].Decisive, own[0].Reply
	}
	return sees(c, recordMessage, t), true
}
