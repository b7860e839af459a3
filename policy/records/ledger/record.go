// Package ledger keeps what was decided and why: one record per connection and one per transaction, refused ones too.
// It never holds up mail: records go through a bounded channel to one writer. While the database is away they wait, in
// memory and then in a bounded file, and are written in their order when it is back. What finds no room is counted and
// dropped.
package ledger

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"postern/internal/mail"
	"postern/policy"
)

// Connection is one visit of a client.
type Connection struct {
	ID         string         `json:"id"`
	Door       string         `json:"door"`
	Started    time.Time      `json:"started"`
	Ended      time.Time      `json:"ended"`
	Peer       netip.AddrPort `json:"peer"`
	Client     netip.Addr     `json:"client"`
	ClientName string         `json:"client_name,omitempty"`
	Helo       string         `json:"helo,omitempty"`
	TLSVersion string         `json:"tls_version,omitempty"`
	TLSCipher  string         `json:"tls_cipher,omitempty"`
	User       string         `json:"user,omitempty"`
	// End says how it ended: "quit", "closed by client", "refused: …", "timeout".
	End      string          `json:"end"`
	Counts   Counts          `json:"counts"`
	Findings []policy.Reason `json:"findings,omitempty"`
}

// Counts of a connection.
type Counts struct {
	Transactions int   `json:"transactions"`
	Recipients   int   `json:"recipients"`
	Refused      int   `json:"refused"`
	Errors       int   `json:"errors"`
	Octets       int64 `json:"octets"`
}

// Transaction is one message, or the attempt at one.
type Transaction struct {
	ID     string `json:"id"`
	ConnID string `json:"conn_id"`
	// Kind is SMTP or Fetch.
	Kind   Kind       `json:"kind,omitempty"`
	Time   time.Time  `json:"time"`
	Door   string     `json:"door,omitempty"`
	Client netip.Addr `json:"client"`
	// ClientName and Helo are the connection's, User its login: a search for messages finds them here.
	ClientName string      `json:"client_name,omitempty"`
	Helo       string      `json:"helo,omitempty"`
	User       string      `json:"user,omitempty"`
	Outbound   bool        `json:"outbound,omitempty"`
	From       string      `json:"from"`
	Recipients []Recipient `json:"recipients"`
	Size       int64       `json:"size,omitempty"`
	Subject    string      `json:"subject,omitempty"`
	MessageID  string      `json:"message_id,omitempty"`
	HeaderFrom string      `json:"header_from,omitempty"`
	SHA256     string      `json:"sha256,omitempty"`
	// Findings are the symbols seen, with what they weighed; Decisive is the sentence the strictest verdict hangs on.
	Findings      []policy.Reason `json:"findings,omitempty"`
	Decisive      string          `json:"decisive,omitempty"`
	PolicyVersion string          `json:"policy_version,omitempty"`
	// Facts are all that policy knew, so that another policy can judge them again.
	Facts *policy.Facts `json:"facts,omitempty"`
	// Reply is what the sender heard at the end.
	Reply string `json:"reply,omitempty"`
	// Took is how long each filter needed, in milliseconds.
	Took     map[string]float64 `json:"took,omitempty"`
	HeldID   string             `json:"held_id,omitempty"`
	QueueIDs []string           `json:"queue_ids,omitempty"`
	// Done is what was done to copies besides handing them on, one line each: a banner, a header field, a redirect.
	Done []string `json:"done,omitempty"`
	// Fates are what became of it later, the oldest first. They are stored beside the record and read with it.
	Fates []Fate `json:"fates,omitempty"`
}

// Kind is how a message passed by.
type Kind string

// The kinds: a message in transit, and one that a user fetched from the mailbox by IMAP or POP3. Both have its SHA256,
// so that one query finds the readers of a message.
const (
	SMTP  Kind = ""
	Fetch Kind = "fetch"
)

// Recipient is the outcome of the message for one recipient. One refused at RCPT is included, too.
type Recipient struct {
	Address     string             `json:"address"`
	Disposition policy.Disposition `json:"disposition"`
	// Fate is the fate at the time of the reply: one of Answered.
	Fate     Word              `json:"fate,omitempty"`
	Score    float64           `json:"score"`
	Required policy.Thresholds `json:"required"`
	Decisive string            `json:"decisive,omitempty"`
	Reply    string            `json:"reply,omitempty"`
	Route    mail.Route        `json:"route,omitzero"`
	// Became is the copy's later fate, as far as known: see Transaction.Fates.
	Became Word `json:"became,omitempty"`
}

