package imapd

import "strings"

// All that the door says of itself stands here. Nothing of what a client sent is ever repeated but its tag.

const (
	byeBadCommands  = "* BYE Too many invalid IMAP commands.\r\n"
	byeLineLimit    = "* BYE [LIMIT] Line too long.\r\n"
	byeLiteralLimit = "* BYE [LIMIT] Literal size too large.\r\n"
	byeBareLine     = "* BYE Lines must end in CRLF and hold no NUL.\r\n"
	byeSyntax       = "* BYE Error in IMAP command before a literal.\r\n"
	byeIdle         = "* BYE Disconnected for inactivity.\r\n"
	byeFault        = "* BYE [UNAVAILABLE] Internal error, please try again later.\r\n"
	byeMisconduct   = "* BYE [UNAVAILABLE] The mail server's answer can't be understood.\r\n"
	byeSilent       = "* BYE [UNAVAILABLE] The mail server does not answer.\r\n"
	byeGone         = "* BYE [UNAVAILABLE] The connection to the mail server is lost.\r\n"
	byeLogout       = "* BYE Logging out\r\n"
	goAhead         = "+ OK\r\n"
	// RFC 5530 section 3: the text of NO where something is away.
	later = "[UNAVAILABLE] Messages can't be checked just now, please try again later."
	// RFC 9585 section 4: the time that it takes is not to be mistaken for a dead connection.
	inProgress = "* OK [INPROGRESS] Still working on it.\r\n"
)

func byeTooMany(hostname string) string {
	return "* BYE [UNAVAILABLE] " + hostname + " can't serve this connection, please try again later.\r\n"
}

func byeClosing(hostname string) string {
	return "* BYE [UNAVAILABLE] " + hostname + " is shutting down.\r\n"
}

// RFC 9051 section 7.1: the greeting, with the capabilities as its response code.
func greeting(hostname string, capabilities []string) string {
	return "* OK [CAPABILITY " + strings.Join(capabilities, " ") + "] " + hostname + " ready.\r\n"
}

func untaggedCapability(capabilities []string) string {
	return "* CAPABILITY " + strings.Join(capabilities, " ") + "\r\n"
}

func ok(tag, text string) string { return tag + " OK " + text + "\r\n" }
func no(tag, text string) string { return tag + " NO " + text + "\r\n" }

// bad refuses a command that can't be understood; without a tag that may be repeated it is untagged.
func bad(tag, text string) string {
	if tag == "" {
		tag = "*"
	}
	return tag + " BAD " + text + "\r\n"
}

// loggedIn tells the capabilities if the server behind told them; a client asks if it wants to know.
func loggedIn(tag string, c capabilities) string {
	if c == nil {
		return ok(tag, "Logged in")
	}
	return ok(tag, "[CAPABILITY "+strings.Join(c.shown(), " ")+"] Logged in")
}

// One text for every refused login, whatever refused it. RFC 5530 section 3.
func loginRefused(tag string) string {
	return no(tag, "[AUTHENTICATIONFAILED] Authentication failed.")
}

func loginAway(tag string) string {
	return no(tag, "[UNAVAILABLE] Logins can't be checked just now, please try again later.")
}

func loginInClear(tag string) string {
	return no(tag, "[PRIVACYREQUIRED] Logins in the clear are not allowed, use TLS.")
}

func tooBig(tag string) string { return no(tag, "[TOOBIG] The message is larger than the limit.") }

func literalTooBig(tag string) string { return no(tag, "[LIMIT] Literal size too large.") }

func tooMany(tag string) string {
	return no(tag, "[LIMIT] Too many such messages at once, please ask for fewer.")
}

func notOffered(tag string) string { return bad(tag, "Error in IMAP command: Unknown command.") }

func badArguments(tag string) string { return bad(tag, "Error in IMAP command: Invalid arguments.") }
