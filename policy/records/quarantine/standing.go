package quarantine

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"postern/internal/mail"
)

// Standing is the state of one recipient's copy of a message, which is stored once.
type Standing struct {
	Address mail.Address `json:"address"`
	State   State        `json:"state"`
	// By did it At that time; both are empty as long as the copy is held.
	By string    `json:"by,omitempty"`
	At time.Time `json:"at,omitzero"`
	// Release is the number of the release that it left with, from 1; 0 for none.
	Release int `json:"release,omitempty"`
	// Forward marks an address that was no recipient: the message was sent there in addition, say for analysis.
	Forward bool `json:"forward,omitempty"`
}

// Release is what one Claim took: copies that leave together.
type Release struct {
	// Item is the held message's id; Number tells the releases of one message apart, from 1.
	Item   string
	Number int
	By     string
	At     time.Time
	// Recipients are those that it goes to. Forward says that they were none of the message's own.
	Recipients []mail.Recipient
	Forward    bool
}

// QueueID is the id of a release in the queue: the same one whenever it is put there again.
func (r Release) QueueID() string {
	if r.Number <= 1 {
		return r.Item + "-r"
	}
	return r.Item + "-r" + strconv.Itoa(r.Number)
}

// HeldFor gives those of a person's addresses for which a copy is held, to claim or delete. own reports whether they
// have a copy at all, held or not.
func (i Item) HeldFor(addresses []mail.Address) (held []mail.Address, own bool) {
	for _, s := range i.Standings {
		if s.Forward || !slices.ContainsFunc(addresses, func(a mail.Address) bool { return a.Key() == s.Address.Key() }) {
			continue
		}
		own = true
		if s.State == Held {
			held = append(held, s.Address)
		}
	}
	return held, own
}

// maxForwards bounds to how many more addresses one message is sent.
const maxForwards = 50

func fresh(recipients []mail.Recipient) []Standing {
	var list []Standing
	for _, r := range recipients {
		if !slices.ContainsFunc(list, func(s Standing) bool { return s.Address.Key() == r.Address.Key() }) {
			list = append(list, Standing{Address: r.Address, State: Held})
		}
	}
	return list
}

// summary gives the state of an item, and the author of the last release.
func summary(list []Standing) (State, string) {
	state, by := Deleted, ""
	var at time.Time
	for _, s := range list {
		if s.State == Held || s.State == Releasing && state != Held || s.State == Released && state == Deleted {
			state = s.State
		}
		if (s.State == Releasing || s.State == Released) && !s.At.Before(at) {
			by, at = s.By, s.At
		}
	}
	return state, by
}

// pick gives the places of the copies that addresses name; none named are all of the message's own. For an address that
// is not a recipient the error is that there is no such message.
func pick(list []Standing, addresses []mail.Address) ([]int, error) {
	var at []int
	for i, s := range list {
		if len(addresses) == 0 && !s.Forward {
			at = append(at, i)
		}
	}
	for _, a := range addresses {
		i := slices.IndexFunc(list, func(s Standing) bool { return !s.Forward && s.Address.Key() == a.Key() })
		if i < 0 {
			return nil, ErrUnknown
		}
		if !slices.Contains(at, i) {
			at = append(at, i)
		}
	}
	return at, nil
}

// Claim takes copies of an item for release; by names the actor. No recipient named means all whose copies are still
// held; of those named all must be. Of any number of callers exactly one gets a copy, the others ErrTaken, or
// ErrDeleted. The winner puts the message on the queue and calls Finish. If it dies in between, Unfinished gives the
// release again.
func (q *Quarantine) Claim(ctx context.Context, id, by string, recipients ...mail.Address) (Release, error) {
	return q.claim(ctx, id, by, func(list []Standing) ([]Standing, []int, error) {
		at, err := pick(list, recipients)
		if err != nil {
			return nil, nil, err
		}
		if len(recipients) == 0 {
			at = slices.DeleteFunc(at, func(i int) bool { return list[i].State != Held })
		}
		for _, i := range at {
			switch list[i].State {
			case Held:
			case Deleted:
				return nil, nil, ErrDeleted
			default:
				return nil, nil, ErrTaken
			}
		}
		if len(at) == 0 {
			return nil, nil, ErrTaken
		}
		return list, at, nil
	})
}

// ClaimTo takes a message for release to another address, whatever becomes of the recipients' own copies. It is noted
// with the message, and an address gets it once.
func (q *Quarantine) ClaimTo(ctx context.Context, id, by string, to mail.Address) (Release, error) {
	return q.claim(ctx, id, by, func(list []Standing) ([]Standing, []int, error) {
		forwards := 0
		for _, s := range list {
			if s.Address.Key() == to.Key() {
				return nil, nil, ErrTaken
			}
			if s.Forward {
				forwards++
			}
		}
		if to.IsNull() || forwards >= maxForwards {
			return nil, nil, fmt.Errorf("can't be sent to <%s>: no address, or sent to %d others already", to, forwards)
		}
		return append(list, Standing{Address: to, State: Held, Forward: true}), []int{len(list)}, nil
	})
}

