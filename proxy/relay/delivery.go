package relay

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"postern/internal/mail"
	"postern/internal/mimeview/recode"
	"postern/proxy"
)

// delivery is one transaction at one route: RFC 5321 section 3.3.
type delivery struct {
	relay    *Relay
	route    *route
	envelope proxy.Envelope
	log      *slog.Logger

	// mu is held while the connection is used. At other times the connection may be taken away: see yield.
	mu   sync.Mutex
	conn *conn
	// hold ends the time for which the connection is kept for a silent client.
	hold *time.Timer
	// silent is set once a hop did not answer in this transaction: it is not waited for twice.
	silent bool
	// open are the recipients that the hop accepted in the transaction that is open on conn; those that Send asks for may
	// be fewer.
	open []mail.Recipient
	// opened is set while the hop's MAIL of this transaction stands, with or without recipients.
	opened bool
}

// Rcpt asks the hop for a recipient.
func (d *delivery) Rcpt(ctx context.Context, r mail.Recipient) mail.Reply {
	if d.route == nil { // a fault of our settings: retrying would never help
		return replyUnreachable()
	}
	d.wake()
	defer d.rest()
	if d.silent {
		reply := replyTooSlow()
		reply.Away = true
		return reply
	}
	if d.conn != nil && !d.conn.broken && d.opened {
		reply, err := d.conn.recipient(ctx, d.envelope, r)
		if err == nil {
			if reply.Positive() {
				d.open = append(d.open, r)
			}
			return reply
		}
		d.lose(ctx, err, nil)
	}
	// recipients verified on an earlier connection are sent again with the message
	replies := d.begin(ctx, question, append(slices.Clone(d.open), r), d.envelope.Size)
	return replies[len(replies)-1]
}

// wake takes the connection out of rest for some work; rest puts it back. A transaction with a slow client keeps it for
// a limited time, and only while no other transaction needs it: the recipients were answered, and a connection is
// opened anew when the message is here.
func (d *delivery) wake() {
	d.mu.Lock()
	if d.hold != nil {
		d.hold.Stop()
		d.hold = nil
	}
	if d.conn != nil {
		d.conn.hop.places.wake(d)
	}
}

func (d *delivery) rest() {
	// a transaction that found it at rest but could not take it now waits
	if p := d.layDown(); p != nil && !p.rests(d) {
		d.yield()
	}
}

// layDown ends the work on the connection. It gives the places in which the connection rests, nil for none.
func (d *delivery) layDown() *places {
	defer d.mu.Unlock()
	if d.conn == nil {
		return nil
	}
	p := d.conn.hop.places
	if !p.rest(d) {
		d.drop()
		return nil
	}
	d.hold = time.AfterFunc(d.conn.times.Hold, d.yield)
	return p
}

// yield releases the connection of a resting transaction to others.
func (d *delivery) yield() {
	if !d.mu.TryLock() {
		return // it works again
	}
	defer d.mu.Unlock()
	if d.conn != nil {
		d.conn.hop.places.wake(d)
		d.drop()
	}
}

// begin opens a new transaction for these recipients and gives one reply each. No message was sent yet, so it may try
// again: an idle connection of the pool may have been closed by the hop, and another hop may be better.
func (d *delivery) begin(ctx context.Context, why purpose, to []mail.Recipient, size int64) []mail.Reply {
	tried := make(map[*hopState]bool, len(d.route.hops))
	err := errGone
	for range 2*len(d.route.hops) + 1 {
		if d.conn == nil || d.conn.broken {
			d.drop()
			c, dialErr := d.route.acquire(ctx, d.envelope, why, tried)
			if dialErr != nil {
				if errors.Is(err, errGone) {
					err = dialErr
				}
				break
			}
			d.conn = c
		}
		var replies []mail.Reply
		replies, err = d.conn.begin(ctx, d.envelope, to, size)
		if err == nil {
			d.open, d.opened = accepted(to, replies), d.conn.opened
			return replies
		}
		d.lose(ctx, err, tried)
		if ctx.Err() != nil {
			break
		}
	}
	d.silent = isTimeout(err) && ctx.Err() == nil
	d.log.Warn("transaction could not be opened", "error", err)
	return repeat(replyFor(err), len(to))
}

// lose gives up a connection on which something went wrong before the message. A reused one may simply have been closed
// by the hop in the meantime: then the other idle ones are too, and a fresh one is opened. Otherwise the hop has
// failed.
func (d *delivery) lose(ctx context.Context, err error, tried map[*hopState]bool) {
	h := d.conn.hop
	d.conn.broken = true
	if d.conn.reused && !isTimeout(err) {
		h.flush(false)
	} else {
		h.failed(ctx, err)
		if tried != nil {
			tried[h] = true
		}
	}
	d.drop()
}

