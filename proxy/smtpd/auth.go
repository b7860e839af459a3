package smtpd

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	"postern/internal/mail"
)

// maxLogins is how many failed logins end a connection.
const maxLogins = 3

// failedLoginDelay is how long it takes until a failed login is answered, the same whatever failed.
const failedLoginDelay = 2 * time.Second

// auth is AUTH: RFC 4954, with PLAIN (RFC 4616) and LOGIN. The password goes to Login and nowhere else.
func (c *session) auth(args string) {
	mechanism, initial, hasInitial := strings.Cut(args, " ")
	switch {
	case c.opt.Login == nil || !c.opt.Extensions.Auth:
		c.fail(replyNotDone())
		return
	case c.mail.Helo == "":
		c.fail(replyNeedHelo())
		return
	case c.mail.User != "" || c.exchange != nil:
		c.fail(reply(503, "5.5.1", "No AUTH now"))
		return
	case !c.canAuth():
		// RFC 4954 section 4: 538 5.7.11 asks for encryption.
		c.fail(reply(538, "5.7.11", "STARTTLS before AUTH"))
		return
	}
	if !c.onlyAfterReply("behind AUTH") {
		return
	}
	var user, password string
	var ok bool
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		user, password, ok = c.authPlain(initial, hasInitial)
	case "LOGIN":
		user, password, ok = c.authLogin(initial, hasInitial)
	default:
		c.fail(reply(504, "5.5.4", "Mechanism not supported, use PLAIN or LOGIN"))
		return
	}
	if ok {
		c.login(user, password)
	}
}

func (c *session) login(user, password string) {
	ctx, cancel := context.WithTimeout(c.ctx, 30*time.Second)
	defer cancel()
	answer := time.NewTimer(failedLoginDelay) // from here on: who is not admitted must not be told by a quicker answer
	defer answer.Stop()
	guard, client := c.opt.Guard, c.mail.Client
	ok, err := false, error(nil)
	admitted := guard == nil || guard.Admit(ctx, client, user)
	if admitted { // who is not hears the same, after the same time
		ok, err = c.opt.Login(ctx, c.mail, user, password)
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
		c.server.log.Error("login could not be checked", "id", c.mail.ID, "error", err)
		c.reply(replyAuthAway())
	case ok:
		c.mail.User = user
		c.commands = 0
		c.reply(reply(235, "2.7.0", "Authentication succeeded"))
	default:
		c.visit.Observe(mail.Finding{Symbol: "AUTH_FAILED", Evidence: printable([]byte(user))})
		select {
		case <-answer.C:
		case <-c.ctx.Done():
		}
		c.fail(replyAuthFailed())
		if c.logins++; c.logins >= maxLogins {
			c.refuseAndEnd(replyTooManyErrors(c.opt.Hostname), "too many failed logins")
		}
	}
}

// authPlain reads authzid NUL authcid NUL password. An authzid other than the authcid is refused: nobody sends for
// somebody else.
func (c *session) authPlain(initial string, has bool) (user, password string, ok bool) {
	if !has {
		if initial, ok = c.challenge(""); !ok {
			return "", "", false
		}
	}
	text, ok := c.decode(initial)
	if !ok {
		return "", "", false
	}
	parts := strings.Split(text, "\x00")
	if len(parts) != 3 || parts[1] == "" || parts[2] == "" || parts[0] != "" && parts[0] != parts[1] {
		c.fail(reply(501, "5.5.2", "Bad PLAIN response"))
		return "", "", false
	}
	return parts[1], parts[2], true
}

func (c *session) authLogin(initial string, has bool) (user, password string, ok bool) {
	if !has {
		if initial, ok = c.challenge("Username:"); !ok {
			return "", "", false
		}
	}
	if user, ok = c.decode(initial); !ok {
		return "", "", false
	}
	answer, ok := c.challenge("Password:")
	if !ok {
		return "", "", false
	}
	if password, ok = c.decode(answer); !ok {
		return "", "", false
	}
	if user == "" || password == "" || strings.ContainsRune(user+password, 0) {
		c.fail(reply(501, "5.5.2", "Bad LOGIN response"))
		return "", "", false
	}
	return user, password, true
}

func (c *session) challenge(text string) (string, bool) {
	c.reply(reply(334, "", base64.StdEncoding.EncodeToString([]byte(text))))
	if !c.flush() {
		return "", false
	}
	line, err := c.readLine(maxAuth)
	if err != nil {
		return "", false
	}
	// RFC 4954 section 4: "*" cancels.
	if line == "*" {
		c.fail(reply(501, "5.7.0", "Authentication cancelled"))
		return "", false
	}
	return line, true
}

func (c *session) decode(text string) (string, bool) {
	if text == "=" { // RFC 4954 section 4: an empty initial response
		return "", true
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		c.fail(reply(501, "5.5.2", "Bad base64"))
		return "", false
	}
	return string(raw), true
}
