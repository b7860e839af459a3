package smtpd

import (
	"strconv"
	"strings"
	"time"

	"postern/internal/mail"
)

// data is DATA: RFC 5321 section 4.1.1.4. It ends a group of pipelined commands (RFC 2920 section 3.1).
func (c *session) data(args string) {
	switch {
	case args != "":
		c.fail(replySyntax("DATA"))
		return
	case c.transaction == nil:
		c.fail(replyNeedMail())
		return
	case c.chunks != nil:
		c.fail(reply(503, "5.5.1", "DATA after BDAT"))
		return
	}
	if !c.onlyAfterReply(c.early()) {
		return
	}
	if c.transaction.Recipients() == 0 {
		c.fail(replyNeedRcpt())
		return
	}
	c.reply(replyGoAhead())
	if !c.flush() {
		return
	}
	body := &chunked{spool: mail.Spool{Dir: c.opt.SpoolDir}}
	body.lines = normaliser{out: &body.spool, dots: true, limit: c.maxSize()}
	if c.receive(body, -1) {
		c.finish(body)
	} else {
		body.discard()
	}
}

// chunked is a message on its way in.
type chunked struct {
	spool mail.Spool
	lines normaliser
	count int
}

func (b *chunked) discard() { b.spool.Discard() }

// receive takes message octets in: up to the end of data if n is negative, else n octets. A read error or a stall ends
// the connection, and what came so far is forgotten (RFC 5321 section 4.1.1.4: only complete mail data is processed).
func (c *session) receive(b *chunked, n int64) bool {
	total := c.In.Cap
	c.In.Widen()
	defer func() {
		c.In.Rest()
		c.In.Cap = total
	}()
	start := time.Now()
	for n != 0 {
		allowed := start.Add(c.opt.MessageTime + time.Duration(b.lines.size/c.opt.MinRate)*time.Second)
		if total.IsZero() || allowed.Before(total) {
			c.In.Cap = allowed
		}
		octets, err := c.In.Peek()
		if err != nil {
			c.lost(err)
			return false
		}
		if n > 0 && int64(len(octets)) > n {
			octets = octets[:n]
		}
		used, end := b.lines.take(octets)
		c.In.Discard(used)
		if n > 0 {
			n -= int64(used)
		}
		if end {
			return true
		}
		// RFC 5321 section 4.5.3.1.9 lets a server end the connection; within reason the rest is read and refused.
		if b.lines.size > 2*c.opt.MaxSize+(64<<20) {
			c.refuseAndEnd(replyTooBig(c.maxSize()), "message without end")
			return false
		}
	}
	return true
}

// maxChunks bounds the BDAT commands of one message.
const maxChunks = 100_000

// bdat is BDAT: RFC 3030 section 2. Whatever is wrong with it, its octets are read and thrown away, or the connection
// ends: they are never read as commands.
func (c *session) bdat(args string) {
	n, last, ok := chunkArgs(args)
	if !ok {
		c.refuseAndEnd(replySyntax("BDAT octets [LAST]"), "bad BDAT")
		return
	}
	switch {
	case c.transaction == nil:
		c.discardChunk(n, replyNeedMail())
		return
	case c.transaction.Recipients() == 0:
		c.discardChunk(n, replyNeedRcpt())
		return
	}
	if c.chunks == nil {
		c.chunks = &chunked{spool: mail.Spool{Dir: c.opt.SpoolDir}}
		c.chunks.lines = normaliser{out: &c.chunks.spool, limit: c.maxSize()}
	}
	b := c.chunks
	if b.count++; b.count > maxChunks {
		c.refuseAndEnd(replyTooManyErrors(c.opt.Hostname), "too many chunks")
		return
	}
	if n > 0 && !c.receive(b, n) {
		return
	}
	if b.lines.tooBig() {
		c.fail(replyTooBig(c.maxSize()))
		c.reset("message too big")
		return
	}
	if !last {
		c.reply(reply(250, "2.0.0", strconv.FormatInt(n, 10)+" octets received"))
		return
	}
	c.chunks = nil
	b.lines.finish()
	c.finish(b)
}

func chunkArgs(args string) (n int64, last, ok bool) {
	size, flag, more := strings.Cut(args, " ")
	if more && !strings.EqualFold(flag, "LAST") || !isDigits(size) || len(size) > 12 {
		return 0, false, false
	}
	n, err := strconv.ParseInt(size, 10, 64)
	return n, more, err == nil
}

// discardChunk reads a chunk that has no place, and refuses it.
func (c *session) discardChunk(n int64, r mail.Reply) {
	if n > c.opt.MaxSize {
		c.refuseAndEnd(r, "BDAT out of order")
		return
	}
	nothing := &chunked{}
	nothing.lines = normaliser{out: &nothing.spool, limit: -1}
	if n > 0 && !c.receive(nothing, n) {
		return
	}
	c.fail(r)
}

// finish hands a complete message to the gateway and gives its answer.
func (c *session) finish(b *chunked) {
	x := c.transaction
	r := c.judge(b)
	// whatever the answer, the transaction is over: RFC 5321 section 4.1.1.4
	if r.Positive() {
		c.errors, c.commands = 0, 0 // a client that brings real mail starts anew
		c.reply(r)
	} else {
		c.fail(r)
	}
	c.transaction = nil
	x.Close("answered")
	if r.Positive() {
		// RFC 2920 section 3.2: a reply that takes responsibility for mail is not held back for later ones. If the line
		// breaks now, the client would send it again.
		c.flush()
	}
}

func (c *session) judge(b *chunked) mail.Reply {
	l := &b.lines
	switch {
	case l.tooBig():
		b.discard()
		return c.transaction.Refuse(mail.Finding{Symbol: "SIZE_LIMIT", Evidence: strconv.FormatInt(l.size, 10) + " octets"}, replyTooBig(c.maxSize()))
	case l.flaws != 0 && !c.normalises():
		b.discard()
		return c.transaction.Refuse(mail.Finding{Symbol: "BARE_LINE_END", Evidence: l.flaws.String()}, replyFlaw(l.flaws))
	case l.broken != nil:
		c.server.log.Error("spool", "id", c.transaction.ID(), "error", l.broken)
		b.discard()
		return c.transaction.Refuse(mail.Finding{Symbol: "SPOOL_FAILED"}, mail.TryLater())
	}
	if l.flaws != 0 {
		c.transaction.Observe(mail.Finding{Symbol: "BARE_LINE_END", Evidence: l.flaws.String()})
	}
	message, err := b.spool.Finish()
	if err != nil {
		c.server.log.Error("spool", "id", c.transaction.ID(), "error", err)
		return c.transaction.Refuse(mail.Finding{Symbol: "SPOOL_FAILED"}, mail.TryLater())
	}
	defer message.Close()
	return c.server.gateway.Handle(c.Ctx, c.transaction, message)
}
