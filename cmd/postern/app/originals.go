package app

import (
	"context"
	"encoding/hex"
	"errors"

	"postern/internal/mail"
	"postern/policy/records/quarantine"
	"postern/policy/records/recall"
	"postern/proxy/retrieval"
)

// originals keeps the originals of masked messages in the quarantine.
type originals struct {
	quarantine *quarantine.Quarantine
	hostname   string
	route      func(domain string) (mail.Route, bool)
	protocol   func(door string) mail.Protocol
}

// Keep implements retrieval.Originals.
func (o originals) Keep(ctx context.Context, m retrieval.Original) error {
	ctx = context.WithoutCancel(ctx) // a cancelled write would leave a message that can't be found
	switch _, err := o.quarantine.Find(ctx, m.ID); {
	case err == nil:
		return nil
	case !errors.Is(err, quarantine.ErrUnknown):
		return err
	}
	h, v := m.Message.Header(), m.Verdict
	to := owner(m.User, o.hostname)
	route, _ := o.route(to.ASCIIDomain())
	item := quarantine.Item{
		ID: m.ID, Time: m.Session.Started, Recipients: []mail.Recipient{{Address: to}}, Route: route, Client: m.Session.Client, User: m.Session.User,
		Reason: v.Decisive, Reasons: v.Reasons, Score: v.Score, Policy: v.PolicyVersion,
		Subject: h.Get("Subject"), HeaderFrom: h.Get("From"), MessageID: h.Get("Message-ID"),
		Fetched: &quarantine.Fetched{Backend: m.Backend, Mailbox: m.User, Protocol: o.protocol(m.Session.Door), SHA256: hex.EncodeToString(m.SHA256[:])},
	}
	return o.quarantine.Hold(ctx, item, mail.Copy{Message: m.Message})
}

// owner is the address of a mailbox's owner: the login, with the gateway's own name as domain if it has none.
func owner(login, hostname string) mail.Address {
	if a, err := mail.ParseAddress(login); err == nil && a.Domain != "" {
		return a
	}
	return mail.Address{Local: login, Domain: hostname}
}

// grants are the releases that recalls keeps.
type grants struct{ list *recall.List }

// Granted implements retrieval.Grants.
func (g grants) Granted(ctx context.Context, r retrieval.Grant) bool {
	return g.list.Granted(ctx, r.SHA256, r.User, r.MessageID, r.SealID)
}