func (d *delivery) drop() {
	if d.conn != nil {
		d.conn.hop.release(d.conn)
	}
	d.conn, d.open, d.opened = nil, nil, false
}

// Send delivers the message.
func (d *delivery) Send(ctx context.Context, to []mail.Recipient, c mail.Copy) []mail.Reply {
	if d.route == nil || len(to) == 0 {
		return repeat(replyUnreachable(), len(to))
	}
	d.wake()
	defer d.rest()
	replies, again := d.try(ctx, to, c)
	if again {
		// DATA got no reply, so the hop has nothing: retry on a fresh connection.
		replies, _ = d.try(ctx, to, c)
	}
	return replies
}

// try makes sure that a transaction for exactly these recipients is open and sends the message in it. It reports
// whether the connection was dead while the hop certainly had nothing yet.
func (d *delivery) try(ctx context.Context, to []mail.Recipient, c mail.Copy) (replies []mail.Reply, again bool) {
	replies = repeat(mail.NewReply(250, "", ""), len(to))
	if d.conn == nil || d.conn.broken || !sameRecipients(to, d.open) {
		replies = d.begin(ctx, handover, to, c.Size())
	}
	if len(d.open) == 0 || d.conn == nil {
		return replies, false
	}
	if reply := d.narrow(&c); reply.Code != 0 {
		return repeat(reply, len(to)), false
	}
	d.conn.party = d.conn.hop.places.becomes(d.conn.party)
	sent := d.open
	d.open, d.opened = nil, false
	results, err := d.conn.data(ctx, d.relay, len(sent), c)
	if err != nil {
		d.log.Warn("message was not handed over", "hop", d.conn.hop.Address, "error", err)
	}
	if errors.Is(err, errBeforeData) {
		d.lose(ctx, err, nil)
		results, again = repeat(replyFor(err), len(sent)), !isTimeout(err)
	}
	share(to, replies, sent, results)
	if d.conn != nil && d.conn.broken {
		d.drop()
	}
	return replies, again
}

// narrow writes the message in 7 bits for a hop that takes nothing else. A reply with a code means that it can't be done.
// RFC 6152 section 3: 8-bit text goes to no server that did not offer to take it.
func (d *delivery) narrow(c *mail.Copy) mail.Reply {
	if !d.conn.narrows(d.envelope) {
		return mail.Reply{}
	}
	plain, err := recode.SevenBit(*c)
	switch {
	case errors.Is(err, recode.ErrUnfit):
		d.log.Info("8-bit text for a hop that takes none", "hop", d.conn.hop.Address, "error", err)
		return d.conn.lacks(replyNo8Bit())
	case err != nil:
		d.log.Error("message can't be read", "error", err)
		return mail.TryLater()
	}
	*c = plain
	return mail.Reply{}
}

// Close returns the connection. A transaction still open is reset before the next one.
func (d *delivery) Close() {
	d.wake()
	defer d.mu.Unlock()
	d.drop()
	d.route = nil
}

// accepted are the recipients with a positive reply.
func accepted(to []mail.Recipient, replies []mail.Reply) []mail.Recipient {
	var yes []mail.Recipient
	for i, r := range to {
		if replies[i].Positive() {
			yes = append(yes, r)
		}
	}
	return yes
}

// sameRecipients says whether both lists hold the same addresses, in any order.
func sameRecipients(a, b []mail.Recipient) bool {
	if len(a) != len(b) {
		return false
	}
	count := make(map[mail.Address]int, len(a))
	for i := range a {
		count[a[i].Address]++
		count[b[i].Address]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// share replaces the replies of the recipients accepted into a transaction by the results.
func share(to []mail.Recipient, replies []mail.Reply, sent []mail.Recipient, results []mail.Reply) {
	at := make(map[mail.Address][]int, len(sent))
	for i, r := range sent {
		at[r.Address] = append(at[r.Address], i)
	}
	for i, r := range to {
		if left := at[r.Address]; replies[i].Positive() && len(left) > 0 {
			replies[i] = results[left[0]]
			at[r.Address] = left[1:]
		}
	}
}

func repeat(r mail.Reply, n int) []mail.Reply {
	all := make([]mail.Reply, n)
	for i := range all {
		all[i] = r
	}
	return all
}
