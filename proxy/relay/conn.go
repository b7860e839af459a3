package relay

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"postern/internal/mail"
)

// offer is what a hop said in its reply to EHLO.
type offer struct {
	pipelining, eightBit, smtputf8, dsn, requireTLS, startTLS bool
	size                                                      int64 // 0: no limit was said
	hasSize                                                   bool
	auth, xclient, xforward                                   []string
}

// parseOffer reads the reply to EHLO: RFC 5321 section 4.1.1.1. Keywords are compared without regard to case.
func parseOffer(text string) offer {
	var o offer
	_, lines, _ := strings.Cut(text, "\n")
	for line := range strings.SplitSeq(lines, "\n") {
		words := strings.Fields(strings.ToUpper(line))
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case "PIPELINING":
			o.pipelining = true
		case "8BITMIME":
			o.eightBit = true
		case "SMTPUTF8":
			o.smtputf8 = true
		case "DSN":
			o.dsn = true
		case "REQUIRETLS":
			o.requireTLS = true
		case "STARTTLS":
			o.startTLS = true
		case "SIZE":
			o.hasSize = true
			if len(words) > 1 {
				// RFC 1870 section 4: 0 or nothing means no fixed limit. What can't be read means the same.
				o.size, _ = strconv.ParseInt(words[1], 10, 64)
				o.size = max(o.size, 0)
			}
		case "AUTH":
			o.auth = words[1:]
		case "XCLIENT":
			o.xclient = words[1:]
		case "XFORWARD":
			o.xforward = words[1:]
		}
	}
	return o
}

// conn is one connection to a hop, used by one goroutine at a time.
type conn struct {
	hop   *hopState
	nc    net.Conn
	r     *bufio.Reader
	times Timeouts
	tls   *tls.ConnectionState // nil in clear
	offer offer

	// broken is set once anything unexpected was seen: the connection is then closed, never kept.
	broken bool
	// dirty is set while the hop may hold an open transaction: RSET comes before the next one.
	dirty bool
	// opened is set if the hop accepted MAIL of the transaction that began last.
	opened bool
	// reused is set if the connection came out of the pool; uses counts transactions.
	reused bool
	uses   int
	// told is the XCLIENT command last sent to the hop.
	told string
	idle *time.Timer
	// party is the client for which the connection is in use.
	party party
}

// step runs one exchange under a total deadline, and under the context.
func (c *conn) step(ctx context.Context, limit time.Duration, f func() error) error {
	if c.broken {
		return errGone
	}
	if err := c.nc.SetDeadline(earlier(ctx, time.Now().Add(limit))); err != nil {
		c.broken = true
		return err
	}
	nc := c.nc                                                             // f may put TLS around it
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(longAgo) }) // a closed connection needs no deadline
	err := f()
	if !stop() || err != nil {
		// The deadline may still be moved by the other side of AfterFunc: this connection must not be used again.
		c.broken = true
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w (%w)", err, context.Cause(ctx))
	}
	return err
}

// extend gives the next part of a step its own deadline.
func (c *conn) extend(ctx context.Context, limit time.Duration) error {
	if err := c.nc.SetDeadline(earlier(ctx, time.Now().Add(limit))); err != nil {
		return err
	}
	return ctx.Err() // looked at behind SetDeadline, which would undo what AfterFunc did
}

var longAgo = time.Unix(1, 0)

func earlier(ctx context.Context, t time.Time) time.Time {
	if d, ok := ctx.Deadline(); ok && d.Before(t) {
		return d
	}
	return t
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.As(err, &ne) && ne.Timeout()
}

// read reads one reply.
func (c *conn) read() (mail.Reply, error) {
	reply, err := readReply(c.r)
	if err != nil {
		c.broken = true
	}
	return reply, err
}

// settled checks that nothing stands behind the last reply we waited for. What does was sent before we asked, so the next
// reply would be taken for the answer to another command. The replies read so far are still good.
func (c *conn) settled() {
	if c.r.Buffered() > 0 {
		c.broken = true
		c.hop.log.Warn("next hop sent more than was asked", "hop", c.hop.Address, "octets", c.r.Buffered())
	}
}

// command sends one line and reads its reply.
func (c *conn) command(ctx context.Context, limit time.Duration, line string) (mail.Reply, error) {
	var reply mail.Reply
	err := c.step(ctx, limit, func() (err error) {
		if _, err = c.nc.Write([]byte(line + "\r\n")); err != nil {
			return err
		}
		reply, err = c.read()
		return err
	})
	if err == nil {
		c.settled()
	}
	return reply, err
}

// exchange sends lines and reads one reply for each: in one go where the hop allows it, else one after the other.
//
// RFC 2920 section 3.1: RSET, MAIL and RCPT may stand anywhere in a group. Groups stay small, so that we never
// block in a write while the hop blocks in its replies.
func (c *conn) exchange(ctx context.Context, lines []string, got func(i int, r mail.Reply) error) error {
	const group = 32
	if !c.offer.pipelining {
		for i, line := range lines {
			reply, err := c.command(ctx, c.times.Command, line)
			if err == nil {
				err = got(i, reply)
			}
			if err != nil {
				c.broken = true
				return err
			}
		}
		return nil
	}
	for at := 0; at < len(lines); at += group {
		some := lines[at:min(at+group, len(lines))]
		err := c.step(ctx, c.times.Command, func() error {
			if _, err := c.nc.Write([]byte(strings.Join(some, "\r\n") + "\r\n")); err != nil {
				return err
			}
			for i := range some {
				if err := c.extend(ctx, c.times.Command); err != nil {
					return err
				}
				reply, err := c.read()
				if err == nil {
					err = got(at+i, reply)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		c.settled()
	}
	return nil
}

// close ends the connection. A hop that still listens gets QUIT; its reply is not awaited (RFC 5321 section 4.1.1.10
// asks for that, but the hop loses nothing).
func (c *conn) close() {
	if !c.broken {
		_ = c.nc.SetDeadline(time.Now().Add(time.Second)) // if it fails so does the write
		_, _ = c.nc.Write([]byte("QUIT\r\n"))             // a courtesy, the error is ignored
	}
	c.broken = true
	_ = c.nc.Close() // nothing is lost: all replies that matter were read
}
