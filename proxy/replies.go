package proxy

import (
	"fmt"

	"postern/internal/mail"
	"postern/internal/mimeview/recode"
)

// These are the gateway's own replies; replies about a verdict are made by policy, those of the next hop pass through.

func replyGreeting(hostname string) mail.Reply {
	return mail.Reply{Code: 220, Text: hostname + " ESMTP Postern"}
}
func replySenderOK() mail.Reply { return mail.Reply{Code: 250, Enhanced: "2.1.0", Text: "Sender ok"} }
func replyHelloOK() mail.Reply  { return mail.Reply{Code: 250} }

// replyTaken is the reply for a held message: the sender learns only that it was accepted.
func replyTaken(id string) mail.Reply {
	return mail.Reply{Code: 250, Enhanced: "2.0.0", Text: "Ok: taken as " + id}
}

// RFC 3463 section 3.8: 5.7.1, delivery not authorised.
func replyNoRelay() mail.Reply {
	return mail.Reply{Code: 550, Enhanced: "5.7.1", Text: "We do not take mail for this domain. Check the address, or log in if you are one of our users"}
}

func replyNoRouting() mail.Reply {
	return mail.Reply{Code: 550, Enhanced: "5.7.1", Text: "Addresses that carry a route (user%domain, domain!user, \"user@domain\"@domain) are not accepted"}
}

// replyTooLong tells our own users why their mail can't be sent.
func replyTooLong(octets int, where string) mail.Reply {
	return mail.Reply{Code: 554, Enhanced: "5.6.0", Text: fmt.Sprintf("The %s of your message has a line of %d octets, %d are the most that mail may have, and it can't be broken for you: it is signed, or has no space in it. "+
		"Send it as an attachment, or let your mail program wrap its lines", where, octets, recode.MaxLine)}
}

// RFC 3463 section 3.2: 5.1.1, no such mailbox. To others a report address is none.
func replyNoSuchUser() mail.Reply {
	return mail.Reply{Code: 550, Enhanced: "5.1.1", Text: "There is no such user here"}
}

// replyReportApart keeps reports and other mail apart: a client sends the message once more for the recipients that get this (RFC
// 5321 section 4.5.3.1.10).
func replyReportApart() mail.Reply {
	return mail.Reply{Code: 452, Enhanced: "4.5.3", Text: "Reports to the mail gateway are sent apart from other mail"}
}

// replyLearned tells what became of a report.
func replyLearned(n int, spam bool) mail.Reply {
	what := "honest mail"
	if spam {
		what = "spam"
	}

	return mail.Reply{Code: 250, Enhanced: "2.0.0", Text: fmt.Sprintf("Thank you: noted as %s: %d", what, n)}
}

// replyNothingReported tells how to send a report. RFC 3463 section 3.7: 5.6.0, the content is at fault.
func replyNothingReported(why error) mail.Reply {
	return mail.Reply{Code: 550, Enhanced: "5.6.0", Text: "Nothing was learned: " + why.Error() + ". Forward the message as an attachment (message/rfc822 or a file .eml)"}
}

func replyNoSmartHost() mail.Reply {
	return mail.Reply{Code: 550, Enhanced: "5.7.1", Text: "No route for mail to other domains is set up here"}
}

func replyTakenBefore() mail.Reply {
	return mail.Reply{Code: 250, Enhanced: "2.1.5", Text: "Recipient ok"}
}

func replyQueuedRcpt() mail.Reply {
	return mail.Reply{Code: 250, Enhanced: "2.1.5", Text: "Recipient ok, will be delivered when the mail server is back"}
}
