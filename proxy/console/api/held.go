package api

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/policy/records/quarantine"
	"postern/proxy/release"
)

// Refusal says why a role may not have such a message released or fetched, "" if it may. What is dangerous is for the
// admin to decide; a user decides on what only annoys.
func Refusal(role Role, item quarantine.Item) string {
	dangerous := quarantine.Categorize(item.Reasons)
	switch {
	case role == Admin:
		return ""
	case item.Category == quarantine.Virus || dangerous == quarantine.Virus:
		return "it may hold malicious software: only an administrator may let it go"
	case role != User:
		return ""
	case item.Outbound:
		return "it is on its way out: only your administrator may let it go"
	case item.Category == quarantine.Attachment || dangerous == quarantine.Attachment:
		return "it has a dangerous attachment: ask your help desk"
	}
	return ""
}

// held is an item as JSON: addresses are text.
type held struct {
	quarantine.Item
	From       string     `json:"from"`
	Recipients []string   `json:"recipients"`
	Standings  []standing `json:"standings,omitempty"`
}

type standing struct {
	Address string           `json:"address"`
	State   quarantine.State `json:"state"`
	By      string           `json:"by,omitempty"`
	At      time.Time        `json:"at,omitzero"`
	Forward bool             `json:"forward,omitempty"`
}

// held gives the part of an item that the caller may see, and the caller's copies that are still held. Not ok if none
// is the caller's.
func (c *call) held(item quarantine.Item) (told held, copies []mail.Address, ok bool) {
	told = held{Item: item, From: item.From.String(), Recipients: []string{}}
	for _, s := range item.Standings {
		if s.Forward && !c.caller.all() || !c.caller.owns(s.Address.String()) {
			continue
		}
		ok = ok || !s.Forward
		if s.State == quarantine.Held && !s.Forward {
			copies = append(copies, s.Address)
		}
		told.Standings = append(told.Standings, standing{s.Address.String(), s.State, s.By, s.At, s.Forward})
	}
	for _, r := range item.Recipients {
		if c.caller.owns(r.Address.String()) {
			told.Recipients = append(told.Recipients, r.Address.String())
		}
	}
	return sees(c.caller, recordHeld, told), copies, ok
}

// find gives an item of the caller's.
func (c *call) find(id string) (quarantine.Item, held, []mail.Address, error) {
	item, err := c.o.Quarantine.Find(c.ctx, id)
	if err != nil {
		return item, held{}, nil, err
	}
	told, copies, ok := c.held(item)
	if !ok {
		return item, held{}, nil, quarantine.ErrUnknown // as if it weren't there
	}
	return item, told, copies, nil
}

func heldParams() []param {
	list := []param{{"text", "string", "in subject, sender or author"}, {"recipient", "string", "an address or a domain"}, {"sender", "string", "an address or a domain"},
		{"state", "string", "held, releasing, released or all"}, {"category", "string", "spam, virus, attachment, policy, rejected or all"}}
	for _, name := range strings.Fields("campaign since until limit after") {
		list = append(list, param{name, "string", ""})
	}
	return list
}

// heldFilter reads the parameters of a search, and bounds it to what the caller may see as far as a filter can.
func (c *call) heldFilter() (quarantine.Filter, error) {
	v := c.r.URL.Query()
	f := quarantine.Filter{State: quarantine.State(v.Get("state")), Category: quarantine.Category(v.Get("category")), Recipient: v.Get("recipient"), Sender: v.Get("sender"),
		Text: v.Get("text"), Campaign: v.Get("campaign"), After: v.Get("after")}
	if !slices.Contains([]quarantine.State{"", quarantine.Held, quarantine.Releasing, quarantine.Released, quarantine.AnyState}, f.State) {
		return f, BadRequest("state: write held, releasing, released or all")
	}
	if !slices.Contains([]quarantine.Category{"", quarantine.Spam, quarantine.Virus, quarantine.Attachment, quarantine.Policy, quarantine.Rejected, quarantine.AnyCategory}, f.Category) {
		return f, BadRequest("category: write spam, virus, attachment, policy, rejected or all")
	}
	err := errors.Join(c.times(&f.Since, &f.Until), c.limit(&f.Limit, maxRows))
	f.Recipients = c.caller.mailboxes()
	return f, err
}

// mailboxes are those of a User.
func (c Caller) mailboxes() (all []mail.Address) {
	if c.Role != User {
		return nil
	}
	for _, text := range c.Addresses {
		if a, err := mail.ParseAddress(text); err == nil { // a token without a good address is not made
			all = append(all, a)
		}
	}
	if all == nil {
		all = []mail.Address{{Local: "nobody", Domain: "invalid"}} // no address is not every address
	}
	return all
}

