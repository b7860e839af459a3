// Package digests sends users word of what is held for them.
package digests

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/policy/records/quarantine"
	"postern/policy/reports/digest"
	"postern/proxy"
)

// Digests tell users what is held for them, and know what the links say.
type Digests struct {
	Store   *digest.Store
	Signer  *digest.Signer
	Access  *digest.Access
	Round   *digest.Round
	builder *digest.Builder
	cfg     *config.Config
}

// LinkLife is for how long links hold.
const LinkLife = 14 * 24 * time.Hour

// Put puts a message of ours on a queue.
type Put func(context.Context, proxy.QueueItem, mail.Copy) error

// Open makes them of a configuration in which they are switched on. The key signs links.
func Open(cfg *config.Config, key []byte, held digest.Held, onQueue Put, now func() time.Time, log *slog.Logger) (*Digests, error) {
	d := &Digests{cfg: cfg, Access: digest.NewAccess(digestRules(cfg.Digest))}
	var err error
	if d.Signer, err = digest.NewSigner(key); err != nil {
		return nil, err
	}
	from, err := mail.ParseAddress(cfg.Digest.From)
	if err != nil {
		return nil, fmt.Errorf("digest.from: %w", err)
	}
	if d.builder, err = digest.NewBuilder(digest.Options{Site: cfg.Digest.LinkBase, From: from, Signer: d.Signer, Life: LinkLife, Zone: cfg.Digest.Zone()}); err != nil {
		return nil, err
	}
	if d.Store, err = digest.OpenStore(cfg.Store("digest.db"), now); err != nil {
		return nil, err
	}
	d.Round = &digest.Round{
		Held: held, Store: d.Store, Builder: d.builder, Access: d.Access, Log: log, Schedule: schedule(cfg.Digest),
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
func (d *Digests) put(ctx context.Context, onQueue Put, id string, to mail.Address, text []byte) error {
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

// SendNow sends digests, whatever the schedule says: of one user, or of all for whom something
// is held. A digest that is only tried is not sent.
func (d *Digests) SendNow(ctx context.Context, q *quarantine.Quarantine, onQueue Put, whose string, try bool) (told []Report, err error) {
	var user mail.Address
	if whose != "" {
		if user, err = mail.ParseAddress(whose); err != nil || user.Domain == "" {
			return nil, fmt.Errorf("%w: %.80q", ErrUser, whose)
		}
	}
	boxes := []mail.Address{d.Access.Person(user)}
	if user.IsNull() {
		if boxes, err = d.mailboxes(ctx, q); err != nil {
			return nil, err
		}
	}

	for _, box := range boxes {
		if !d.cfg.Local(box.ASCIIDomain()) {
			continue
		}
		sent, err := d.sendOne(ctx, q, onQueue, box, try)
		told = append(told, sent...)
		if err != nil {
			return told, err
		}
	}

	return told, nil
}

// sendOne sends the digest of one mailbox to all who get it, if something is held for it.
func (d *Digests) sendOne(ctx context.Context, q *quarantine.Quarantine, onQueue Put, box mail.Address, try bool) (told []Report, err error) {
	items, err := d.heldFor(ctx, q, box)
	if err != nil || len(items) == 0 {
		return nil, err
	}

	now := time.Now()
	for _, to := range d.Access.Addressees(box) {
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
		told = append(told, Report{To: to.String(), Mailbox: box.String(), Messages: len(items), Sent: !try})
	}

	return told, nil
}

// digestPage is how many held messages are looked at at a time, digestMost in all.
const (
	digestPage = 1000
	digestMost = 500_000
)

// mailboxes are those for which something is held, in the order of the newest.
func (d *Digests) mailboxes(ctx context.Context, q *quarantine.Quarantine) (all []mail.Address, err error) {
	seen := map[string]bool{}
	f := quarantine.Filter{Limit: digestPage}
	for looked := 0; looked < digestMost; looked += digestPage {
		items, next, err := q.Page(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			for _, s := range item.Standings {
				person := d.Access.Person(s.Address)
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

func (d *Digests) heldFor(ctx context.Context, q *quarantine.Quarantine, box mail.Address) (held []quarantine.Item, err error) {
	own := d.Access.Addresses(box)
	items, err := q.List(ctx, quarantine.Filter{Recipients: own, Limit: digestPage})
	for _, item := range items {
		if copies, _ := item.HeldFor(own); len(copies) > 0 && !item.Outbound {
			held = append(held, item)
		}
	}
	return held, err
}

// Report is a digest that was sent, or would be.
type Report struct {
	To       string `json:"to"`
	Mailbox  string `json:"mailbox"`
	Messages int    `json:"messages"`
	Sent     bool   `json:"sent"`
}

// Errors of digests.
var (
	ErrOff  = errors.New("digests are off: set enabled = true in [digest]")
	ErrUser = errors.New("user: not an address")
)
