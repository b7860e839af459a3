// Package folders reads mailboxes of labelled mail, such as a public folder into which users put spam: what came since the last
// time.
package folders

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"postern/internal/mail"
	"postern/proxy/access"
	"postern/proxy/retrieval/mailbox"
)

// Folder is one mailbox.
type Folder struct {
	// Servers are tried in their order.
	Servers []access.Backend
	Login   mailbox.Login
	// Name is that of the mailbox, as the server writes it.
	Name string
}

// Place is how far a mailbox was read. RFC 9051 section 2.3.1.1: UIDs ascend for as long as UIDVALIDITY is the same.
type Place struct {
	UIDValidity uint32 `json:"uidvalidity"`
	UID         uint32 `json:"uid"`
}

// Bounds of one reading.
const (
	// MaxMessages are read at once; the next reading goes on behind them.
	MaxMessages = 1000
	timeLimit   = 5 * time.Minute
)

// Read gives the messages behind a place, up to limit octets of each, the oldest first, and the place it came to: behind the
// last message that take took without an error. Nothing in the mailbox changes, not even flags.
func Read(ctx context.Context, f Folder, from Place, limit int64, take func(*mail.Message) error) (Place, error) {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	c, err := f.open(ctx)
	if err != nil {
		return from, err
	}
	defer mailbox.Close(c)
	stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // a pending read or write then fails
	defer stop()
	at, err := read(c, f.Name, from, limit, take)
	if ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}

	return at, err
}

func (f *Folder) open(ctx context.Context) (*imapclient.Client, error) {
	failed := []error{}
	for _, b := range f.Servers {
		c, err := mailbox.Open(ctx, b, f.Login)
		if err == nil {
			return c, nil
		}
		failed = append(failed, fmt.Errorf("%s: %w", b.Address, err))
	}
	if len(failed) == 0 {
		return nil, mailbox.ErrNoServer
	}

	return nil, errors.Join(failed...)
}

func read(c *imapclient.Client, name string, from Place, limit int64, take func(*mail.Message) error) (Place, error) {
	selected, err := c.Select(name, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		return from, fmt.Errorf("mailbox %q: %w", name, err)
	}
	at := from
	if at.UIDValidity != selected.UIDValidity {
		at = Place{UIDValidity: selected.UIDValidity}
	}
	fresh, err := behind(c, at.UID)
	if err != nil {
		return at, err
	}
	for _, uid := range fresh[:min(len(fresh), MaxMessages)] {
		m, err := fetch(c, uid, limit)
		if err != nil {
			return at, err
		}
		if m != nil {
			if err := take(m); err != nil {
				return at, err
			}
		}
		at.UID = uint32(uid)
	}

	return at, nil
}

// behind gives the UIDs behind one. RFC 9051 section 9, seq-range: "7:*" has the last message even if its UID is below 7.
func behind(c *imapclient.Client, last uint32) ([]imap.UID, error) {
	all := imap.UIDSet{}
	all.AddRange(imap.UID(last)+1, 0)
	found, err := c.UIDSearch(&imap.SearchCriteria{UID: []imap.UIDSet{all}, NotFlag: []imap.Flag{imap.FlagDeleted}}, nil).Wait()
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	uids := slices.DeleteFunc(found.AllUIDs(), func(uid imap.UID) bool { return uint32(uid) <= last })
	slices.Sort(uids)

	return uids, nil
}

// fetch gives a message, nil if it is gone.
func fetch(c *imapclient.Client, uid imap.UID, limit int64) (*mail.Message, error) {
	whole := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Size: limit}}
	got, err := c.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
	if err != nil {
		return nil, fmt.Errorf("message %d: %w", uid, err)
	}
	for _, one := range got {
		if one.UID == uid && len(one.BodySection) > 0 && len(one.BodySection[0].Bytes) > 0 {
			return mail.NewMessage(one.BodySection[0].Bytes), nil
		}
	}

	return nil, nil
}
