// Package lists keeps allow and block entries that are changed while the gateway runs: by the admin, by domain admins,
// by users for their own mail. Each entry has an owner, a reason, an end, and the hits it had, so that a list can be
// cleaned up. The entries of the policy file come before them.
package lists

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/policy"
)

// Scope is the set of recipients that an entry applies to.
type Scope string

// The scopes: all mail, one domain's, one recipient's.
const (
	Admin  Scope = "admin"
	Domain Scope = "domain"
	User   Scope = "user"
)

// Entry says of a sender or a network that its mail is wanted or not.
type Entry struct {
	// ID is derived from the entry's content, so that adding it twice gives one entry. Verdicts name it.
	ID   string          `json:"id"`
	List policy.ListName `json:"list"`
	// Scope is the level of its owner; ScopeOf is the domain or the user's address, "" for Admin.
	Scope   Scope  `json:"scope"`
	ScopeOf string `json:"scope_of,omitempty"`
	// Sender is an address, a domain, ".domain" for those below it, or "<>". It is looked for in the envelope and in the
	// From field.
	Sender string `json:"sender,omitempty"`
	// Network is the client's.
	Network netip.Prefix `json:"network,omitzero"`
	// Recipient is an address or a domain. A user's entry applies to that user only, a domain's to that domain only,
	// whatever is given.
	Recipient string `json:"recipient,omitempty"`
	// Unauthenticated makes an allow entry apply to a sender authenticated by neither SPF nor DKIM: such a sender can be
	// forged.
	Unauthenticated bool `json:"unauthenticated,omitempty"`
	// Owner answers for it. Both texts have up to 160 octets, and nothing that can't be shown (filters.Printable).
	Owner   string    `json:"owner,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Created time.Time `json:"created"`
	// Expires is when it ends, the zero time for never. Policy reads it to the day, Store.Expire to the millisecond.
	Expires time.Time `json:"expires,omitzero"`
	Hits    int64     `json:"hits"`
	LastHit time.Time `json:"last_hit,omitzero"`
	// Monitored entries decide nothing: Deciding leaves them out.
	Monitored bool `json:"monitored,omitempty"`
}

// Errors of entries. ErrInvalid is wrapped by a sentence that says what is wrong.
var (
	ErrInvalid = errors.New("not a valid entry")
	ErrUnknown = errors.New("there is no such entry")
	ErrFull    = errors.New("the list is full")
	ErrCursor  = errors.New("this is no cursor of a list of entries")
)

// Policy is the entry as policy reads it.
func (e Entry) Policy() policy.ListEntry {
	p := policy.ListEntry{List: e.List, Entry: policy.Entry{
		ID: e.ID, Sender: e.Sender, Network: config.Network{Prefix: e.Network}, Recipient: e.Recipient,
		Unauthenticated: e.Unauthenticated, Reason: e.Reason, Owner: e.Owner,
	}}
	if !e.Expires.IsZero() {
		p.Expires = e.Expires.UTC().Format(time.DateOnly)
	}
	return p
}

// Deciding gives the entries that decide, in their order, for policy.Compile.
func Deciding(entries []Entry) []policy.ListEntry {
	var all []policy.ListEntry
	for _, e := range entries {
		if !e.Monitored {
			all = append(all, e.Policy())
		}
	}
	return all
}

// Normal gives an entry the form in which it is kept, and says what is wrong with it: the error wraps ErrInvalid.
func (e Entry) Normal() (Entry, error) {
	var err error
	e.Sender, err = pattern(e.Sender)
	if err != nil {
		return e, fmt.Errorf("%w: sender %s", ErrInvalid, err)
	}
	if e.Recipient, err = pattern(e.Recipient); err != nil {
		return e, fmt.Errorf("%w: recipient %s", ErrInvalid, err)
	}
	if e.Network.IsValid() {
		e.Network = netip.PrefixFrom(e.Network.Addr().Unmap().WithZone(""), unmappedBits(e.Network)).Masked()
		if !e.Network.IsValid() {
			return e, fmt.Errorf("%w: not a network", ErrInvalid)
		}
	}
	e.Owner, e.Reason = filters.Printable(e.Owner), filters.Printable(e.Reason)
	if err := e.scope(); err != nil {
		return e, fmt.Errorf("%w: %s", ErrInvalid, err)
	}
	e.ID = e.id()
	for _, p := range e.Policy().Check() {
		return e, fmt.Errorf("%w: %s", ErrInvalid, p.Text)
	}
	for _, text := range []string{e.Sender, e.Recipient} {
		if text != "" && text != "<>" && !strings.ContainsAny(text, ".@") {
			return e, fmt.Errorf("%w: %.80q is no domain that mail comes from: write an address as in %[2]s@example.com, or a domain as in %[2]s.example", ErrInvalid, text)
		}
	}
	e.Created, e.Expires = e.Created.UTC().Truncate(time.Millisecond), e.Expires.UTC().Truncate(time.Millisecond)
	return e, nil
}

// unmappedBits is a prefix's length, that of IPv4 for IPv4 in IPv6.
func unmappedBits(p netip.Prefix) int {
	if p.Addr().Is4In6() {
		return p.Bits() - 96
	}
	return p.Bits()
}

// scope limits the entry to the mail of its owner's scope.
func (e *Entry) scope() error {
	switch e.Scope {
	case Admin:
		e.ScopeOf = ""
		return nil
	case Domain:
		if !mail.ValidDomain(e.ScopeOf) {
			return fmt.Errorf("%.80q is no domain", e.ScopeOf)
		}
		e.ScopeOf = mail.ASCIIDomain(e.ScopeOf)
		e.Recipient = cmp.Or(e.Recipient, e.ScopeOf)
		domain := e.Recipient
		if a, err := mail.ParseAddress(e.Recipient); err == nil {
			domain = a.ASCIIDomain()
		}
		if domain != e.ScopeOf {
			return fmt.Errorf("who looks after %s can't speak for %.80q", e.ScopeOf, e.Recipient)
		}
		return nil
	case User:
		a, err := mail.ParseAddress(e.ScopeOf)
		if err != nil {
			return fmt.Errorf("%.80q is no address of a user", e.ScopeOf)
		}
		e.ScopeOf = a.Key()
		e.Recipient = cmp.Or(e.Recipient, e.ScopeOf)
		if e.Recipient != e.ScopeOf {
			return fmt.Errorf("%s can't speak for %.80q", e.ScopeOf, e.Recipient)
		}
		return nil
	}
	return fmt.Errorf("scope is admin, domain or user, not %.20q", e.Scope)
}

// pattern brings an address, a domain, ".domain" or "<>" into the form in which they are compared.
func pattern(text string) (string, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "" || text == "<>":
		return text, nil
	case text[0] == '.' && mail.ValidDomain(text[1:]):
		return "." + mail.ASCIIDomain(text[1:]), nil
	case !strings.Contains(text, "@") && mail.ValidDomain(text):
		return mail.ASCIIDomain(text), nil
	case strings.Contains(text, "@"):
		if a, err := mail.ParseAddress(text); err == nil {
			return a.Key(), nil
		}
	}
	return "", fmt.Errorf("%.80q is neither an address, a domain, \".domain\" nor \"<>\"", text)
}

// id is made of all that makes entries different.
func (e Entry) id() string {
	network := ""
	if e.Network.IsValid() {
		network = e.Network.String()
	}
	text := strings.Join([]string{string(e.List), string(e.Scope), e.ScopeOf, e.Sender, network, e.Recipient, fmt.Sprint(e.Unauthenticated, e.Monitored)}, "\x00")
	sum := sha256.Sum256([]byte(text))
	return "L" + hex.EncodeToString(sum[:12])
}
