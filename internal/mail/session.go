package mail

import (
	"crypto/tls"
	"net/netip"
	"time"
)

// Stage is a point in the dialogue (RFC 5321 section 3) at which filters look and policy may speak. Stages are bits, so
// that a filter can name several.
type Stage uint8

// The stages, in the order of the dialogue.
const (
	StageConnect Stage = 1 << iota
	StageHelo
	StageMail
	StageRcpt
	StageMessage
)

// String names the stage.
func (s Stage) String() string {
	switch s {
	case StageConnect:
		return "connect"
	case StageHelo:
		return "helo"
	case StageMail:
		return "mail"
	case StageRcpt:
		return "rcpt"
	case StageMessage:
		return "message"
	}
	return "several"
}

// Session is one client's visit: RFC 5321 section 3.1.
type Session struct {
	// ID is the one name of this connection: in replies, header, log, ledger and console.
	ID string
	// Door is the name of the door in the settings.
	Door string
	// Peer is the other end of the TCP connection; Client the address the mail comes from, which a trusted proxy may
	// have given by the PROXY protocol or XCLIENT.
	Peer, Local netip.AddrPort
	Client      netip.Addr
	// ClientName is the verified host name of the client if a trusted peer gave one, else "".
	ClientName string
	// Helo is the name the client gave; ESMTP is set if it said EHLO.
	Helo  string
	ESMTP bool
	// TLS is nil in clear.
	TLS *tls.ConnectionState
	// User is the login, "" without one. Trusted is set for clients in a network that may send outbound.
	User    string
	Trusted bool
	Started time.Time
	// Findings are those of the stages before the first transaction.
	Findings []Finding
}

// Outbound says whether mail of this session is our own users' mail.
func (s *Session) Outbound() bool { return s.Trusted || s.User != "" }

// Params are the parameters of MAIL FROM.
type Params struct {
	// Size is the declared size in octets (RFC 1870), 0 if none was declared.
	Size int64
	// Body is "", "7BIT", "8BITMIME" (RFC 6152) or "BINARYMIME" (RFC 3030).
	Body string
	// UTF8 is SMTPUTF8 (RFC 6531), RequireTLS is REQUIRETLS (RFC 8689).
	UTF8, RequireTLS bool
	// Ret and EnvID are those of RFC 3461, EnvID decoded.
	Ret, EnvID string
}

// Recipient is one forward-path with its parameters.
type Recipient struct {
	Address Address
	// Notify (a list, upper case) and ORcpt (address type and decoded address) are those of RFC 3461.
	Notify             []string
	ORcptType, ORcptTo string
}

// Transaction is one mail transaction: RFC 5321 section 3.3.
type Transaction struct {
	// ID is the session's with a number behind it.
	ID      string
	Session *Session
	Stage   Stage
	From    Address
	Params  Params
	// Recipients are those that were accepted so far; at StageRcpt the last one is the one in question.
	Recipients []Recipient
	// Message is nil before StageMessage.
	Message *Message
	// Findings are those of the transaction's own stages, in registration order within each stage. Filters only read
	// them.
	Findings []Finding
	// Refused says whether policy refuses the message for every recipient by what is found so far; nil where nobody can
	// say. It is for filters that cost much: one that does not look for this reason must say so in a finding that holds the
	// message, as what comes later may let it through.
	Refused func() bool
}

// AllFindings are the findings of the session and of the transaction.
func (tx *Transaction) AllFindings() []Finding {
	all := make([]Finding, 0, len(tx.Session.Findings)+len(tx.Findings))
	return append(append(all, tx.Session.Findings...), tx.Findings...)
}

// Finding is one fact a filter reports. It says what is, never what is to be done.
type Finding struct {
	// Symbol is its stable upper-case name.
	Symbol string `json:"symbol"`
	// Evidence is what it was seen in: short, printable, for the admin's eyes.
	Evidence string `json:"evidence,omitempty"`
	// Value is a typed value where one exists: an SPF result, a probability.
	Value any `json:"-"`
}

// Find gives the first finding with this symbol.
func Find(findings []Finding, symbol string) (Finding, bool) {
	for _, f := range findings {
		if f.Symbol == symbol {
			return f, true
		}
	}
	return Finding{}, false
}
