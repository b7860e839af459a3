package smtpd

import (
	"context"
	"errors"
	"net"
	"time"

	"postern/internal/mail"
	"postern/proxy/sasl"
)

// maxLogins is how many failed logins end a connection.
const maxLogins = 3

// failedLoginDelay is how long it takes until a failed login is answered, the same whatever failed.
const failedLoginDelay = 2 * time.Second

// auth is AUTH: RFC 4954, with PLAIN (RFC 4616) and LOGIN. The password goes to Login and nowhere else.
func (c *session) auth(args string) {
	if r, ok := c.mayAuth(); !ok {
		c.fail(r)
		return
	}
	if !c.onlyAfterReply("behind AUTH") {
		return
	}
	x := sasl.Begin(args)
	if x.Mechanism != sasl.Plain && x.Mechanism != sasl.Login {
		c.fail(reply(504, "5.5.4", "Mechanism not supported, use PLAIN or LOGIN"))
		return
	}

	x.Challenge = c.challenge
	found, err := x.Credentials()
	switch {
	case errors.Is(err, sasl.ErrCancelled):
		c.fail(reply(501, "5.7.0", "Authentication cancelled"))
	case errors.Is(err, sasl.ErrBase64):
		c.fail(reply(501, "5.5.2", "Bad base64"))
	case errors.Is(err, sasl.ErrCredentials), err == nil && !complete(found):
		c.fail(reply(501, "5.5.2", "Bad "+x.Mechanism+" response"))
	case err == nil:
		c.login(found.User, found.Password)
	}
}

// complete reports whether credentials can be checked: an authzid of another user is refused.
func complete(c sasl.Credentials) bool {
	return c.Password != "" && (c.Authzid == "" || c.Authzid == c.User)
}

// mayAuth says whether AUTH has its place now, and what to answer if not.
func (c *session) mayAuth() (mail.Reply, bool) {
	switch {
	case c.opt.Login == nil || !c.opt.Extensions.Auth:
		return replyNotDone(), false
	case c.Mail.Helo == "":
		return replyNeedHelo(), false
	case c.Mail.User != "" || c.transaction != nil:
		return reply(503, "5.5.1", "No AUTH now"), false
	case !c.canAuth():
		// RFC 4954 section 4: 538 5.7.11 asks for encryption.
		return reply(538, "5.7.11", "STARTTLS before AUTH"), false
	}

	return mail.Reply{}, true
}

func (c *session) login(user, password string) {
	ctx, cancel := context.WithTimeout(c.Ctx, 30*time.Second)
	defer cancel()
	answer := time.NewTimer(failedLoginDelay) // counted from here: a ban must not show by a faster answer
	defer answer.Stop()
	guard, client := c.opt.Guard, c.Mail.Client
	ok, err := false, error(nil)
	admitted := guard == nil || guard.Admit(ctx, client, user)
	if admitted { // a banned client gets the same answer, after the same time
		ok, err = c.opt.Login(ctx, c.Mail, user, password)
	}
	if guard != nil && admitted && err == nil {
		if ok {
			guard.Passed(ctx, client, user)
		} else {
			guard.Failed(ctx, client, user, password)
		}
	}
	switch {
	case err != nil:
		c.server.log.Error("login could not be checked", "id", c.Mail.ID, "error", err)
		c.reply(replyAuthAway())
	case ok:
		c.Mail.User = user
		c.commands = 0
		c.reply(reply(235, "2.7.0", "Authentication succeeded"))
	default:
		c.connection.Observe(mail.Finding{Symbol: "AUTH_FAILED", Evidence: printable([]byte(user))})
		select {
		case <-answer.C:
		case <-c.Ctx.Done():
		}
		c.fail(replyAuthFailed())
		if c.logins++; c.logins >= maxLogins {
			c.refuseAndEnd(replyTooManyErrors(c.opt.Hostname), "too many failed logins")
		}
	}
}

// challenge sends a challenge and reads the client's line. What is wrong with the line was answered.
func (c *session) challenge(text string) (string, error) {
	c.reply(reply(334, "", text))
	if !c.flush() {
		return "", net.ErrClosed
	}
	return c.readLine(maxAuth)
}
