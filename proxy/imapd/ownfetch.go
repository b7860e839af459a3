package imapd

import (
	"errors"
	"strings"

	"postern/internal/mail"
	"postern/policy/records/lessons"
	"postern/proxy/imapd/wire"
	"postern/proxy/mask"
	"postern/proxy/retrieval"
)

// ownReader gives what reads an item that we asked for ourselves, nil for one that the client gets.
func (m *message) ownReader(it wire.Item) func(wire.Literal) error {
	switch {
	case m.own == nil:
	case m.own.bodies && it.Class == wire.Whole:
		return m.ownBody
	case m.own.keep && it.Front():
		return m.keepBody
	case m.own.header && it.Class == wire.Plain && it.Sectioned:
		return m.seeHeader
	}

	return nil
}

// ownBody reads a message that we asked for ourselves, and has it judged.
func (m *message) ownBody(lit wire.Literal) error {
	s := m.s
	// the item goes out of the response
	if !s.out.cut(m.scan.ItemLength()) {
		return misconduct("a FETCH response that can't be parted")
	}
	m.dropped = !s.out.cutSpace()
	uid := m.uid()
	m.own.moved()
	job := s.line.Take(lit.Size)
	if job == nil && m.own.foresight {
		return s.skip(lit.Size) // it is judged in its turn
	}
	msg, err := s.spool(lit.Size)
	if job != nil && (err != nil || uid == 0) {
		job.Leave()
		job = nil
	}
	if errors.As(err, new(fault)) {
		s.rulings.set(uid, retrieval.Ruling{Masked: true, Later: true, ID: s.Mail.ID, Why: err.Error()})
		return nil
	}
	if err != nil {
		return err
	}
	if job == nil {
		s.found(msg, uid, m.own)
		return nil
	}
	o := m.own
	job.Start(int64(uid), func() {
		defer job.Leave()
		s.found(msg, uid, o)
	})
	return nil
}

// found has a message judged that we asked for ourselves.
func (s *session) found(msg *mail.Message, uid uint32, o *own) {
	defer func() { _ = msg.Close() }() // nothing to keep
	r, _ := s.safely(msg, uid)
	if o.foresight {
		return // what is to be remembered the verdicts remembers
	}
	if r.Later {
		s.observe("NOT_JUDGED", r.Why)
	}
	s.rulings.set(uid, r)
}

// seeHeader reads a header that we asked for ourselves, and finds where some reader could see the body begin.
func (m *message) seeHeader(lit wire.Literal) error {
	s := m.s
	if !s.out.cut(m.scan.ItemLength()) {
		return misconduct("a FETCH response that can't be parted")
	}
	m.dropped = !s.out.cutSpace()
	var watch mask.Watch
	m.own.end, m.own.headers = 0, true
	for left := lit.Size; left > 0; {
		p, err := s.back.in.Next(left)
		if err != nil {
			return err
		}
		m.own.end += int64(watch.End(p))
		left -= int64(len(p))
	}
	return nil
}

// keepBody reads the front of a message of which a lesson may be made.
func (m *message) keepBody(lit wire.Literal) error {
	if !m.s.out.cut(m.scan.ItemLength()) || lit.Size > lessons.MaxContent {
		return misconduct("a FETCH response that can't be parted")
	}
	m.dropped = !m.s.out.cutSpace()
	if len(m.own.kept) == maxTaught {
		return m.s.skip(lit.Size)
	}
	msg, err := m.s.spool(lit.Size)
	if err == nil {
		m.own.kept = append(m.own.kept, &kept{number: m.number, message: msg, whole: lit.Size < lessons.MaxContent})
	}
	return err
}

// note takes in what the response says to a command of our own.
func (m *message) note() {
	o, uid := m.own, m.scan.UID
	if uid != 0 && !o.bodies && !o.header {
		if o.count++; o.limit == 0 || len(o.found) < o.limit {
			o.found = append(o.found, found{m.number, uid})
		}
	}
	for _, k := range o.kept {
		if k.number == m.number {
			k.uid, k.flags = uid, strings.Fields(strings.Trim(string(m.scan.Flags), "() "))
		}
	}
}

// oursOnly says whether the response held nothing but what we asked for.
func (m *message) oursOnly() bool {
	others := m.scan.Others
	if m.own.headers {
		others-- // the one that we asked for
	}
	return others == 0 && (m.own.bodies || m.scan.Wholes == 0) && (m.own.keep || m.scan.Fronts == 0)
}
