package smtpd

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/proxy"
	"postern/proxy/frame"
	"postern/proxy/line"
)

// maxCommand is the longest command line, RFC 5321 section 4.5.3.1.4 with room for the parameters that extensions add;
// maxAuth that of SASL, RFC 4954 section 4.
const (
	maxCommand = 2048
	maxAuth    = 12288
)

// session is one client's connection at the door.
type session struct {
	*frame.Session
	server     *Server
	opt        *Options
	out        *line.Writer // replies wait in it to be sent in one write
	oldest     time.Time    // since when the first of them does
	connection *proxy.Connection

	caller     netip.Addr // the client before any XCLIENT
	clientPort uint16

	transaction *proxy.Transaction // the transaction under way, nil for none
	chunks      *chunked           // its BDAT chunks, nil for none

	bareLine bool // the command under way was ended by a bare LF

	offered *proxy.Extensions // what the hops could do at EHLO, nil before

	errors, commands, logins int
}

// Run implements frame.Dialogue.
func (c *session) Run() {
	defer c.Close()
	c.connection = c.server.gateway.Connection(c.Ctx, c.Mail)
	c.Guard(c.server.log, c.speak, c.sorry)
	c.reset(c.End())
	c.connection.End(c.End())
}

// speak is the dialogue from the greeting on.
func (c *session) speak() {
	if c.opt.Implicit && !c.handshake() || !c.greet() {
		return
	}
	for !c.Ended() {
		c.command()
	}
	c.flush()
}

// sorry ends a session in which we failed: the client keeps its message, and no other session is affected.
func (c *session) sorry() {
	c.refuseAndEnd(replyOurFault(c.opt.Hostname), "internal error")
}

// greet waits for clients that talk first, then sends the greeting of RFC 5321 section 4.2.
func (c *session) greet() bool {
	c.In.Idle = max(c.opt.GreetDelay, time.Millisecond)
	early := false
	if c.opt.GreetDelay > 0 {
		early = c.In.Fill() == nil
	}
	c.In.Idle = c.opt.Idle
	if early {
		c.connection.Observe(mail.Finding{Symbol: "EARLY_TALKER", Evidence: c.early()})
		if !c.opt.ReportEarlyInput {
			c.refuseAndEnd(replyEarlyInput(), "talked before the greeting")
			return false
		}
	}
	r := c.connection.Connect(c.Ctx)
	if r.Code != 220 {
		c.refuseAndEnd(r, "refused at connect")
		return false
	}
	c.reply(r)
	return true
}

// command reads and answers one command.
func (c *session) command() {
	c.In.Rest()
	if c.In.Buffered() == 0 && !c.flush() {
		return
	}
	limit := maxCommand
	if c.canAuth() {
		limit = maxAuth
	}
	c.Await(c.transaction == nil)
	line, err := c.readLine(limit)
	c.Await(false)
	if err == nil {
		c.obey(line)
	}
	if c.transaction == nil {
		c.commands++
	}
	if !c.Ended() && (c.errors > c.opt.MaxErrors || c.commands > c.opt.MaxCommands) {
		c.refuseAndEnd(replyTooManyErrors(c.opt.Hostname), "too many errors")
	}
}

func (c *session) obey(line string) {
	verb, args, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	if run, ok := c.verb(verb); ok {
		run(args)
	} else if isChunk(line) {
		c.refuseAndEnd(replySyntax("BDAT octets [LAST]"), "unreadable BDAT")
	} else if isHTTP(verb) {
		if c.suspect("HTTP_COMMAND", verb) {
			c.refuseAndEnd(replyUnknown(), "spoke HTTP")
		}
	} else if c.suspect("NON_SMTP_COMMAND", strconv.Itoa(len(line))+" octets") { // not its text: it may be a password that went astray
		c.fail(replyUnknown())
	}
}

// suspect reports what gives a robot away, the first of its kind in a session, and asks policy. It says whether the
// session goes on.
func (c *session) suspect(symbol, evidence string) bool {
	if _, known := mail.Find(c.Mail.Findings, symbol); known {
		return true
	}
	c.connection.Observe(mail.Finding{Symbol: symbol, Evidence: evidence})
	r, ok := c.connection.Decide()
	if !ok {
		c.refuseAndEnd(r, "refused by policy: "+symbol)
	}
	return ok
}

