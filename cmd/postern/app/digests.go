package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mail/encodedword"
	"postern/policy"
	"postern/policy/records/ledger"
	"postern/policy/records/quarantine"
	"postern/policy/reports/digest"
	"postern/proxy"
	"postern/proxy/console"
	"postern/proxy/console/api"
	"postern/proxy/release"
)

// digests tell users what is held for them, and know what the links say.
type digests struct {
	store   *digest.Store
	signer  *digest.Signer
	access  *digest.Access
	builder *digest.Builder
	round   *digest.Round
	cfg     *config.Config
}

// linkLife is for how long links hold.
const linkLife = 14 * 24 * time.Hour

// put puts a message of ours on a queue.
type put func(context.Context, proxy.QueueItem, mail.Copy) error

// openDigests makes them of a configuration in which they are switched on.
func openDigests(cfg *config.Config, held digest.Held, onQueue put, now func() time.Time, log *slog.Logger) (*digests, error) {
	d := &digests{cfg: cfg, access: digest.NewAccess(digestRules(cfg.Digest))}
	key, err := keyFile(filepath.Join(cfg.DataDir, "digest.key"))
	if err != nil {
		return nil, err
	}
	if d.signer, err = digest.NewSigner(key); err != nil {
		return nil, err
	}
	from, err := mail.ParseAddress(cfg.Digest.From)
	if err != nil {
		return nil, fmt.Errorf("digest.from: %w", err)
	}
	if d.builder, err = digest.NewBuilder(digest.Options{Site: cfg.Digest.LinkBase, From: from, Signer: d.signer, Life: linkLife, Zone: cfg.Digest.Zone()}); err != nil {
		return nil, err
	}
	where := filepath.Join(cfg.DataDir, "digest.db")
	if cfg.SharedDatabase() {
		where = cfg.Database.URL
	}
	if d.store, err = digest.OpenStore(where, now); err != nil {
		return nil, err
	}
	d.round = &digest.Round{
		Held: held, Store: d.store, Builder: d.builder, Access: d.access, Log: log, Schedule: schedule(cfg.Digest),
		Local:    func(_ context.Context, a mail.Address) (bool, error) { return cfg.Local(a.ASCIIDomain()), nil },
		Language: func(mail.Address) string { return cfg.Digest.Language },
		Put: func(ctx context.Context, id string, to mail.Address, text []byte) error {
			return d.put(ctx, onQueue, id, to, text)
		},
	}
	return d, nil
}

// put puts a digest on the queue.
//
// RFC 3834 section 4: what a program writes by itself has the null reverse-path, so that nothing comes back.
func (d *digests) put(ctx context.Context, onQueue put, id string, to mail.Address, text []byte) error {
	item := proxy.QueueItem{ID: id, Route: d.cfg.Route(to.ASCIIDomain()), Recipients: []mail.Recipient{{Address: to}}, Why: "digest"}
	return onQueue(ctx, item, mail.Copy{Message: mail.NewMessage(text)})
}

func schedule(c config.Digest) digest.Schedule {
	s := digest.Schedule{Hours: c.Hours, Zone: c.Zone()}
	for _, name := range c.Days {
		if day, ok := config.Weekday(name); ok { // what can't be read was refused when the configuration was checked
			s.Days = append(s.Days, day)
		}
	}
	return s
}

func digestRules(c config.Digest) digest.Rules {
	addresses := func(list []string) (all []mail.Address) {
		for _, text := range list {
			if a, err := mail.ParseAddress(text); err == nil { // the same
				all = append(all, a)
			}
		}
		return all
	}
	r := digest.Rules{Shared: addresses(c.Shared), Deputies: map[mail.Address][]mail.Address{}}
	for person, boxes := range c.Deputies {
		for _, p := range addresses([]string{person}) {
			r.Deputies[p] = addresses(boxes)
		}
	}
	return r
}

// openQuarantineVerbs makes what lets held mail go: links in digests, and what is learned from it.
func (h *App) openQuarantineVerbs() (err error) {
	if h.Lessons == nil { // a gateway without a door for mailboxes learns from releases, too
		if err = h.openLessons(); err != nil {
			return err
		}
	}
	if !h.cfg.Digest.Enabled {
		return nil
	}
	if h.digests, err = openDigests(h.cfg, h.Quarantine, h.Queue.Put, h.out.Now, h.out.Log); err != nil {
		return err
	}
	h.laterPlain(h.digests.store.Close)

	return nil
}

