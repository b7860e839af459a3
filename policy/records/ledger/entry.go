package ledger

import (
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"postern/internal/mail"
)

// table is one of those that hold records.
type table string

const (
	messages    table = "message"
	connections table = "connection"
	fates       table = "fate" // its conn is the message
)

// tables are all of them.
func tables() []table { return []table{messages, connections, fates} }

// entry is a record ready to be written.
type entry struct {
	table    table
	n        int64
	id, conn string
	terms    string
	record   []byte
	// segment is the file of the spill whose last record this is: it can go when this is written.
	segment string
}

// stampBits are those of the id in a record's n.
const stampBits = 21

// stamp is the first n of a time.
func stamp(at time.Time) int64 {
	const limit = 1<<(63-stampBits) - 1
	return min(max(at.UnixMilli(), 0), limit) << stampBits
}

// position is a record's preferred place. If it is taken the record gets the next free one.
func position(at time.Time, id string) int64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // a hash takes all
	return stamp(at) + int64(h.Sum32()>>(32-stampBits))
}

var errNoID = errors.New("a record without an id")

// entry makes a record ready. Should an unforeseen text cause a panic here, only this record is lost.
func (l *Ledger) entry(record any) (e entry, err error) {
	defer func() {
		if broken := recover(); broken != nil {
			err = fmt.Errorf("a record that can't be written: %v", broken)
		}
	}()
	now := l.now()
	switch r := record.(type) {
	case Transaction:
		l.privacy.hide(&r)
		if l.privacy.due(r.Time, now) {
			r = r.masked()
		}
		return r.entry()
	case Connection:
		if l.privacy.due(r.Started, now) {
			r = r.masked()
		}
		return r.entry()
	case Fate:
		if l.privacy.due(r.Time, now) {
			r = r.masked()
		}
		return r.entry()
	}
	return entry{}, fmt.Errorf("%T is not a record", record)
}

func (t Transaction) entry() (entry, error) {
	if !mail.ValidID(t.ID) {
		return entry{}, errNoID
	}
	text, err := encode(t)
	return entry{table: messages, n: position(t.Time, t.ID), id: t.ID, conn: idOf(t.ConnID), terms: t.terms(), record: text}, err
}

func (c Connection) entry() (entry, error) {
	if !mail.ValidID(c.ID) {
		return entry{}, errNoID
	}
	text, err := encode(c)
	return entry{table: connections, n: position(c.Started, c.ID), id: c.ID, conn: c.ID, terms: c.terms(), record: text}, err
}

// idOf is the id of a record's connection, "" where it has none.
func idOf(id string) string {
	if mail.ValidID(id) {
		return id
	}
	return ""
}

// stored makes an entry of a record that was encoded before.
func stored(in table, text []byte) (entry, error) {
	switch in {
	case messages:
		t, err := decode[Transaction](text)
		if err != nil {
			return entry{}, err
		}
		return t.entry()
	case fates:
		f, err := decode[Fate](text)
		if err != nil {
			return entry{}, err
		}
		return f.entry()
	}
	c, err := decode[Connection](text)
	if err != nil {
		return entry{}, err
	}
	return c.entry()
}
