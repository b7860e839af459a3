package mail

// Protocol is what a door speaks.
type Protocol string

// The protocols: RFC 5321, RFC 6409, RFC 9051 and RFC 1939.
const (
	ProtocolSMTP       Protocol = "smtp"
	ProtocolSubmission Protocol = "submission"
	ProtocolIMAP       Protocol = "imap"
	ProtocolPOP3       Protocol = "pop3"
)