// verb finds what a command does. RFC 5321 section 4.1.1 and the extensions' own.
func (c *session) verb(verb string) (func(args string), bool) {
	switch verb {
	case "HELO":
		return c.helo, true
	case "EHLO":
		return c.ehlo, true
	case "MAIL":
		return c.mailFrom, true
	case "RCPT":
		return c.rcptTo, true
	case "DATA":
		return c.data, true
	case "RSET":
		return c.rset, true
	case "NOOP":
		return func(string) { c.idle(replyOK()) }, true
	case "QUIT":
		return c.quit, true
	case "VRFY":
		// RFC 5321 section 3.5.3: 252 does not disclose which users exist.
		return func(string) { c.fail(reply(252, "2.5.0", "Cannot verify, send the message and see")) }, true
	case "HELP":
		return func(string) { c.idle(reply(214, "2.0.0", "See RFC 5321")) }, true
	case "EXPN", "ETRN", "TURN", "ATRN", "SEND", "SOML", "SAML":
		return func(string) { c.fail(replyNotDone()) }, true
	}

	return c.extension(verb)
}

// extension finds what a command of an extension does.
func (c *session) extension(verb string) (func(args string), bool) {
	switch verb {
	case "BDAT":
		return c.bdat, c.opt.Extensions.Chunking
	case "STARTTLS":
		return c.startTLS, true
	case "AUTH":
		return c.auth, true
	case "XCLIENT":
		return c.xclient, len(c.opt.XClient) > 0
	}

	return nil, false
}

// idle answers a command that brings nothing further; it counts within a transaction too.
func (c *session) idle(r mail.Reply) {
	if c.transaction != nil {
		c.commands++
	}
	c.reply(r)
}

// isChunk reports whether the client may have meant a line as BDAT. What follows one that can't be read, or that was
// not offered, is message text, and must never be read as commands (RFC 3030 section 2): the connection ends.
func isChunk(line string) bool { return len(line) >= 4 && strings.EqualFold(line[:4], "BDAT") }

func isHTTP(verb string) bool {
	switch verb {
	case "GET", "POST", "PUT", "HEAD", "CONNECT", "OPTIONS", "DELETE", "PATCH", "TRACE", "PRI":
		return true
	}
	return strings.HasPrefix(verb, "HOST:") || strings.HasPrefix(verb, "USER-AGENT:")
}

// normalises says whether bare line ends of this client are mended, not refused.
func (c *session) normalises() bool {
	return c.opt.NormaliseLines || contains(c.opt.NormaliseFrom, c.Mail.Client)
}

// lineTime is how long a command line may take. The five minutes of RFC 5321 section 4.5.3.2.7 are for the wait between
// two commands: a line itself takes far less.
const lineTime = time.Minute

// maxJunk is how much of an endless line is read before the connection is given up, in octets.
const maxJunk = 256 << 10

// errAnswered means that a line is not a command, and that the error reply was sent.
var errAnswered = errors.New("the line was answered")

// readLine reads one line of up to limit octets, its end included, and answers what is wrong with it. After any error but
// a long line the connection is over.
func (c *session) readLine(limit int) (string, error) {
	rules := line.Rules{Limit: limit - 2, Ends: line.CRLF, Skip: maxJunk, Time: min(c.opt.Idle, lineTime)}
	if c.normalises() {
		rules.Ends = line.Lenient
	}
	octets, err := c.In.Line(rules)
	text := string(octets)
	switch {
	case err == nil:
		return text, c.fit(text)
	case errors.Is(err, line.ErrLimit) && isChunk(c.In.Front()):
		c.refuseAndEnd(replySyntax("BDAT octets [LAST]"), "unreadable BDAT")
	case errors.Is(err, line.ErrLimit):
		c.fail(replyLineLong())
	case errors.Is(err, line.ErrBare):
		// what a lone LF parts is read as one line by some and as two by others
		c.connection.Observe(mail.Finding{Symbol: "BARE_LF_COMMAND"})
		c.refuseAndEnd(replyBareLine(), "bare LF in a command")
	case errors.Is(err, line.ErrEndless):
		c.refuseAndEnd(replyLineLong(), "endless line")
	default:
		c.lost(err)
	}
	return "", err
}

// fit says whether a line can be a command at all, and answers it if not.
func (c *session) fit(text string) error {
	if strings.IndexByte(text, 0) >= 0 {
		if isChunk(text) {
			c.refuseAndEnd(replySyntax("BDAT octets [LAST]"), "unreadable BDAT")
		} else {
			c.fail(replyUnknown())
		}
		return errAnswered
	}

	c.bareLine = c.In.Bare()
	if c.bareLine && !c.suspect("BARE_LF_COMMAND", "") {
		return errAnswered
	}

	return nil
}

// lost ends the session after a read error.
func (c *session) lost(err error) {
	switch {
	case c.Hurried():
		c.refuseAndEnd(replyClosing(c.opt.Hostname), "shutdown")
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.refuseAndEnd(replyTimeout(c.opt.Hostname), "timed out")
	default:
		c.Finish("client closed the connection")
	}
}