// times reads since and until.
func (c *call) times(since, until *time.Time) error {
	for _, p := range []struct {
		name string
		into *time.Time
	}{{"since", since}, {"until", until}} {
		if text := c.r.URL.Query().Get(p.name); text != "" && p.into != nil {
			at, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return BadRequest("%s: %q is no time: write it as in 2026-11-23T12:00:00Z", p.name, text)
			}
			*p.into = at
		}
	}
	return nil
}

func (c *call) limit(into *int, atMost int) error {
	if text := c.r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > atMost {
			return BadRequest("limit: write a number from 1 to %d", atMost)
		}
		*into = n
	}
	return nil
}

func (c *call) heldList() (any, error) {
	f, err := c.heldFilter()
	if err != nil {
		return nil, err
	}
	page := struct {
		Messages []held `json:"messages"`
		Next     string `json:"next,omitempty"`
	}{Messages: []held{}}
	want := cmp.Or(f.Limit, 100)
	for looked := 0; ; {
		items, next, err := c.o.Quarantine.Page(c.ctx, f)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			if told, _, ok := c.held(item); ok {
				page.Messages = append(page.Messages, told)
			}
		}
		looked += len(items)
		page.Next = next
		if next == "" || len(page.Messages) >= want || looked >= maxLooked {
			return page, nil
		}
		f.After = next
	}
}

func (c *call) heldOne() (any, error) {
	_, told, _, err := c.find(c.r.PathValue("id"))
	return told, err
}

