// Package digestlinks answers what the links in digests ask.
package digestlinks

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"postern/internal/mail"
	"postern/internal/mail/encodedword"
	"postern/policy"
	"postern/policy/records/ledger"
	"postern/policy/records/lists"
	"postern/policy/records/quarantine"
	"postern/policy/reports/digest"
	"postern/proxy/console"
	"postern/proxy/console/api"
	"postern/proxy/digests"
	"postern/proxy/release"
)

// Links implement console.Links.
type Links struct {
	Digests    *digests.Digests
	Quarantine *quarantine.Quarantine
	Releaser   *release.Releaser
	Lists      *lists.Store
	Acts       *api.Store
	Now        func() time.Time
	Zone       *time.Location
	Log        *slog.Logger
}

// read reads a token whose action is still allowed.
func (l Links) read(token string) (digest.Claim, error) {
	claim, err := l.Digests.Signer.Open(token, l.Now())
	if err != nil {
		l.Log.Info("a link does not hold", "why", err)
		return claim, console.ErrLink
	}
	if !l.Digests.Access.May(claim.User, claim.Mailbox) { // no longer a deputy
		l.Log.Info("a link does not hold", "why", "its user may not see the mailbox", "user", claim.User.String())
		return claim, console.ErrLink
	}
	return claim, nil
}

// held gives the message that a claim is about, and those of the mailbox's copies that are held still.
func (l Links) held(ctx context.Context, c digest.Claim) (quarantine.Item, []mail.Address, error) {
	item, err := l.Quarantine.Find(ctx, c.Item)
	if errors.Is(err, quarantine.ErrUnknown) {
		return item, nil, console.ErrLink
	}
	if err != nil {
		return item, nil, err
	}
	copies, own := item.HeldFor(l.Digests.Access.Addresses(c.Mailbox))
	if !own {
		return item, nil, console.ErrLink
	}
	return item, copies, nil
}

// Look implements console.Links: it changes nothing.
func (l Links) Look(ctx context.Context, token string) (console.Link, error) {
	claim, err := l.read(token)
	if err != nil {
		return console.Link{}, err
	}
	page := console.Link{Mailbox: claim.Mailbox.String()}
	if claim.Action == digest.List {
		page.Title = "Held for " + claim.Mailbox.String()
		return page, l.list(ctx, claim, &page)
	}
	item, copies, err := l.held(ctx, claim)
	if err != nil {
		return page, err
	}
	page.Rows = []console.LinkRow{l.row(item)}
	page.Title, page.Button = wording(claim.Action)
	if page.Title == "" {
		return page, console.ErrLink
	}
	if why := refusal(claim.Action, item); why != "" {
		page.Done, page.Button = why, ""
	} else if len(copies) == 0 {
		page.Done, page.Button = alreadyDone, ""
	}
	return page, nil
}

const alreadyDone = "This was done already."

// wording says what a link does, and what stands on its button; nothing for links that are none.
func wording(a digest.Action) (title, button string) {
	switch a {
	case digest.Release:
		return "Deliver this message to your mailbox?", "Deliver it"
	case digest.ReleaseAndAllow:
		return "Deliver this message, and let in what this sender writes to you from now on?", "Deliver it and allow the sender"
	case digest.Delete:
		return "Throw this message away for good?", "Throw it away"
	case digest.Block:
		return "Refuse what this sender writes to you from now on?", "Block the sender"
	default: // the list itself, and an appeal: there is nothing to confirm
		return "", ""
	}
}

// refusal says why users may not do it with such a message, "" if they may.
func refusal(a digest.Action, item quarantine.Item) string {
	if a == digest.Release || a == digest.ReleaseAndAllow {
		return api.Refusal(api.User, item)
	}
	return ""
}

func (l Links) row(item quarantine.Item, acts ...console.LinkAct) console.LinkRow {
	from := item.HeaderFrom
	if from == "" {
		from = item.From.String()
	}
	return console.LinkRow{From: encodedword.Decode(from), Subject: encodedword.Decode(item.Subject), Received: item.Time.In(l.Zone).Format("2006-01-02 15:04"), Why: string(item.Category), Acts: acts}
}