// Bounds of what is kept of text from outside, in octets, and of lists.
const (
	maxText       = 1000
	maxEvidence   = 400
	maxReasons    = 200
	maxEvidences  = 20
	maxRecipients = 5000
	maxNames      = 200 // of filters, queue ids, authors, domains
	maxID         = 64
	// maxRecord bounds a record whose single texts have not been cut yet.
	maxRecord = 64<<10 + maxRecipients*1000
)

// bounded gives the record with every text from outside cut to its bound. Slices are copied: the caller's are
// unchanged.
func (c Connection) bounded() Connection {
	for _, s := range []*string{&c.Door, &c.ClientName, &c.Helo, &c.TLSVersion, &c.TLSCipher, &c.User, &c.End} {
		*s = cut(*s, maxText)
	}
	c.Findings = boundedReasons(c.Findings)
	return c
}

func (t Transaction) bounded() Transaction {
	for _, s := range []*string{
		&t.Door, &t.ClientName, &t.Helo, &t.User, &t.From, &t.Subject, &t.MessageID, &t.HeaderFrom, &t.SHA256, &t.PolicyVersion, &t.Reply, &t.Decisive, &t.HeldID, (*string)(&t.Kind),
	} {
		*s = cut(*s, maxText)
	}
	t.Findings = boundedReasons(t.Findings)
	recipients := make([]Recipient, 0, len(t.Recipients))
	for _, r := range t.Recipients[:min(len(t.Recipients), maxRecipients)] {
		r.Address, r.Reply, r.Decisive = cut(r.Address, maxText), cut(r.Reply, maxText), cut(r.Decisive, maxText)
		r.Fate, r.Became = Word(cut(string(r.Fate), maxText)), ""
		r.Disposition = min(max(r.Disposition, policy.Accept), policy.Reject)
		recipients = append(recipients, r)
	}
	t.Recipients, t.Fates = recipients, nil
	t.Done = slices.Clone(t.Done[:min(len(t.Done), maxNames)])
	for i, d := range t.Done {
		t.Done[i] = cut(d, maxText)
	}
	t.QueueIDs = slices.Clone(t.QueueIDs[:min(len(t.QueueIDs), maxNames)])
	for i, id := range t.QueueIDs {
		t.QueueIDs[i] = cut(id, maxText)
	}
	if len(t.Took) > maxNames {
		t.Took = nil
	}
	t.Took = maps.Clone(t.Took) // the writer reads it later
	if t.Facts != nil {
		facts := *t.Facts
		facts.Findings = slices.Clone(facts.Findings[:min(len(facts.Findings), maxReasons)])
		for i := range facts.Findings {
			facts.Findings[i].Evidence = "" // is in Findings already, and no verdict depends on it
		}
		facts.HeaderFrom = slices.Clone(facts.HeaderFrom[:min(len(facts.HeaderFrom), maxNames)])
		facts.Authenticated = slices.Clone(facts.Authenticated[:min(len(facts.Authenticated), maxNames)])
		t.Facts = &facts
	}
	return t
}

func boundedReasons(reasons []policy.Reason) []policy.Reason {
	kept := make([]policy.Reason, 0, len(reasons))
	for _, r := range reasons[:min(len(reasons), maxReasons)] {
		evidence := make([]string, 0, len(r.Evidence))
		for _, e := range r.Evidence[:min(len(r.Evidence), maxEvidences)] {
			evidence = append(evidence, cut(e, maxEvidence))
		}
		r.Evidence, r.Symbol, r.Help = evidence, cut(r.Symbol, maxText), cut(r.Help, maxText)
		kept = append(kept, r)
	}
	return kept
}

// cut shortens a text, with a mark that says by how much.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := limit
	for end > limit-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d octets more)", s[:end], len(s)-end)
}

// Printable makes text from outside fit for a terminal or a log line: control characters, escape sequences, broken
// UTF-8, line and paragraph separators and the marks that turn the reading direction are written as what they are.
func Printable(s string) string {
	clean := true
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1 || r < 0x80 && !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += n
	}
	return b.String()
}
