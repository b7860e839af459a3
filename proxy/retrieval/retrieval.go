// Package retrieval judges messages as they are fetched from a mailbox, by POP3 or by IMAP, and remembers what it found.
package retrieval

import "crypto/sha256"

// Place is where a message lies. What has lain there once lies there for ever: RFC 9051 section 2.3.1.1 of UIDs, RFC
// 1939 section 7 of UIDL.
type Place struct {
	Backend, User string
	// Mailbox, UIDValidity and UID are IMAP's; a UID of 0 is unknown.
	Mailbox          string
	UIDValidity, UID uint32
	// UIDL is POP3's unique-id, "" if unknown.
	UIDL string
}

// Ruling is what is to be done with a message.
type Ruling struct {
	// Masked says that its content must not reach a mail reader.
	Masked bool
	// ID is the record of the judgement in the ledger.
	ID string
	// SHA256 is that of the octets in the mailbox.
	SHA256 [sha256.Size]byte
	// MessageID is the field's value, by which other copies of the message are found.
	MessageID string
	// Why says why it is masked, for the ledger and the log.
	Why string
}