// maxListed is how many messages the page of a mailbox shows.
const maxListed = 200

// list shows all that is held for a mailbox, with links that end when this one does.
func (l Links) list(ctx context.Context, claim digest.Claim, page *console.Link) error {
	items, err := l.Quarantine.List(ctx, quarantine.Filter{Recipients: l.Digests.Access.Addresses(claim.Mailbox), Limit: maxListed})
	if err != nil {
		return err
	}
	for _, item := range items {
		if copies, _ := item.HeldFor(l.Digests.Access.Addresses(claim.Mailbox)); len(copies) == 0 {
			continue
		}
		var acts []console.LinkAct
		for _, a := range []digest.Action{digest.Release, digest.Delete} {
			if refusal(a, item) != "" {
				continue
			}
			token, err := l.Digests.Signer.Sign(digest.Claim{Action: a, User: claim.User, Mailbox: claim.Mailbox, Item: item.ID, Expires: claim.Expires})
			if err != nil {
				return err
			}
			_, text := wording(a)
			acts = append(acts, console.LinkAct{Text: text, Token: token})
		}
		page.Rows = append(page.Rows, l.row(item, acts...))
	}
	if len(page.Rows) == 0 {
		page.Done = "Nothing is held for you."
	}
	return nil
}

// Do implements console.Links: what the link says, once.
func (l Links) Do(ctx context.Context, token, client string) (console.Link, error) {
	page, err := l.Look(ctx, token)
	if err != nil || page.Button == "" {
		return page, err
	}
	page.Button = ""
	claim, err := l.read(token)
	if err != nil {
		return page, err
	}
	item, copies, err := l.held(ctx, claim)
	if err != nil {
		return page, err
	}
	first, err := l.Digests.Store.Spend(ctx, claim)
	if err != nil {
		return page, err
	}
	if !first {
		page.Done = alreadyDone
		return page, nil
	}
	page.Done, err = l.carryOut(ctx, claim, item, copies)
	outcome := "done"
	switch {
	case errors.Is(err, quarantine.ErrTaken), errors.Is(err, quarantine.ErrDeleted):
		page.Done, err, outcome = alreadyDone, nil, "conflict"
	case err != nil:
		outcome = "failed"
		err = errors.Join(err, l.Digests.Store.Unspend(context.WithoutCancel(ctx), claim))
	}
	act := api.Act{Time: l.Now(), Who: claim.User.String(), Role: api.User, From: api.Link, Client: client, Verb: "digest " + claim.Action.String(), What: claim.Item, Outcome: outcome}
	return page, errors.Join(err, l.Acts.Note(context.WithoutCancel(ctx), act))
}

// carryOut does it, and says what was done.
func (l Links) carryOut(ctx context.Context, c digest.Claim, item quarantine.Item, copies []mail.Address) (string, error) {
	by := c.User.String()
	switch c.Action {
	case digest.Release, digest.ReleaseAndAllow:
		done, err := l.Releaser.Release(ctx, release.Order{ID: c.Item, By: by, Recipients: copies, Learn: true, Allow: c.Action == digest.ReleaseAndAllow})
		switch {
		case err != nil:
			return "", err
		case done.Note != "":
			return "It is on its way to your mailbox. " + done.Note + ".", nil
		}
		for _, a := range done.Answers {
			if a.Fate == ledger.Refused || a.Fate == ledger.Expired {
				return "It could not be delivered. The mail server answers: " + a.Reply, nil
			}
		}
		return "It is on its way to your mailbox.", nil
	case digest.Delete:
		return "It is gone.", l.Quarantine.DeleteCopies(ctx, c.Item, by, copies...)
	case digest.Block:
		sender, err := release.SenderOf(item)
		if err != nil {
			return "The message names no sender that could be blocked.", nil
		}
		for _, a := range copies {
			if _, err := l.Lists.Add(ctx, release.Entry(policy.Block, a, sender, by, "blocked by "+c.Item)); err != nil {
				return "", err
			}
		}
		return "The sender is blocked for you.", nil
	default: // no other link does anything
		return "", console.ErrLink
	}
}