// runDigests sends digests when they are due.
func (h *App) runDigests(ctx context.Context) {
	if h.digests == nil {
		return
	}
	h.running.Go(func() { h.every(ctx, time.Minute, h.sendDigests) })
}

func (h *App) sendDigests(ctx context.Context) {
	now := h.out.Now()
	sent, err := h.digests.round.Send(ctx, now)
	if err != nil {
		h.out.Log.Error("digests", "error", err)
	}
	if sent > 0 {
		h.out.Log.Info("digests sent", "messages", sent)
	}
	if err := h.digests.store.Expire(ctx, now.Add(-2*linkLife)); err != nil {
		h.out.Log.Error("digests expiry", "error", err)
	}
}

// links answers what the links in digests ask.
type links struct{ *App }

// read reads a token, whose action somebody may still take.
func (l links) read(token string) (digest.Claim, error) {
	claim, err := l.digests.signer.Open(token, l.out.Now())
	if err != nil {
		l.out.Log.Info("a link does not hold", "why", err)
		return claim, console.ErrLink
	}
	if !l.digests.access.May(claim.User, claim.Mailbox) { // he looks after it no more
		l.out.Log.Info("a link does not hold", "why", "its user may not see the mailbox", "user", claim.User.String())
		return claim, console.ErrLink
	}
	return claim, nil
}

// held gives the message that a claim is about, and those of the mailbox's copies that are held still.
func (l links) held(ctx context.Context, c digest.Claim) (quarantine.Item, []mail.Address, error) {
	item, err := l.Quarantine.Find(ctx, c.Item)
	if errors.Is(err, quarantine.ErrUnknown) {
		return item, nil, console.ErrLink
	}
	if err != nil {
		return item, nil, err
	}
	copies, own := item.HeldFor(l.digests.access.Addresses(c.Mailbox))
	if !own {
		return item, nil, console.ErrLink
	}
	return item, copies, nil
}

// Look implements console.Links: it changes nothing.
func (l links) Look(ctx context.Context, token string) (console.Link, error) {
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
	}
	return "", ""
}

// refusal says why users may not do it with such a message, "" if they may.
func refusal(a digest.Action, item quarantine.Item) string {
	if a == digest.Release || a == digest.ReleaseAndAllow {
		return api.Refusal(api.User, item)
	}
	return ""
}

func (l links) row(item quarantine.Item, acts ...console.LinkAct) console.LinkRow {
	from := item.HeaderFrom
	if from == "" {
		from = item.From.String()
	}
	return console.LinkRow{From: encodedword.Decode(from), Subject: encodedword.Decode(item.Subject), Received: item.Time.In(l.cfg.Digest.Zone()).Format("2006-01-02 15:04"), Why: string(item.Category), Acts: acts}
}

// maxListed is how many messages the page of a mailbox shows.
const maxListed = 200