// reply puts a reply behind those that wait; they go out together when the client's next command is not there yet.
func (c *session) reply(r mail.Reply) {
	if !c.opt.Extensions.EnhancedStatusCodes {
		r.Enhanced = ""
	}
	id := c.Mail.ID
	if c.transaction != nil {
		id = c.transaction.ID()
	}
	if c.out.Buffered() == 0 {
		c.oldest = time.Now()
	}
	c.out.Put(r.WithID(id).AppendWire(nil))
	if r.Code == 421 && !c.Ended() { // RFC 5321 section 3.8: it says that the connection ends
		c.Finish("dropped: " + r.Text)
	}
	if c.out.Buffered() > maxWaiting || time.Since(c.oldest) > maxHeldBack {
		c.flush()
	}
}

// maxWaiting is how many octets of replies wait.
const maxWaiting = 24 << 10

// maxHeldBack is how long a reply may wait for those behind it. Where the next hop is slow to answer for a recipient, a
// client that pipelined hundreds must not run into its timeout: RFC 5321 section 4.5.3.2.3 lets it wait 5 minutes.
const maxHeldBack = 2 * time.Second

// fail replies and counts an error of the client.
func (c *session) fail(r mail.Reply) {
	c.errors++
	c.reply(r)
}

// refuseAndEnd replies and ends the connection: nothing that follows is read.
func (c *session) refuseAndEnd(r mail.Reply, how string) {
	c.Finish(how)
	c.reply(r)
	c.flush()
}

// flush sends the replies that wait. It says whether the connection still stands.
func (c *session) flush() bool {
	if c.out.Buffered() == 0 {
		return !c.Ended()
	}
	c.tarpit()
	if err := c.out.Flush(); err != nil && !c.Ended() {
		c.Finish("client does not read")
	}
	return !c.Ended()
}

// tarpit delays a client as policy asks: not while connections are scarce, as the client holds one, nor when the door
// closes.
func (c *session) tarpit() {
	if c.opt.Tarpit <= 0 || c.connection == nil || !c.connection.Tarpit() {
		return
	}
	for end := time.Now().Add(c.opt.Tarpit); !c.Hurried() && (c.opt.Pressed == nil || !c.opt.Pressed()); {
		left := time.Until(end)
		if left <= 0 {
			return
		}
		select {
		case <-time.After(min(left, tarpitLook)):
		case <-c.Ctx.Done():
			return
		}
	}
}

// tarpitLook is how often a client's wait is checked.
const tarpitLook = 500 * time.Millisecond

// onlyAfterReply answers input that came before our reply to a command that must be the last of its group.
func (c *session) onlyAfterReply(evidence string) bool {
	if c.In.Buffered() == 0 {
		return true
	}
	if c.opt.ReportEarlyInput {
		return c.suspect("EARLY_INPUT", evidence)
	}
	c.connection.Observe(mail.Finding{Symbol: "EARLY_INPUT", Evidence: evidence})
	c.refuseAndEnd(replyEarlyInput(), "input before our reply")
	return false
}

// RFC 5321 section 4.1.1.5: RSET and QUIT (section 4.1.1.10) have no parameters.
func (c *session) rset(args string) {
	if args != "" {
		c.fail(replySyntax("RSET"))
		return
	}
	c.reset("RSET")
	c.reply(replyOK())
}

func (c *session) quit(args string) {
	if args != "" {
		c.fail(replySyntax("QUIT"))
		return
	}
	c.reset("QUIT")
	c.reply(replyBye())
	c.Finish("QUIT")
}

// reset drops the transaction under way.
func (c *session) reset(why string) {
	if c.chunks != nil {
		c.chunks.discard()
		c.chunks = nil
	}
	if c.transaction != nil {
		c.transaction.Close(why)
		c.transaction = nil
	}
}

// handshakeTime is how long a handshake may take.
const handshakeTime = 30 * time.Second

func (c *session) handshake() bool {
	config, offered := hearing(c.opt.TLS)
	t, err := c.Handshake(config, time.Now().Add(handshakeTime))
	if err != nil {
		c.Finish("TLS handshake failed: " + err.Error() + offered())
		return false
	}
	c.out.Attach(t)
	return true
}

// early is what came before its time, fit for evidence: without what stands behind AUTH, which may be a password.
func (c *session) early() string {
	b := c.In.Arrived()
	for i := 0; i+4 <= len(b); i++ {
		if bytes.EqualFold(b[i:i+4], []byte("AUTH")) {
			return printable(b[:min(i, 70)]) + "AUTH ..."
		}
	}
	return printable(b)
}

// printable is a short form of octets from outside, fit for evidence.
func printable(b []byte) string {
	const limit = 80
	if len(b) > limit {
		b = b[:limit]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return '.'
		}
		return r
	}, string(b))
}
