package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"postern/internal/mail"
	"postern/proxy"
)

// errBeforeData marks a connection that failed before the hop had said 354: it has nothing.
var errBeforeData = errors.New("connection failed before the message")

// begin opens a transaction for these recipients and gives one reply each. An error means that the connection is of no use.
func (c *conn) begin(ctx context.Context, e proxy.Envelope, to []mail.Recipient, size int64) ([]mail.Reply, error) {
	c.opened = false // a transaction still open on the connection is another sender's
	if err := c.tellClient(ctx, e); err != nil {
		return nil, err
	}
	from, reply := c.mailLine(e, size)
	if reply.Code != 0 {
		return repeat(reply, len(to)), nil
	}
	var lines []string
	var reset int // lines in front of MAIL
	if c.dirty {
		lines, reset = append(lines, "RSET"), 1
	}
	lines = append(lines, from)
	replies := make([]mail.Reply, len(to))
	var asked []int // of to, in the order of lines
	for i, r := range to {
		line, refused := c.rcptLine(e, r)
		replies[i] = refused
		if refused.Code == 0 {
			lines, asked = append(lines, line), append(asked, i)
		}
	}
	if len(asked) == 0 {
		return replies, nil
	}
	c.dirty = true
	var mailReply mail.Reply
	err := c.exchange(ctx, lines, func(i int, r mail.Reply) error {
		if err := acceptable(lines[i][:4], r); err != nil {
			return err
		}
		switch {
		case i < reset:
			if r.Code != 250 {
				return &refusal{"RSET", r}
			}
		case i == reset:
			mailReply = r
			mailReply.OfSender = true
		// RFC 5321 section 4.3.2: without MAIL every RCPT is answered by 503; the reason is in its reply to MAIL.
		case !mailReply.Positive():
			replies[asked[i-reset-1]] = mailReply
		default:
			replies[asked[i-reset-1]] = r
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.opened = mailReply.Positive()
	c.dirty = c.opened
	return replies, nil
}

// recipient asks for one more recipient in the open transaction.
func (c *conn) recipient(ctx context.Context, e proxy.Envelope, r mail.Recipient) (mail.Reply, error) {
	line, refused := c.rcptLine(e, r)
	if refused.Code != 0 {
		return refused, nil
	}
	reply, err := c.command(ctx, c.times.Command, line)
	if err == nil {
		err = acceptable("RCPT", reply)
	}
	return reply, err
}

// acceptable lets pass what may answer MAIL, RCPT or RSET: RFC 5321 section 4.3.2. 421 ends the hop's session (section
// 3.8), so another hop is asked.
func acceptable(verb string, r mail.Reply) error {
	switch {
	case endsSession(r):
		return &refusal{verb, r}
	case r.Code >= 250 && r.Code <= 252, r.Temporary(), r.Permanent():
		return nil
	}
	return fmt.Errorf("%w: %s to %s", errGarbled, r, verb)
}

// data sends the message and gives one reply for each of the n accepted recipients. The error is for the log; if it is
// errBeforeData the hop has nothing.
func (c *conn) data(ctx context.Context, relay *Relay, n int, message mail.Copy) ([]mail.Reply, error) {
	// RFC 2920 section 3.1: DATA is the last of its group, and the message waits for 354.
	reply, err := c.command(ctx, c.times.DataInit, "DATA")
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errBeforeData, err)
	case endsSession(reply):
		// RFC 5321 section 3.8: the hop ended its session, for having waited too long for one. It has nothing.
		return nil, fmt.Errorf("%w: %w", errBeforeData, &refusal{"DATA", reply})
	case reply.Temporary() || reply.Permanent():
		// RFC 5321 section 3.3: DATA may be refused as a whole. The transaction may still stand, so RSET comes next.
		return repeat(reply, n), nil
	case reply.Code != 354 || c.broken:
		c.broken = true
		return repeat(replyGarbled(), n), fmt.Errorf("%w: %s to DATA", errGarbled, reply)
	}
	if refused, err := c.content(ctx, relay, message); err != nil {
		c.broken = true
		return repeat(refused, n), err
	}
	c.dirty = false
	return c.outcome(ctx, n)
}

// content sends the message and its end. With an error it gives the reply to pass on: the dot did not go out, or not
// whole, so the hop has nothing.
func (c *conn) content(ctx context.Context, relay *Relay, message mail.Copy) (mail.Reply, error) {
	block := relay.blocks.Get().(*[]byte)
	defer relay.blocks.Put(block)
	out := &timedWriter{ctx: ctx, c: c, until: time.Now().Add(c.times.Transfer)}
	dots := &dotWriter{w: out, buf: (*block)[:0]}
	err := c.step(ctx, c.times.Block, func() error {
		if _, err := message.WriteTo(dots); err != nil {
			return err
		}
		// A word before the dot would be read as the answer to it, and a 250 as "the hop has it".
		if c.r.Buffered() > 0 || !quiet(c.nc) {
			return errInjected
		}
		return dots.Close()
	})
	switch {
	case err == nil:
		return mail.Reply{}, nil
	case errors.Is(err, errInjected):
		return c.lastWords(), err
	case dots.err == nil:
		c.hop.log.Error("message can't be sent on", "hop", c.hop.Address, "error", err)
		return mail.TryLater(), err
	case isTimeout(err):
		return replyTooSlow(), err
	}
	return c.lastWords(), err
}

// lastWords reads the hop's reply before it closed the connection on our message: it may be a true refusal (552, then
// close).
func (c *conn) lastWords() mail.Reply {
	_ = c.nc.SetDeadline(time.Now().Add(time.Second)) // if it fails so does the read
	reply, err := readReply(c.r)
	switch {
	case err != nil:
		return replyUnreachable()
	case endsSession(reply):
		return replyFor(&refusal{"message", reply})
	case reply.Temporary() || reply.Permanent():
		return reply
	}
	return replyGarbled()
}

// outcome reads the reply to the dot: one, or in LMTP one for each accepted recipient in the order of RCPT (RFC 2033
// section 4.2). Without a valid reply it is unknown whether the hop has the message: RFC 1047. It counts as not
// delivered, since a duplicate is better than a loss.
func (c *conn) outcome(ctx context.Context, n int) ([]mail.Reply, error) {
	results := repeat(replyUnknownOutcome(), n)
	want := 1
	if c.hop.protocol == LMTP {
		want = n
	}
	err := c.step(ctx, c.times.DataTerm, func() error {
		for i := range want {
			reply, err := c.read()
			if err != nil {
				return err
			}
			if reply.Code != 250 && !reply.Temporary() && !reply.Permanent() {
				return fmt.Errorf("%w: %s to the message", errGarbled, reply)
			}
			if endsSession(reply) {
				c.broken = true
				reply = replyFor(&refusal{"message", reply})
			}
			results[i] = reply
		}
		return nil
	})
	if want == 1 {
		results = repeat(results[0], n)
	}
	if err == nil {
		c.settled()
	}
	return results, err
}

// timedWriter gives each block its own deadline, and the whole one too.
type timedWriter struct {
	ctx   context.Context
	c     *conn
	until time.Time
}

func (w *timedWriter) Write(p []byte) (int, error) {
	limit := min(w.c.times.Block, time.Until(w.until))
	if err := w.c.extend(w.ctx, limit); err != nil {
		return 0, err
	}
	return w.c.nc.Write(p)
}

var _ io.Writer = (*timedWriter)(nil)
