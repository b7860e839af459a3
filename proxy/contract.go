// Package proxy is the way of a message: judged by the filters, decided by policy, then relayed, held or refused. The
// doors (smtpd and others) stand in front of it, the next hops behind it.
package proxy

import (
	"context"
	"net/netip"

	"postern/internal/mail"
)

// Envelope is what a next hop is told of a transaction before any recipient.
type Envelope struct {
	ID     string
	From   mail.Address
	Params mail.Params
	// Size is the message's size in octets if it is known, else what the client declared, else 0.
	Size   int64
	Client Client
}

// Client says who gave us the message: for XCLIENT and XFORWARD towards a hop that trusts us.
type Client struct {
	Addr  netip.Addr
	Port  uint16
	Name  string // verified host name or ""
	Helo  string
	Proto string // SMTP, ESMTP, ESMTPS…: RFC 3848
	User  string
	// Known is set for a client whose mail was good before.
	Known bool
}

// Relay knows the next hops by the name of their route.
type Relay interface {
	// Open begins a transaction towards a route. Nothing is sent before the first Rcpt.
	Open(route mail.Route, e Envelope) Delivery
	// Offers says what we may offer our own clients because all inbound hops offer it.
	Offers() Extensions
	// TakesEightBit says whether every hop of a route is known to take 8-bit text (RFC 6152).
	TakesEightBit(route mail.Route) bool
}

// Delivery is one transaction at one next hop. It is used by one goroutine at a time.
type Delivery interface {
	// Rcpt asks the hop for a recipient, live, and gives its answer: the hop's own words, or a 4xx of ours if the hop
	// can't be asked.
	Rcpt(ctx context.Context, r mail.Recipient) mail.Reply
	// Send hands the copy over to those recipients, each of which Rcpt accepted before (a subset begins a new
	// transaction). It gives one reply per recipient, in their order: the hop's own, or a 4xx of ours. Positive means
	// that the hop has it.
	Send(ctx context.Context, to []mail.Recipient, c mail.Copy) []mail.Reply
	// Close gives the connection back, or up. It is called once, after which the Delivery is dead.
	Close()
}

// Extensions are the service extensions that depend on what stands behind us.
type Extensions struct {
	EightBitMIME, SMTPUTF8, DSN, RequireTLS bool
	// MaxSize is the smallest SIZE limit of the hops in octets, 0 for none.
	MaxSize int64
}

// Recipients knows who is a recipient without asking the next hop: from a list, a directory, or from what the hop said
// before.
type Recipients interface {
	// Ask gives the answer to a recipient; not ok if the next hop must be asked.
	Ask(ctx context.Context, route mail.Route, a mail.Address) (r mail.Reply, ok bool)
	// Told hears what the next hop answered.
	Told(ctx context.Context, route mail.Route, a mail.Address, r mail.Reply)
	// Accepted says whether the next hop took this recipient a short while ago.
	Accepted(ctx context.Context, route mail.Route, a mail.Address) bool
}

// Queue takes what can't be answered in the sender's own transaction.
type Queue interface {
	// Put returns nil once the item is on disk for good.
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
	// Ours is set for mail of our own users and servers: its sender is told if it can't be delivered.
	Ours bool `json:"ours,omitempty"`
	// Why says why it did not go at once.
	Why string `json:"why"`
}
