// Package proxy takes a message from the doors to the next hops: the filters judge it, policy decides, then it is
// relayed, held or refused. The doors are smtpd and others.
package proxy

import (
	"context"
	"net/netip"

	"postern/internal/mail"
)

// Envelope holds what a next hop gets at MAIL, before any recipient.
type Envelope struct {
	ID     string
	From   mail.Address
	Params mail.Params
	// Size is the message's size in octets if it is known, else what the client declared, else 0.
	Size   int64
	Client Client
}

// Client describes the client that sent us the message: for XCLIENT and XFORWARD to a hop that trusts us.
type Client struct {
	Addr  netip.Addr
	Port  uint16
	Name  string // verified host name or ""
	Helo  string
	Proto string // SMTP, ESMTP, ESMTPS…: RFC 3848
	User  string
	// Known is set for a client whose earlier mail was good.
	Known bool
}

// Relay opens transactions at the next hops, by the name of their route.
type Relay interface {
	// Open begins a transaction towards a route. Nothing is sent before the first Rcpt.
	Open(route mail.Route, e Envelope) Delivery
	// Offers gives the extensions that we may offer our own clients because all inbound hops offer them.
	Offers() Extensions
	// TakesEightBit says whether every hop of a route is known to take 8-bit text (RFC 6152).
	TakesEightBit(route mail.Route) bool
}

// Delivery is one transaction at one next hop. It is used by one goroutine at a time.
type Delivery interface {
	// Rcpt sends RCPT to the hop and gives its reply, verbatim, or a 4xx of ours if the hop can't be asked.
	Rcpt(ctx context.Context, r mail.Recipient) mail.Reply
	// Send delivers the copy to those recipients, each of which Rcpt accepted before (a subset begins a new transaction).
	// It gives one reply per recipient, in their order: the hop's own, or a 4xx of ours. A positive reply means that the
	// hop has accepted the message.
	Send(ctx context.Context, to []mail.Recipient, c mail.Copy) []mail.Reply
	// Close returns the connection to the pool, or closes it. It is called once; the Delivery can't be used afterwards.
	Close()
}

// Extensions are the service extensions that depend on the servers behind us.
type Extensions struct {
	EightBitMIME, SMTPUTF8, DSN, RequireTLS bool
	// MaxSize is the smallest SIZE limit of the hops in octets, 0 for none.
	MaxSize int64
}

// Recipients verifies recipients without asking the next hop: from a list, a directory, or earlier replies of the hop.
type Recipients interface {
	// Ask gives the answer to a recipient; not ok if the next hop must be asked.
	Ask(ctx context.Context, route mail.Route, a mail.Address) (r mail.Reply, ok bool)
	// Told receives the next hop's reply.
	Told(ctx context.Context, route mail.Route, a mail.Address, r mail.Reply)
	// Accepted reports whether the next hop accepted this recipient recently.
	Accepted(ctx context.Context, route mail.Route, a mail.Address) bool
}

// Queue takes mail that can't be delivered within the sender's own transaction.
type Queue interface {
	// Put returns nil once the item is synced to disk.
	Put(ctx context.Context, item QueueItem, content mail.Copy) error
}

// QueueItem is a message for known recipients at a known route.
type QueueItem struct {
	// ID is the transaction's, with a suffix where it has several; putting the same ID twice queues one item.
	ID         string           `json:"id"`
	Route      mail.Route       `json:"route"`
	From       mail.Address     `json:"from"`
	Params     mail.Params      `json:"params"`
	Recipients []mail.Recipient `json:"recipients"`
	// Ours is set for mail of our own users and servers: its sender gets a bounce if it can't be delivered.
	Ours bool `json:"ours,omitempty"`
	// Why is the reason for not delivering it at once.
	Why string `json:"why"`
}
