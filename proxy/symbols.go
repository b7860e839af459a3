package proxy

import "postern/filters"

// Symbols are those that the doors report themselves, without a filter.
func Symbols() []filters.Symbol {
	return []filters.Symbol{
		{Name: "EARLY_TALKER", Score: 4, Help: "the client talked before it was greeted"},
		{Name: "EARLY_INPUT", Score: 4, Help: "the client sent input where it had to wait for a reply"},
		{Name: "HTTP_COMMAND", Score: 8, Help: "the client spoke HTTP"},
		{Name: "NON_SMTP_COMMAND", Score: 1, Help: "the client sent a line that is no SMTP command"},
		{Name: "BARE_LF_COMMAND", Score: 3, Help: "the client ended a command with a bare LF"},
		{Name: "STARTTLS_INJECTION", Score: 12, Help: "the client put text behind STARTTLS in clear"},
		{Name: "BARE_LINE_END", Score: 3, Help: "a bare CR, bare LF or NUL was in the message"},
		{Name: "SIZE_LIMIT", Score: 0, Help: "the message is larger than the limit"},
		{Name: "SPOOL_FAILED", Score: 0, Help: "the message could not be stored on its way in"},
		{Name: "AUTH_FAILED", Score: 0, Help: "a login failed"},
	}
}
