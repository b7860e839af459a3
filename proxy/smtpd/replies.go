package smtpd

import (
	"errors"
	"fmt"

	"postern/internal/mail"
)

// These are all replies of the door itself. Those about a message or an address are the gateway's.

func reply(code int, enhanced, text string) mail.Reply {
	return mail.Reply{Code: code, Enhanced: enhanced, Text: text}
}

func replyTooMany(hostname string) mail.Reply {
	return reply(421, "4.7.0", hostname+" too many connections, please try again later")
}

func replyClosing(hostname string) mail.Reply {
	return reply(421, "4.3.2", hostname+" is shutting down, please try again later")
}

func replyOurFault(hostname string) mail.Reply {
	return reply(421, "4.3.0", hostname+" can't go on just now, please try again later")
}

func replyTimeout(hostname string) mail.Reply {
	return reply(421, "4.4.2", hostname+" timed out, closing connection")
}

func replyTooManyErrors(hostname string) mail.Reply {
	return reply(421, "4.7.0", hostname+" too many errors, closing connection")
}

func replyOK() mail.Reply       { return reply(250, "2.0.0", "Ok") }
func replyBye() mail.Reply      { return reply(221, "2.0.0", "Bye") }
func replyUnknown() mail.Reply  { return reply(500, "5.5.2", "Command not recognised") }
func replyNotDone() mail.Reply  { return reply(502, "5.5.1", "Command not implemented") }
func replyLineLong() mail.Reply { return reply(500, "5.5.2", "Line too long") }
func replyNeedMail() mail.Reply { return reply(503, "5.5.1", "MAIL FROM first") }
func replyNeedRcpt() mail.Reply { return reply(503, "5.5.1", "No recipient was accepted") }
func replyNeedHelo() mail.Reply { return reply(503, "5.5.1", "HELO or EHLO first") }
func replyNested() mail.Reply   { return reply(503, "5.5.1", "MAIL FROM was given already") }
func replyGoAhead() mail.Reply  { return reply(354, "", "End data with <CR><LF>.<CR><LF>") }

func replySyntax(want string) mail.Reply {
	return reply(501, "5.5.4", "Syntax error, want: "+want)
}

func replyAddress(sender bool, err error) mail.Reply {
	enhanced := "5.1.3"
	if sender {
		enhanced = "5.1.7"
	}
	// RFC 6531 section 3.5: 553 5.6.7 for a UTF-8 address without SMTPUTF8.
	if errors.Is(err, mail.ErrNeedsSMTPUTF8) {
		return reply(553, "5.6.7", "Address is not ASCII: MAIL FROM must ask for SMTPUTF8")
	}
	return reply(501, enhanced, "Bad address: "+err.Error())
}

func replyParameter(name, why string) mail.Reply {
	return reply(501, "5.5.4", "Bad parameter "+name+": "+why)
}

// RFC 5321 section 4.1.1.11: 555 for a parameter that is not known.
func replyUnknownParameter(name string) mail.Reply {
	return reply(555, "5.5.4", "Parameter not supported: "+name)
}

// RFC 1870 section 6.1.
func replyTooBig(limit int64) mail.Reply {
	return reply(552, "5.3.4", fmt.Sprintf("Message too big, the limit is %d octets", limit))
}

func replyBareLine() mail.Reply {
	return reply(500, "5.5.2", "Lines must end in CRLF, see RFC 5321 section 2.3.8")
}

func replyFlaw(f flaw) mail.Reply {
	return reply(550, "5.6.0", "Message holds a "+f.String()+", which RFC 5321 section 2.3.8 forbids: send lines ended by CRLF only")
}

// RFC 2920 section 3.1: some commands end a group, and nothing may follow before their reply.
func replyEarlyInput() mail.Reply {
	return reply(554, "5.5.0", "Input before our reply: SMTP synchronisation error")
}

func replyTLSFirst() mail.Reply  { return reply(530, "5.7.0", "STARTTLS first") }
func replyAuthFirst() mail.Reply { return reply(530, "5.7.0", "Authentication required") }

// One text for every failed login, whatever failed.
func replyAuthFailed() mail.Reply { return reply(535, "5.7.8", "Authentication failed") }
func replyAuthAway() mail.Reply {
	return reply(454, "4.7.0", "Logins can't be checked just now, please try again later")
}

func replyRecipients(limit int) mail.Reply {
	return reply(452, "4.5.3", fmt.Sprintf("Too many recipients, the limit is %d: send the rest in another message", limit))
}
