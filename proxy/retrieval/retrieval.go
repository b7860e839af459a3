// Package retrieval judges messages as they are fetched from a mailbox, by POP3 or by IMAP, and remembers what it found.
package retrieval

import (
	"bytes"
	"crypto/sha256"
)

// Place is where a message lies. What has lain there once lies there for ever: RFC 9051 section 2.3.1.1 of UIDs, RFC
// 1939 section 7 of UIDL. Servers break the second rule, so that more than the unique-id must agree.
type Place struct {
	Backend, User string
	// Reader is who reads, if that is another than the mailbox's owner: his policy decides, not the owner's.
	Reader string
	// Mailbox, UIDValidity and UID are IMAP's; a UID of 0 is unknown.
	Mailbox          string
	UIDValidity, UID uint32
	// UIDL is POP3's unique-id, "" if unknown. Size is what the server says of the message's, 0 if it said nothing; Front is
	// FrontOf its first octets, zero as long as they are not there. What is known of another size or front is not known.
	UIDL  string
	Size  int64
	Front [8]byte
	// Own says that the mailbox is one for what its user writes: drafts, sent mail.
	Own bool
}

// FrontSize is of how many octets the front of a message is made, if its header is not shorter.
const FrontSize = 4 << 10

// FrontOf names a message by its first octets: the header, of a long one the first FrontSize octets. RETR and TOP begin
// with the same.
func FrontOf(first []byte) [8]byte {
	first = first[:min(len(first), FrontSize)]
	if i := bytes.Index(first, []byte("\r\n\r\n")); i >= 0 {
		first = first[:i+4]
	}
	sum := sha256.Sum256(first)
	return [8]byte(sum[:8])
}

// Ruling is what is to be done with a message.
type Ruling struct {
	// Masked says that its content must not reach a mail reader.
	Masked bool
	// Later says that this is no verdict: something that is needed for one, or for keeping the original, is away. The message
	// is neither shown nor masked; the client is told to come again. Masked is set, too.
	Later bool
	// ID is the record of the judgement in the ledger, and where the original is kept that of the original.
	ID string
	// SHA256 is that of the octets in the mailbox.
	SHA256 [sha256.Size]byte
	// MessageID is the field's value, by which other copies of the message are found.
	MessageID string
	// Why says why it is masked, for the ledger and the log.
	Why string
}
