package digest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"postern/internal/mail"
	"postern/policy/records/quarantine"
)

// Held lists what is held: a *quarantine.Quarantine.
type Held interface {
	Page(ctx context.Context, f quarantine.Filter) (items []quarantine.Item, next string, err error)
}

// Round sends the digests that are due.
type Round struct {
	Held    Held
	Store   *Store
	Builder *Builder
	Access  *Access
	// Local reports whether an address is one of ours and exists: no other ever gets a digest.
	Local func(context.Context, mail.Address) (bool, error)
	// Language is that of a person, "" for English.
	Language func(mail.Address) string
	// Put puts a message on the queue, under an id that is the same if the same digest is put there again.
	Put      func(ctx context.Context, id string, to mail.Address, message []byte) error
	Schedule Schedule
	Log      *slog.Logger

	done time.Time // the last slot all of whose digests are sent, so that one may call as often as one likes
}

// Bounds of a round: how far it looks back, and at how many messages.
const (
	lookBack = 14 * 24 * time.Hour
	pageSize = 1000
	maxHeld  = 500_000
)

// box is the held mail of a mailbox's digest.
type box struct {
	mailbox mail.Address
	items   []quarantine.Item
	total   int
	last    string // the id of the last one: two addresses of a person count as one copy
}

// Send sends the digests of the slot that is due, and says how many messages that were. Whose digest fails gets it at
// the next call; the others get theirs. A mailbox for which nothing came since its last digest gets none. It is to be
// called every minute or so, by one goroutine.
func (r *Round) Send(ctx context.Context, now time.Time) (sent int, err error) {
	slot, _ := Due(time.Time{}, now, r.Schedule)
	if slot.IsZero() || slot.Equal(r.done) {
		return 0, nil
	}
	last, err := r.Store.Last(ctx)
	if err != nil {
		return 0, err
	}
	boxes, err := r.collect(ctx, slot, last)
	if err != nil {
		return 0, fmt.Errorf("digest: %w", err)
	}
	var errs []error
	for _, b := range boxes {
		n, err := r.sendOne(ctx, b, slot, now)
		sent += n
		if err != nil && len(errs) < 10 {
			errs = append(errs, err)
		}
	}
	if errs == nil {
		r.done = slot
	}
	return sent, errors.Join(errs...)
}

// collect goes through held mail, the newest first, and assigns it to the mailboxes whose digests have not listed it
// yet.
func (r *Round) collect(ctx context.Context, slot time.Time, last map[string]time.Time) ([]*box, error) {
	var boxes []*box
	byKey := map[string]*box{}
	f := quarantine.Filter{Since: slot.Add(-lookBack), Until: slot, Limit: pageSize}
	for seen := 0; seen < maxHeld; seen += pageSize {
		items, next, err := r.Held.Page(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			for _, s := range item.Standings {
				if s.State != quarantine.Held || s.Forward || item.Outbound {
					continue
				}
				person := r.Access.Person(s.Address)
				if l, told := last[person.Key()]; told && item.Time.Before(l) {
					continue
				}
				b := byKey[person.Key()]
				if b == nil {
					b = &box{mailbox: person}
					byKey[person.Key()] = b
					boxes = append(boxes, b)
				}
				if b.last == item.ID {
					continue
				}
				b.last = item.ID
				b.total++
				if len(b.items) < r.Builder.opt.Max {
					b.items = append(b.items, item)
				}
			}
		}
		if f.After = next; next == "" {
			return boxes, nil
		}
	}
	r.Log.Warn("more is held than digests tell of", "limit", maxHeld)
	return boxes, nil
}

func (r *Round) sendOne(ctx context.Context, b *box, slot, now time.Time) (sent int, err error) {
	var to []mail.Address
	for _, a := range r.Access.Addressees(b.mailbox) {
		ours, err := r.Local(ctx, a)
		if err != nil {
			return 0, fmt.Errorf("digest for %s: %w", a, err)
		}
		if ours {
			to = append(to, a)
		}
	}
	if len(to) == 0 {
		return 0, nil
	}
	mine, err := r.Store.Begin(ctx, b.mailbox, slot)
	if err != nil || !mine {
		return 0, err
	}
	for _, a := range to {
		d := Digest{To: a, Mailbox: b.mailbox, Language: r.Language(a), Time: now, Slot: slot, Items: b.items, Total: b.total}
		message, err := r.Builder.Build(d)
		if err == nil {
			err = r.Put(ctx, d.ID(), a, message)
		}
		if err != nil {
			return sent, errors.Join(fmt.Errorf("digest for %s: %w", a, err), r.Store.Undo(context.WithoutCancel(ctx), b.mailbox, slot))
		}
		sent++
	}
	return sent, r.Store.Done(ctx, b.mailbox, slot)
}
