package api

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/lists"
)

// answersFor says whether an entry is within what the caller may see and change.
func (c Caller) answersFor(e lists.Entry) bool {
	switch {
	case c.all():
		return true
	case e.Scope == lists.Domain:
		return c.Role == DomainAdmin && c.owns("x@"+e.ScopeOf)
	case e.Scope == lists.User:
		return c.owns(e.ScopeOf)
	}
	return false
}

func (c *call) lists() (any, error) {
	v := c.r.URL.Query()
	q := lists.Query{List: policy.ListName(v.Get("list")), Scope: lists.Scope(v.Get("scope")), ScopeOf: v.Get("scope_of"), Text: v.Get("text"), After: v.Get("after")}
	if err := c.limit(&q.Limit, 1000); err != nil {
		return nil, err
	}
	if text := v.Get("unused"); text != "" {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return nil, BadRequest("unused: %q is no time: write it as in 2026-11-23T12:00:00Z", text)
		}
		q.Unused = at
	}
	if boxes := c.caller.mailboxes(); len(boxes) == 1 { // so that others' entries need not be looked through
		if q.ScopeOf != "" && !c.caller.owns(q.ScopeOf) {
			return nil, lists.ErrUnknown
		}
		q.Scope, q.ScopeOf = lists.User, boxes[0].Key()
	}
	page := struct {
		Entries []lists.Entry `json:"entries"`
		Next    string        `json:"next,omitempty"`
	}{Entries: []lists.Entry{}}
	want := cmp.Or(q.Limit, 100)
	for looked := 0; ; {
		found, next, err := c.o.Lists.Search(c.ctx, q)
		if err != nil {
			return nil, err
		}
		for _, e := range found {
			if c.caller.answersFor(e) {
				page.Entries = append(page.Entries, sees(c.caller, recordEntry, e))
			}
		}
		looked += len(found)
		page.Next = next
		if next == "" || len(page.Entries) >= want || looked >= maxLooked {
			return page, nil
		}
		q.After = next
	}
}

func (c *call) entry() (lists.Entry, error) {
	e, err := c.o.Lists.Find(c.ctx, c.r.PathValue("id"))
	if err == nil && !c.caller.answersFor(e) {
		err = lists.ErrUnknown // as if it weren't there
	}
	return e, err
}

func (c *call) listEntry() (any, error) {
	e, err := c.entry()
	return sees(c.caller, recordEntry, e), err
}

func (c *call) unlist() (any, error) {
	e, err := c.entry()
	if err != nil {
		return nil, err
	}
	if err := c.o.Lists.Remove(c.ctx, e.ID); err != nil {
		return nil, err
	}
	return nil, nil
}

type entryBody struct {
	List            policy.ListName `json:"list"`
	Scope           lists.Scope     `json:"scope"`
	ScopeOf         string          `json:"scope_of"`
	Sender          string          `json:"sender"`
	Network         string          `json:"network"`
	Recipient       string          `json:"recipient"`
	Unauthenticated bool            `json:"unauthenticated"`
	Monitored       bool            `json:"monitored"`
	Reason          string          `json:"reason"`
	Expires         time.Time       `json:"expires"`
}

func (c *call) addEntry() (any, error) {
	var body entryBody
	if err := c.read(&body); err != nil {
		return nil, err
	}
	c.what = strings.TrimSpace(string(body.List) + " " + body.Sender + " " + body.Network)
	e, err := c.entryOf(body)
	if err != nil {
		return nil, err
	}
	added, err := c.o.Lists.Add(c.ctx, e)
	if err != nil {
		return nil, err
	}
	return sees(c.caller, recordEntry, added), nil
}

