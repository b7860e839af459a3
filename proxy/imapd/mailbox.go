package imapd

import (
	"strings"
	"sync"

	"postern/proxy/retrieval"
)

const (
	// maxNumbers is how many messages of a mailbox have their UIDs remembered, 4 octets each.
	maxNumbers = 200_000
	// maxExpunges is how many EXPUNGE are followed before all is forgotten: each moves what is above it.
	maxExpunges = 1000
	maxBeyond   = 20_000
)

// selected is the selected mailbox, as far as its responses tell. It is safe for use by both goroutines.
type selected struct {
	name string // "" if none is selected

	mu       sync.Mutex
	validity uint32
	settled  bool     // SELECT is completed: responses are about this mailbox
	uids     []uint32 // of the sequence numbers from 1, 0 where not known
	expunges int
	beyond   map[uint32]uint32 // the same of numbers above maxNumbers, of one command
}

func newSelected(name string) *selected { return &selected{name: name} }

// mailboxName is the one name of INBOX: RFC 9051 section 5.1. All others are as the client wrote them.
func mailboxName(name string) string {
	if strings.EqualFold(name, "INBOX") {
		return "INBOX"
	}
	return name
}

func (b *selected) settle() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settled, b.uids, b.beyond = true, nil, nil
}

// forget forgets which UIDs the messages have. It is always right to.
func (b *selected) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.uids, b.beyond, b.expunges = nil, nil, 0
}

// setValidity takes the UIDVALIDITY, and says whether it was another one before: then no UID means what it meant.
func (b *selected) setValidity(n uint32) (changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	changed = b.validity != 0 && b.validity != n
	if changed {
		b.uids, b.beyond = nil, nil
	}
	b.validity = n
	return changed
}

// learn takes the UID of a message.
func (b *selected) learn(number, uid uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.settled || number == 0 {
		return
	}
	if number > maxNumbers {
		if b.beyond == nil || len(b.beyond) >= maxBeyond {
			b.beyond = map[uint32]uint32{}
		}
		b.beyond[number] = uid
		return
	}
	for uint32(len(b.uids)) < number {
		b.uids = append(b.uids, 0)
	}
	b.uids[number-1] = uid
}

// uid gives the UID of a message, 0 if it is not known.
func (b *selected) uid(number uint32) uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if number == 0 || uint32(len(b.uids)) < number {
		return b.beyond[number]
	}
	return b.uids[number-1]
}

// expunge takes a message out: RFC 9051 section 7.5.1, those above it move down by one.
func (b *selected) expunge(number uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.beyond = nil
	if number == 0 || uint32(len(b.uids)) < number {
		return
	}
	if b.expunges++; b.expunges > maxExpunges {
		b.uids, b.expunges = nil, 0
		return
	}
	b.uids = append(b.uids[:number-1], b.uids[number:]...)
}

// place is where a message lies; its UID is 0 if it says nothing, for want of UIDVALIDITY or because nobody knows whose
// mailbox it is.
func (s *session) place(uid uint32) retrieval.Place {
	b := s.selected()
	b.mu.Lock()
	validity := b.validity
	b.mu.Unlock()
	owner := s.gate.Mailbox()
	if validity == 0 || b.name == "" || owner == "" {
		uid = 0
	}
	p := retrieval.Place{Backend: s.back.name, User: owner, Mailbox: b.name, UIDValidity: validity, UID: uid, Own: s.folders.isOwn(b.name)}
	if s.Mail.User != owner {
		p.Reader = s.Mail.User
	}
	return p
}

func (s *session) selected() *selected {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.box
}

func (s *session) selectBox(b *selected) {
	s.mu.Lock()
	s.box = b
	s.mu.Unlock()
	s.rulings.clear()
}
