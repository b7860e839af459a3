// Package sweep takes messages out of mailboxes that an admin called back after they were delivered: it looks for them by
// their Message-ID, makes sure, and moves them to another mailbox of the same user.
package sweep

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"postern/internal/mail"
	"postern/policy/records/recall"
	"postern/proxy/access"
	"postern/proxy/retrieval/mailbox"
	"postern/proxy/retrieval/seal"
)

// Options say what is swept.
type Options struct {
	Route   access.Route
	Recalls []recall.Entry
	// To is the mailbox to move to; it is made if it is missing. DryRun only looks.
	To      string
	DryRun  bool
	SealKey []byte
}

// Bounds of a sweep of one user: in time, and in octets of a message whose hash is to be made.
const (
	timeLimit  = 10 * time.Minute
	maxMessage = 64 << 20
	maxBoxes   = 10_000
)

// Report is what became of one user's mailboxes.
type Report struct {
	User      string `json:"user"`
	Mailboxes int    `json:"mailboxes"`
	// Found are the messages that were called back, Moved those that were moved. Others have the Message-ID and not the
	// hash.
	Found  int `json:"found"`
	Moved  int `json:"moved"`
	Others int `json:"others"`
	// Marked are found ones that could only be copied and marked as deleted: the server can't expunge single messages.
	Marked int    `json:"marked"`
	Error  string `json:"error,omitempty"`
}

// Searchable parts the recalls that can be looked for, which have a Message-ID, from those that have only a hash.
func Searchable(all []recall.Entry) (searchable []recall.Entry, others int) {
	named := map[string]bool{}
	for _, e := range all {
		named[e.ID] = named[e.ID] || e.ID != "" && e.MessageID != ""
	}
	for _, e := range all {
		switch {
		case e.MessageID != "":
			searchable = append(searchable, e)
		case !named[e.ID]:
			others++
		}
	}
	return searchable, others
}

// User sweeps the mailboxes of one user.
func User(ctx context.Context, o Options, user string) Report {
	r := Report{User: user}
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	s := sweep{Options: o, report: &r}
	if err := s.run(ctx, user); err != nil {
		r.Error = err.Error()
	}
	return r
}

type sweep struct {
	Options
	report *Report
	c      *imapclient.Client
}

func (s *sweep) run(ctx context.Context, user string) error {
	if err := s.connect(ctx, user); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.c.Close() }) // a pending read or write then fails
	defer stop()
	defer mailbox.Close(s.c)
	boxes, err := s.c.List("", "*", nil).Collect()
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	var failed []error
	for _, b := range boxes[:min(len(boxes), maxBoxes)] {
		if b.Mailbox == s.To || slices.Contains(b.Attrs, imap.MailboxAttrNoSelect) || slices.Contains(b.Attrs, imap.MailboxAttrNonExistent) {
			continue
		}
		err := s.mailbox(b.Mailbox)
		if refused, ok := errors.AsType[*imap.Error](err); ok { // as by an access list: the others may do
			failed = append(failed, fmt.Errorf("%s: %w", b.Mailbox, refused))
		} else if err != nil {
			return fmt.Errorf("%s: %w", b.Mailbox, err)
		}
	}
	return errors.Join(failed[:min(len(failed), 10)]...)
}

// connect logs in as the user by the backend's master user.
func (s *sweep) connect(ctx context.Context, user string) error {
	as, err := s.Route.Master(user)
	if err != nil {
		return err
	}
	if len(s.Route.IMAP) == 0 {
		return mailbox.ErrNoServer
	}
	s.c, err = mailbox.Open(ctx, s.Route.IMAP[0], mailbox.Login{Authzid: as.Authzid, User: as.User, Password: as.Password})
	if err != nil {
		return fmt.Errorf("as the master user: %w", err)
	}

	return nil
}

func (s *sweep) mailbox(name string) error {
	if _, err := s.c.Select(name, &imap.SelectOptions{ReadOnly: s.DryRun}).Wait(); err != nil {
		return err
	}
	s.report.Mailboxes++
	var found imap.UIDSet
	for _, e := range s.Recalls {
		result, err := s.c.UIDSearch(&imap.SearchCriteria{
			Header:  []imap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: e.MessageID}},
			NotFlag: []imap.Flag{imap.FlagDeleted}, // as an earlier sweep may have left it
		}, nil).Wait()
		if err != nil {
			return err
		}
		for _, uid := range result.AllUIDs() {
			same, err := s.same(uid, e)
			if err != nil {
				return err
			}
			if same && !found.Contains(uid) {
				found.AddNum(uid)
				s.report.Found++
			}
		}
	}
	if len(found) == 0 || s.DryRun {
		return nil
	}
	return s.move(found)
}

// same makes sure of a message. A search finds each message whose field holds the text (RFC 9051 section 6.4.4).
func (s *sweep) same(uid imap.UID, e recall.Entry) (bool, error) {
	part := &imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, Peek: true}
	if e.SHA256 != "" {
		part = &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Size: maxMessage}}
	}
	got, err := s.c.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{part}}).Collect()
	if err != nil {
		return false, err
	}
	for _, one := range got {
		if one.UID != uid || len(one.BodySection) == 0 {
			continue
		}
		m := mail.NewMessage(one.BodySection[0].Bytes)
		if bare(m.Header().Get("Message-ID")) != bare(e.MessageID) {
			return false, nil
		}
		if e.SHA256 == "" || s.hashed(m, e.SHA256) {
			return true, nil
		}
		s.report.Others++
	}
	return false, nil
}

func bare(messageID string) string { return strings.Trim(strings.TrimSpace(messageID), "<>") }

// hashed says whether the message is the one of the hash: as it lies there, or below the seal of our SMTP door.
func (s *sweep) hashed(m *mail.Message, want string) bool {
	whole := sha256.Sum256(m.Memory())
	if strings.EqualFold(hex.EncodeToString(whole[:]), want) {
		return true
	}
	sealed, ok := seal.Open(s.SealKey, m)
	if !ok {
		return false
	}
	below := sealed.Sum()
	return strings.EqualFold(hex.EncodeToString(below[:]), want)
}

// move moves messages: by MOVE, else step by step. Never is more expunged than what was copied: RFC 4315 section 2.1.
func (s *sweep) move(found imap.UIDSet) error {
	n, _ := found.Nums()
	move := func() error {
		if s.c.Caps().Has(imap.CapMove) {
			_, err := s.c.Move(found, s.To).Wait()
			return err
		}
		if _, err := s.c.Copy(found, s.To).Wait(); err != nil {
			return err
		}
		if err := s.c.Store(found, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
			return err
		}
		if !s.c.Caps().Has(imap.CapUIDPlus) {
			s.report.Marked += len(n)
			s.report.Moved -= len(n)
			return nil
		}
		return s.c.UIDExpunge(found).Close()
	}
	err := move()
	if refused, ok := errors.AsType[*imap.Error](err); ok && refused.Type == imap.StatusResponseTypeNo { // RFC 9051 section 7.1, TRYCREATE: not all servers say so
		if err = s.c.Create(s.To, nil).Wait(); err == nil {
			err = move()
		}
	}
	if err == nil {
		s.report.Moved += len(n)
	}
	return err
}
