package pop3d

import "strings"

// All that the door says by itself stands here. None of it repeats what the client said.

// RFC 2449 section 8 and RFC 3206: the codes in brackets.
const (
	replyTooMany     = "-ERR [SYS/TEMP] Too many connections, please try again later.\r\n"
	replyClosing     = "-ERR [SYS/TEMP] Shutting down, please try again later.\r\n"
	replyIdle        = "-ERR Disconnected for inactivity.\r\n"
	replyLongLine    = "-ERR Line too long.\r\n"
	replyBareLine    = "-ERR Lines must end in CRLF.\r\n"
	replyBye         = "+OK Logging out.\r\n"
	replyUnknown     = "-ERR Unknown command.\r\n"
	replySyntax      = "-ERR Invalid arguments.\r\n"
	replyTooManyBad  = "-ERR Too many bad commands.\r\n"
	replyNoAPOP      = "-ERR APOP is not supported, use AUTH or USER.\r\n"
	replyUserFirst   = "-ERR USER first.\r\n"
	replyUser        = "+OK\r\n"
	replyUTF8        = "+OK UTF8\r\n"
	replyBeginTLS    = "+OK Begin TLS negotiation now.\r\n"
	replyNoTLS       = "-ERR TLS is not available now.\r\n"
	replyTLSFirst    = "-ERR [AUTH] Plaintext authentication disallowed on connections without TLS.\r\n"
	replyLoggedIn    = "+OK Logged in.\r\n"
	replyNoMechanism = "-ERR Unsupported authentication mechanism.\r\n"
	replyCancelled   = "-ERR Authentication aborted by client.\r\n"
	replyGarbage     = "-ERR Invalid credentials in AUTH.\r\n"
	replyLoggedOut   = "-ERR [SYS/TEMP] The connection to the server is lost.\r\n"
	replyLater       = "-ERR [SYS/TEMP] The message can't be checked just now, please try again later.\r\n"
	replyFetched     = "+OK\r\n"
	// RFC 3206 section 4: one text for every refused login, whatever the cause.
	replyAuthFailed = "-ERR [AUTH] Authentication failed.\r\n"
	replyAuthAway   = "-ERR [SYS/TEMP] Logins can't be checked just now, please try again later.\r\n"
)

func greeting(hostname string) string { return "+OK " + hostname + " POP3 ready.\r\n" }

// capabilities lists what a client can use: RFC 2449 section 5.
func capabilities(all []string) string {
	return "+OK\r\n" + strings.Join(all, "\r\n") + "\r\n.\r\n"
}