func (q *Quarantine) claim(ctx context.Context, id, by string, choose func([]Standing) ([]Standing, []int, error)) (Release, error) {
	r := Release{Item: id, By: by, At: q.now().UTC().Truncate(time.Millisecond)}
	err := q.change(ctx, id, func(list []Standing) ([]Standing, error) {
		list, at, err := choose(list)
		if err != nil {
			return nil, err
		}
		r.Number, r.Recipients = 1, nil
		for _, s := range list {
			r.Number = max(r.Number, s.Release+1)
		}
		for _, i := range at {
			s := &list[i]
			s.State, s.By, s.At, s.Release = Releasing, by, r.At, r.Number
			r.Forward = s.Forward
			r.Recipients = append(r.Recipients, mail.Recipient{Address: s.Address})
		}
		return list, nil
	})
	if err != nil {
		return Release{}, err
	}
	item, err := q.item(ctx, id)
	if err != nil {
		return Release{}, errors.Join(err, q.Return(context.WithoutCancel(ctx), r))
	}
	return r.asHeld(item), nil
}

// asHeld gives the recipients the parameters that they came with.
func (r Release) asHeld(item Item) Release {
	for i := range r.Recipients {
		for _, own := range item.Recipients {
			if own.Address.Key() == r.Recipients[i].Address.Key() {
				r.Recipients[i] = own
				break
			}
		}
	}
	return r
}

// Return gives claimed copies back: they could not be put on the queue.
func (q *Quarantine) Return(ctx context.Context, r Release) error {
	return q.change(ctx, r.Item, func(list []Standing) ([]Standing, error) {
		n := 0
		kept := list[:0]
		for _, s := range list {
			if s.Release == r.Number && s.State == Releasing {
				n++
				if s.Forward {
					continue
				}
				s = Standing{Address: s.Address, State: Held}
			}
			kept = append(kept, s)
		}
		if n == 0 {
			return nil, ErrTaken
		}
		return kept, nil
	})
}

// Finish says that a release is safe on the queue. The message is kept until it expires. Finishing twice is no error.
func (q *Quarantine) Finish(ctx context.Context, r Release) error {
	return q.change(ctx, r.Item, func(list []Standing) ([]Standing, error) {
		claimed := false
		for i := range list {
			if s := &list[i]; r.Number > 0 && s.Release == r.Number && (s.State == Releasing || s.State == Released) {
				s.State, claimed = Released, true
			}
		}
		if !claimed {
			return nil, errors.New("nobody has claimed it")
		}
		return list, nil
	})
}

// DeleteCopies throws recipients' copies away; none named are all that are still held. The body goes with the last of
// them, unless the message was released.
func (q *Quarantine) DeleteCopies(ctx context.Context, id, by string, recipients ...mail.Address) error {
	at := q.now().UTC().Truncate(time.Millisecond)
	return q.change(ctx, id, func(list []Standing) ([]Standing, error) {
		which, err := pick(list, recipients)
		if err != nil {
			return nil, err
		}
		n := 0
		for _, i := range which {
			s := &list[i]
			switch {
			case s.State == Held:
				n++
				s.State, s.By, s.At = Deleted, by, at
			case len(recipients) > 0 && s.State == Deleted:
				return nil, ErrDeleted
			case len(recipients) > 0:
				return nil, ErrTaken
			}
		}
		if n == 0 {
			return nil, ErrTaken
		}
		return list, nil
	})
}

// change lets f change the states of an item's copies. The database's write lock is held meanwhile, against other
// processes too. What changes goes to the file first: whatever a crash leaves undone is done by the next start.
func (q *Quarantine) change(ctx context.Context, id string, f func([]Standing) ([]Standing, error)) error {
	if !mail.ValidID(id) {
		return ErrUnknown
	}
	var before, after []Standing
	err := q.db.Write(ctx, func(tx *sql.Tx) error {
		list, err := standings(ctx, tx, id)
		if err != nil {
			return err
		}
		before, after = slices.Clone(list), nil
		if list, err = f(list); err != nil || slices.Equal(before, list) {
			return err
		}
		after = list
		state, _ := summary(list)
		if state == Deleted {
			return q.erase(ctx, tx, id)
		}
		if err := q.writeState(id, list); err != nil {
			return err
		}
		if state == Released {
			if err := q.moveAway(id); err != nil {
				return err
			}
		}
		return writeStandings(ctx, tx, id, list)
	})
	if err != nil {
		return fmt.Errorf("quarantine: %s: %w", id, err)
	}
	q.tellChanges(id, before, after)
	return nil
}

// moveAway puts the file of a message whose copies have all left where it is not taken for held.
func (q *Quarantine) moveAway(id string) error {
	if err := makeFolder(q.leftFolder(id)); err != nil {
		return err
	}
	err := os.Rename(filepath.Join(q.folder(id), id), filepath.Join(q.leftFolder(id), id))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(mail.SyncDir(q.leftFolder(id)), mail.SyncDir(q.folder(id)))
}

// writeState writes the states of the copies beside the message, atomically.
func (q *Quarantine) writeState(id string, list []Standing) (err error) {
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(q.folder(id), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if _, err = f.Write(append(text, '\n')); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), q.statePath(id)); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return nil // the octets are on disk: fsync said so
	}
	return mail.SyncDir(q.folder(id))
}

// maxState bounds the file beside a message, in octets.
const maxState = 64 << 20

// readState reads it; no file is no error.
func (q *Quarantine) readState(id string) ([]Standing, error) {
	info, err := os.Stat(q.statePath(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxState {
		return nil, fmt.Errorf("the state of %s has %d octets", id, info.Size())
	}
	text, err := os.ReadFile(q.statePath(id))
	if err != nil {
		return nil, err
	}
	var list []Standing
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("the state of %s: %w", id, err)
	}
	return list, nil
}
