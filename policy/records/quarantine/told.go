package quarantine

import (
	"slices"
	"time"

	"postern/internal/mail"
)

// Change is a change of state of one recipient's copy.
type Change struct {
	Item    string
	Address mail.Address
	// State is Released, which means that it is on the queue, Deleted or Expired.
	State State
	// By did it At that time; "" for an expiry.
	By string
	At time.Time
	// Forward marks an address that was no recipient.
	Forward bool
}

// tellChanges reports the copies that have come to an end.
func (q *Quarantine) tellChanges(id string, before, after []Standing) {
	if q.told == nil {
		return
	}
	for _, s := range after {
		if s.State != Released && s.State != Deleted {
			continue
		}
		same := func(old Standing) bool { return old.Address.Key() == s.Address.Key() && old.State == s.State }
		if !slices.ContainsFunc(before, same) {
			q.told(Change{Item: id, Address: s.Address, State: s.State, By: s.By, At: s.At, Forward: s.Forward})
		}
	}
}

// tellGone reports the copies that were still held of a removed item.
func (q *Quarantine) tellGone(id string, list []Standing, by string, how State) {
	if q.told == nil {
		return
	}
	for _, s := range list {
		if s.State == Held {
			q.told(Change{Item: id, Address: s.Address, State: how, By: by, At: q.now()})
		}
	}
}
