package relay

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"postern/internal/mail"
	"postern/proxy"
)

// delivery is one transaction at one route: RFC 5321 section 3.3.
type delivery struct {
	relay    *Relay
	route    *route
	envelope proxy.Envelope
	log      *slog.Logger

	conn *conn
	// open are the recipients that the hop accepted in the transaction that is open on conn; those that Send asks for may
	// be fewer.
	open []mail.Recipient
	// opened is set while the hop's MAIL of this transaction stands, with or without recipients.
	opened bool
}

// Rcpt asks the hop for a recipient.
func (d *delivery) Rcpt(ctx context.Context, r mail.Recipient) mail.Reply {
	if d.route == nil {
		return replyUnreachable()
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
	replies := d.begin(ctx, append(slices.Clone(d.open), r), d.envelope.Size)
	return replies[len(replies)-1]
}

// begin opens a new transaction for these recipients and gives one reply each. Nothing was handed over yet, so it may try
// again: a connection of the pool may have died in its sleep, and another hop may be better.
func (d *delivery) begin(ctx context.Context, to []mail.Recipient, size int64) []mail.Reply {
	tried := make(map[*hopState]bool, len(d.route.hops))
	err := errGone
	for range 2*len(d.route.hops) + 1 {
		if d.conn == nil || d.conn.broken {
			d.drop()
			c, dialErr := d.route.acquire(ctx, d.envelope, tried)
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
	d.log.Warn("transaction could not be opened", "error", err)
	return repeat(replyFor(err), len(to))
}

// lose gives up a connection on which something went wrong before the message. A reused one may simply have been closed in
// the meantime: then its sisters are too, and the hop gets a fresh one. Otherwise the hop has failed.
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
	d.conn, d.opened = nil, false
}

// Send hands the message over.
func (d *delivery) Send(ctx context.Context, to []mail.Recipient, c mail.Copy) []mail.Reply {
	if d.route == nil || len(to) == 0 {
		return repeat(replyUnreachable(), len(to))
	}
	replies, again := d.try(ctx, to, c)
	if again {
		// Nothing was answered to DATA, so the hop has nothing: once more, on a fresh connection.
		replies, _ = d.try(ctx, to, c)
	}
	return replies
}

// try makes sure that a transaction for exactly these recipients is open and sends the message in it. It says whether the
// connection turned out dead while the hop surely had nothing yet.
func (d *delivery) try(ctx context.Context, to []mail.Recipient, c mail.Copy) (replies []mail.Reply, again bool) {
	replies = repeat(mail.NewReply(250, "", ""), len(to))
	if d.conn == nil || d.conn.broken || !sameRecipients(to, d.open) {
		replies = d.begin(ctx, to, c.Size())
	}
	if len(d.open) == 0 || d.conn == nil {
		return replies, false
	}
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

// Close gives the connection back. A transaction that is still open is forgotten before the next one.
func (d *delivery) Close() {
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

// share writes the results of the recipients of a transaction over the replies of those who were accepted into it.
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
