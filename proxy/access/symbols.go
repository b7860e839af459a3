package access

import "postern/filters"

// Symbols are those that the POP3 and IMAP doors report of a connection. They have no score, as they judge no message.
func Symbols() []filters.Symbol {
	return []filters.Symbol{
		{Name: "LOGIN_FAILED", Help: "a login failed"},
		{Name: "LOGIN_REFUSED", Help: "a login was not looked at, as a ban or a rule says"},
		{Name: "LOGIN_NEW_NETWORK", Help: "the user has not logged in from this network before"},
		{Name: "LOGIN_APP_PASSWORD", Help: "the user logged in with an app password"},
		{Name: "LESSONS_IGNORED", Help: "what the user moved into Junk or out of it taught nothing"},
		{Name: "BACKEND_AWAY", Help: "no server behind the gateway could be asked"},
		{Name: "BACKEND_MISCONDUCT", Help: "the server behind the gateway said what it must not say"},
		{Name: "TOO_MANY_BAD_COMMANDS", Help: "the client sent commands that are none"},
		{Name: "LITERAL_LIMIT", Help: "the client sent a literal larger than the limit"},
		{Name: "LINE_LIMIT", Help: "the client sent a line longer than the limit"},
		{Name: "NOT_JUDGED", Help: "a message was not handed out, as it could not be judged, stored or kept just then"},
		{Name: "PLAN_LIMIT", Help: "the client asked for parts of more masked messages at once than is remembered of them"},
		{Name: "SASL_GARBAGE", Help: "the client sent credentials that can't be read"},
		{Name: "ALPN_MISMATCH", Help: "the client asked for another protocol in its TLS handshake"},
	}
}