// entryOf makes an entry whose scope is the caller's own where none is named.
func (c *call) entryOf(body entryBody) (lists.Entry, error) {
	e := lists.Entry{List: body.List, Scope: body.Scope, ScopeOf: body.ScopeOf, Sender: body.Sender, Recipient: body.Recipient, Unauthenticated: body.Unauthenticated,
		Monitored: body.Monitored, Reason: body.Reason, Expires: body.Expires, Owner: c.who()}
	if e.Scope == "" {
		c.ownScope(&e)
	}
	if body.Network != "" {
		p, err := network(body.Network)
		if err != nil {
			return e, BadRequest("network: %.80q is neither an address nor a network", body.Network)
		}
		e.Network = p
	}
	if e.Scope == lists.User { // an invalid address is reported below
		if a, err := mail.ParseAddress(e.ScopeOf); err == nil {
			e.ScopeOf = a.Key()
		}
	}

	switch {
	case c.caller.Role == Admin:
	case e.ScopeOf == "" || !c.caller.answersFor(e):
		return e, forbidden("you may speak for your own mail only")
	case e.Unauthenticated:
		return e, forbidden("an entry that lets in senders whom nothing proves is for an administrator to make")
	case e.List == policy.Allow && e.Network.IsValid():
		return e, forbidden("an entry that lets in whole networks, whoever the sender claims to be, is for an administrator to make")
	}

	return e, nil
}

// ownScope limits an entry to the caller's own scope.
func (c *call) ownScope(e *lists.Entry) {
	switch c.caller.Role {
	case Admin:
		e.Scope = lists.Admin
	case DomainAdmin:
		e.Scope = lists.Domain
		if e.ScopeOf == "" && len(c.caller.Domains) == 1 {
			e.ScopeOf = c.caller.Domains[0]
		}
	case User:
		e.Scope = lists.User
		if e.ScopeOf == "" && len(c.caller.Addresses) > 0 {
			e.ScopeOf = c.caller.Addresses[0]
		}
	case Helpdesk, Auditor: // they make no entries
	}
}

// network reads a network, or an address as the network that it alone is in.
func network(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.Prefix(a.BitLen())
	}

	return netip.ParsePrefix(text)
}

func (c *call) importList() (any, error) {
	var body struct {
		Format  lists.Format    `json:"format"`
		Text    string          `json:"text"`
		List    policy.ListName `json:"list"`
		Scope   lists.Scope     `json:"scope"`
		ScopeOf string          `json:"scope_of"`
		Reason  string          `json:"reason"`
		Widen   bool            `json:"widen"`
		DryRun  bool            `json:"dry_run"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	c.what, c.tried = string(body.Format), body.DryRun
	c.takeTime()
	report, err := lists.Import(body.Format, strings.NewReader(body.Text), lists.ImportOptions{List: body.List, Scope: body.Scope, ScopeOf: body.ScopeOf, Owner: c.who(), Reason: body.Reason, Widen: body.Widen})
	if err != nil {
		return nil, BadRequest("%v", err)
	}
	answer := struct {
		*lists.Report
		New int `json:"new"`
	}{report, 0}
	if body.DryRun {
		return answer, nil
	}
	if answer.New, err = c.o.Lists.AddAll(c.ctx, report.Entries); err != nil {
		return nil, err
	}
	return answer, nil
}

// ErrNoGateway means that a running gateway is needed and none runs.
var ErrNoGateway = fmt.Errorf("%w: no gateway is running with this configuration", ErrNotNow)

// correspondentsTable is where pairs of correspondents are told, by this verb.
const correspondentsTable, correspondentsVerb = "correspondents", "know"

// correspondents takes pairs of user and correspondent. Invalid ones are left out.
func (c *call) correspondents() (any, error) {
	var body struct {
		Pairs []string `json:"pairs"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	c.what = fmt.Sprintf("%d pairs", len(body.Pairs))
	s, err := c.named(correspondentsTable)
	if err != nil {
		return nil, err
	}
	c.takeTime()
	learned := 0
	for _, pair := range body.Pairs {
		err := s.Apply(c.ctx, correspondentsVerb, pair)
		if err != nil && !errors.Is(err, filters.ErrNoRow) {
			return nil, err
		}
		if err == nil {
			learned++
		}
	}
	return map[string]int{"learned": learned}, nil
}
