package relay

import (
	"errors"
	"fmt"

	"postern/internal/mail"
)

// All replies of our own are made here. The cause goes to the log, never to the peer: RFC 5321 section 7.3 warns of what
// a reply gives away.

func replyUnreachable() mail.Reply {
	return mail.NewReply(451, "4.4.1", "The mail server behind us does not answer just now. Please try again later")
}

func replyBusy() mail.Reply {
	return mail.NewReply(451, "4.3.2", "The mail server behind us has no room for one more connection just now. Please try again later")
}

func replyGarbled() mail.Reply {
	return mail.NewReply(451, "4.5.0", "The mail server behind us answered in a way we can't make sense of. Please try again later")
}

func replyTooSlow() mail.Reply {
	return mail.NewReply(451, "4.4.2", "The mail server behind us took too long. Please try again later")
}

func replyUnknownOutcome() mail.Reply {
	return mail.NewReply(451, "4.4.2", "The mail server behind us did not say whether it has the message. Please try again later")
}

func replyInsecure() mail.Reply {
	return mail.NewReply(451, "4.7.5", "A secure connection to the mail server behind us can't be made just now. Please try again later")
}

// RFC 6531 section 3.5: 553 with 5.6.7 where no way to an SMTPUTF8 server exists.
func replyNoUTF8() mail.Reply {
	return mail.NewReply(553, "5.6.7", "The mail server behind us takes no internationalised addresses (SMTPUTF8)")
}

// RFC 8689 section 5: 5.7.30, REQUIRETLS support required.
func replyNoRequireTLS() mail.Reply {
	return mail.NewReply(550, "5.7.30", "REQUIRETLS was asked for, and the way to the mail server behind us can't promise it")
}

// RFC 6152 section 3; 5.6.3, conversion required but not supported.
func replyNo8Bit() mail.Reply {
	return mail.NewReply(554, "5.6.3", "The next mail server takes no 8-bit text (8BITMIME). Send it as quoted-printable or base64")
}

// RFC 3030 section 3: binary content must not be sent by DATA; 5.6.3, conversion required but not supported.
func replyBinary() mail.Reply {
	return mail.NewReply(554, "5.6.3", "The mail server behind us takes no binary content (BINARYMIME)")
}

// Errors of a connection, for this package and the log.
var (
	errGarbled  = errors.New("malformed reply")
	errInjected = errors.New("octets behind a reply that nobody asked for")
	errInsecure = errors.New("no secure connection")
	errBusy     = errors.New("all connections are in use")
	errProbing  = errors.New("the hop is down")
	errResting  = errors.New("the hop did not answer a moment ago")
	errNoRoute  = errors.New("no such route")
	errGone     = errors.New("the hop ended the dialogue")
)

// refusal is a reply of the hop that keeps us from going on, where no recipient is to blame.
type refusal struct {
	step  string
	reply mail.Reply
}

func (r *refusal) Error() string { return fmt.Sprintf("%s: %s", r.step, r.reply) }

func replyUnwelcome() mail.Reply {
	return mail.NewReply(451, "4.7.0", "The mail server behind us does not let us in just now. Please try again later")
}

// endsSession reports whether a reply ends our session with the hop but is not about the mail: 421 (RFC 5321 section
// 3.8), and 530 and 538, which ask us for TLS or a login (RFC 3207 section 4, RFC 4954 section 6). Those are faults of
// our settings, so no sender may get 5xx for them.
func endsSession(r mail.Reply) bool { return r.Code == 421 || r.Code == 530 || r.Code == 538 }

// replyFor gives the reply for a connection that failed before the message was sent. It is always a 4xx. Away is set
// where the hop is unavailable: down, silent, sending garbage, replying 421 or refusing all connections. A hop at its
// connection limit is not away.
func replyFor(err error) mail.Reply {
	reply := wordsFor(err)
	reply.Away = !errors.Is(err, errBusy)
	return reply
}

func wordsFor(err error) mail.Reply {
	var refused *refusal
	switch {
	case errors.As(err, &refused) && refused.reply.Code == 421:
		// RFC 5321 section 3.8: 421 ends the hop's session, not ours; its text still applies.
		reply := mail.NewReply(451, "4.3.2", "%s", refused.reply.Text)
		if refused.reply.Enhanced != "" {
			reply.Enhanced = refused.reply.Enhanced
		}
		return reply
	case refused != nil && endsSession(refused.reply):
		return replyUnwelcome()
	case errors.Is(err, errBusy):
		return replyBusy()
	case errors.Is(err, errInsecure):
		return replyInsecure()
	case errors.Is(err, errGarbled), errors.Is(err, errInjected):
		return replyGarbled()
	case isTimeout(err):
		return replyTooSlow()
	}
	return replyUnreachable()
}