// raw gives the octets as they are held. They are for programs: no browser is to show them.
func (c *call) raw() (any, error) {
	item, _, _, err := c.find(c.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if why := Refusal(c.caller.Role, item); why != "" {
		return nil, forbidden(why)
	}
	_, m, err := c.o.Quarantine.Get(c.ctx, item.ID)
	if err != nil {
		return nil, err
	}
	defer func() { _ = m.Close() }() // opened for reading only
	c.what = item.ID
	h := c.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", `attachment; filename="`+item.ID+`.eml"`) // an id has no other characters than letters, digits, dot and hyphen
	h.Set("Content-Length", strconv.FormatInt(item.Size, 10))
	c.silent = true
	c.begun = true
	if _, err := io.Copy(c.w, m.Open()); err != nil {
		return nil, fmt.Errorf("held message %s cut off: %w", item.ID, err)
	}
	return nil, nil
}

type releaseBody struct {
	Recipients []string `json:"recipients"`
	To         string   `json:"to"`
	Allow      bool     `json:"allow"`
	Learn      *bool    `json:"learn"`
	Wait       *bool    `json:"wait"`
}

func (c *call) release() (any, error) {
	var body releaseBody
	if err := c.read(&body); err != nil {
		return nil, err
	}
	item, _, copies, err := c.find(c.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	order, err := c.order(body, item, copies)
	if err != nil {
		return nil, err
	}
	done, err := c.o.Release(c.ctx, order)
	return sees(c.caller, recordReleased, done), err
}

// order makes an order of what the caller wants, and of what it may.
func (c *call) order(body releaseBody, item quarantine.Item, copies []mail.Address) (release.Order, error) {
	learn := item.Category == quarantine.Spam
	if body.Learn != nil {
		learn = *body.Learn
	}
	o := release.Order{ID: item.ID, By: c.who(), Admin: c.caller.Role == Admin, Allow: body.Allow, Learn: learn, Recipients: copies, NoWait: body.Wait != nil && !*body.Wait}
	if why := Refusal(c.caller.Role, item); why != "" {
		return o, forbidden(why)
	}
	if body.To != "" {
		return o, c.orderTo(&o, body)
	}

	named, err := c.ofRecipients(body.Recipients)
	if err != nil {
		return o, err
	}
	switch {
	case named != nil:
		o.Recipients = named
	case len(copies) == 0 && (item.Fetched == nil || item.State != quarantine.Released): // what was masked in a mailbox may have been called back since
		return o, quarantine.ErrTaken
	case c.caller.all(): // all that are held when it is done
		o.Recipients = nil
	}

	return o, nil
}

// orderTo sends a copy to another address instead.
func (c *call) orderTo(o *release.Order, body releaseBody) (err error) {
	if o.To, err = mail.ParseAddress(body.To); err != nil || o.To.IsNull() || o.To.Domain == "" {
		return BadRequest("to: %.80q is not an address", body.To)
	}
	if c.caller.Role != Admin && (c.caller.all() || !c.caller.owns(o.To.String())) {
		return forbidden("you may not send held mail to this address")
	}
	if len(body.Recipients) > 0 {
		return BadRequest("to is an address instead of recipients: name one of both")
	}

	return nil
}

// ofRecipients reads the recipients whose copies are meant; the caller must be responsible for each.
func (c *call) ofRecipients(recipients []string) (named []mail.Address, err error) {
	for _, text := range recipients {
		a, err := mail.ParseAddress(text)
		if err != nil {
			return nil, BadRequest("recipients: %.80q is not an address", text)
		}
		if !c.caller.owns(a.String()) {
			return nil, quarantine.ErrUnknown
		}
		named = append(named, a)
	}

	return named, nil
}

// who is the caller's name in records: for a user, the address.
func (c *call) who() string {
	if c.caller.Role == User && len(c.caller.Addresses) > 0 {
		return c.caller.Addresses[0]
	}
	return c.caller.Name
}

func (c *call) unhold() (any, error) {
	_, _, copies, err := c.find(c.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	cli := c.caller.From == CLI
	mayLearn := c.o.LearnSpam != nil && (cli || len(copies) > 0)
	if mayLearn && c.r.URL.Query().Get("learn") == "true" {
		c.o.LearnSpam(c.ctx, release.Order{ID: c.r.PathValue("id"), By: c.who(), Admin: c.caller.Role == Admin})
	}
	if cli { // the machine's admin may delete released mail, too
		return nil, c.o.Quarantine.Delete(c.ctx, c.r.PathValue("id"), c.who())
	}
	if len(copies) == 0 {
		return nil, quarantine.ErrDeleted
	}
	return nil, c.o.Quarantine.DeleteCopies(c.ctx, c.r.PathValue("id"), c.who(), copies...)
}

func (c *call) campaigns() (any, error) {
	f, err := c.heldFilter()
	if err != nil {
		return nil, err
	}
	all := []quarantine.Campaign{}
	scopes := []string{f.Recipient}
	if c.caller.Role == DomainAdmin {
		scopes = c.caller.Domains
		if f.Recipient != "" {
			if !c.caller.owns("x@" + f.Recipient[strings.LastIndex(f.Recipient, "@")+1:]) {
				return all, nil
			}
			scopes = []string{f.Recipient}
		}
	}
	for _, f.Recipient = range scopes {
		found, err := c.o.Quarantine.ListCampaigns(c.ctx, f)
		if err != nil {
			return nil, err
		}
		for _, one := range found { // mail to two domains of one admin is one campaign
			i := slices.IndexFunc(all, func(k quarantine.Campaign) bool { return k.Key == one.Key })
			if i < 0 {
				all = append(all, sees(c.caller, recordCampaign, one))
				continue
			}
			all[i].Messages, all[i].Recipients = max(all[i].Messages, one.Messages), all[i].Recipients+one.Recipients
		}
	}
	return all, nil
}

// maxCampaign bounds how many messages of a campaign one request acts on.
const maxCampaign = 500

// campaignDone is the result for a campaign. More says that it has messages that were not looked at: ask again.
type campaignDone struct {
	Messages int  `json:"messages"`
	Refused  int  `json:"refused"`
	Failed   int  `json:"failed"`
	More     bool `json:"more"`
}

func (c *call) releaseCampaign() (any, error) {
	var body releaseBody
	if err := c.read(&body); err != nil {
		return nil, err
	}
	if body.To != "" || body.Recipients != nil {
		return nil, BadRequest("a campaign is released to its recipients")
	}
	return c.eachOfCampaign(func(item quarantine.Item, copies []mail.Address) error {
		order, err := c.order(body, item, copies)
		if err != nil {
			return err
		}
		order.NoWait = true
		_, err = c.o.Release(c.ctx, order)
		return err
	})
}

func (c *call) deleteCampaign() (any, error) {
	return c.eachOfCampaign(func(item quarantine.Item, copies []mail.Address) error {
		return c.o.Quarantine.DeleteCopies(c.ctx, item.ID, c.who(), copies...)
	})
}

// eachOfCampaign does something with the caller's copies of a campaign's messages.
func (c *call) eachOfCampaign(do func(quarantine.Item, []mail.Address) error) (any, error) {
	key := c.r.PathValue("id")
	c.takeTime()
	f := quarantine.Filter{Campaign: key, Category: quarantine.AnyCategory, Recipients: c.caller.mailboxes(), Limit: 100}
	var done campaignDone
	for looked := 0; ; {
		items, next, err := c.o.Quarantine.Page(c.ctx, f)
		if err != nil {
			return nil, err
		}
		looked += len(items)
		for _, item := range items {
			_, copies, _ := c.held(item)
			if len(copies) == 0 {
				continue
			}
			done.count(do(item, copies))
		}
		f.After = next
		done.More = next != ""
		if next == "" || looked >= maxLooked || done.Messages+done.Refused+done.Failed >= maxCampaign {
			break
		}
	}
	if done == (campaignDone{}) {
		return nil, quarantine.ErrUnknown
	}
	return done, nil
}

func (d *campaignDone) count(err error) {
	var p Problem
	switch {
	case err == nil:
		d.Messages++
	case errors.Is(err, quarantine.ErrTaken), errors.Is(err, quarantine.ErrDeleted): // another caller was faster
	case errors.As(err, &p) && p.Status == http.StatusForbidden:
		d.Refused++
	default:
		d.Failed++
	}
}