// list shows all that is held for a mailbox, with links that end when this one does.
func (l links) list(ctx context.Context, claim digest.Claim, page *console.Link) error {
	items, err := l.Quarantine.List(ctx, quarantine.Filter{Recipients: l.digests.access.Addresses(claim.Mailbox), Limit: maxListed})
	if err != nil {
		return err
	}
	for _, item := range items {
		if copies, _ := item.HeldFor(l.digests.access.Addresses(claim.Mailbox)); len(copies) == 0 {
			continue
		}
		var acts []console.LinkAct
		for _, a := range []digest.Action{digest.Release, digest.Delete} {
			if refusal(a, item) != "" {
				continue
			}
			token, err := l.digests.signer.Sign(digest.Claim{Action: a, User: claim.User, Mailbox: claim.Mailbox, Item: item.ID, Expires: claim.Expires})
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
func (l links) Do(ctx context.Context, token, client string) (console.Link, error) {
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
	first, err := l.digests.store.Spend(ctx, claim)
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
		err = errors.Join(err, l.digests.store.Unspend(context.WithoutCancel(ctx), claim))
	}
	act := api.Act{Time: l.out.Now(), Who: claim.User.String(), Role: api.User, From: api.Link, Client: client, Verb: "digest " + claim.Action.String(), What: claim.Item, Outcome: outcome}
	return page, errors.Join(err, l.acts.Note(context.WithoutCancel(ctx), act))
}

// carryOut does it, and says what was done.
func (l links) carryOut(ctx context.Context, c digest.Claim, item quarantine.Item, copies []mail.Address) (string, error) {
	by := c.User.String()
	switch c.Action {
	case digest.Release, digest.ReleaseAndAllow:
		done, err := l.Releaser().Release(ctx, release.Order{ID: c.Item, By: by, Recipients: copies, Learn: true, Allow: c.Action == digest.ReleaseAndAllow})
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
	}
	return "", console.ErrLink
}

// sendDigestsNow sends digests, whatever the schedule says: of one user, or of all for whom something
// is held. A digest that is only tried is not sent.
func sendDigestsNow(ctx context.Context, cfg *config.Config, q *quarantine.Quarantine, onQueue put, whose string, try bool) (told []api.DigestReport, err error) {
	var user mail.Address
	if whose != "" {
		if user, err = mail.ParseAddress(whose); err != nil || user.Domain == "" {
			return nil, api.BadRequest("user: %.80q is not an address", whose)
		}
	}
	if !cfg.Digest.Enabled {
		return nil, api.ErrNoDigest
	}
	d, err := openDigests(cfg, q, onQueue, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.store.Close()) }()
	boxes := []mail.Address{d.access.Person(user)}
	if user.IsNull() {
		if boxes, err = d.mailboxes(ctx, q); err != nil {
			return nil, err
		}
	}

	for _, box := range boxes {
		if !cfg.Local(box.ASCIIDomain()) {
			continue
		}
		sent, err := d.sendNow(ctx, q, onQueue, box, try)
		told = append(told, sent...)
		if err != nil {
			return told, err
		}
	}

	return told, nil
}

// sendNow sends the digest of one mailbox to all who get it, if something is held for it.
func (d *digests) sendNow(ctx context.Context, q *quarantine.Quarantine, onQueue put, box mail.Address, try bool) (told []api.DigestReport, err error) {
	items, err := d.heldFor(ctx, q, box)
	if err != nil || len(items) == 0 {
		return nil, err
	}

	now := time.Now()
	for _, to := range d.access.Addressees(box) {
		if !d.cfg.Local(to.ASCIIDomain()) {
			continue
		}
		one := digest.Digest{To: to, Mailbox: box, Language: d.cfg.Digest.Language, Time: now, Slot: now, Items: items, Total: len(items)}
		text, err := d.builder.Build(one)
		if err == nil && !try {
			err = d.put(ctx, onQueue, one.ID(), to, text)
		}
		if err != nil {
			return told, err
		}
		told = append(told, api.DigestReport{To: to.String(), Mailbox: box.String(), Messages: len(items), Sent: !try})
	}

	return told, nil
}

// digestPage is how many held messages are looked at at a time, digestMost in all.
const (
	digestPage = 1000
	digestMost = 500_000
)

// mailboxes are those for which something is held, in the order of the newest.
func (d *digests) mailboxes(ctx context.Context, q *quarantine.Quarantine) (all []mail.Address, err error) {
	seen := map[string]bool{}
	f := quarantine.Filter{Limit: digestPage}
	for looked := 0; looked < digestMost; looked += digestPage {
		items, next, err := q.Page(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			for _, s := range item.Standings {
				person := d.access.Person(s.Address)
				if s.State != quarantine.Held || s.Forward || item.Outbound || seen[person.Key()] {
					continue
				}
				seen[person.Key()] = true
				all = append(all, person)
			}
		}
		if f.After = next; next == "" {
			break
		}
	}
	return all, nil
}

func (d *digests) heldFor(ctx context.Context, q *quarantine.Quarantine, box mail.Address) (held []quarantine.Item, err error) {
	own := d.access.Addresses(box)
	items, err := q.List(ctx, quarantine.Filter{Recipients: own, Limit: digestPage})
	for _, item := range items {
		if copies, _ := item.HeldFor(own); len(copies) > 0 && !item.Outbound {
			held = append(held, item)
		}
	}
	return held, err
}
