package imapd

import (
	"errors"

	"postern/internal/mail"
	"postern/proxy/imapd/wire"
	"postern/proxy/mask"
)

// fault is a fault of our own, not the backend's.
type fault struct{ error }

// errTooLarge says that a message is not even kept.
var errTooLarge = errors.New("it is larger than what is spooled")

// spooled is how much larger than what is judged a message may be whose original is kept.
const spooled = 16

// spool reads a literal into a message. What can't be stored is read all the same, so that the session goes on: then the
// error is a fault, and in the log.
func (s *session) spool(size int64) (*mail.Message, error) {
	sp := mail.Spool{Dir: s.opt.SpoolDir}
	var failed error
	if size > spooled*s.opt.MaxMessage {
		failed = errTooLarge
	}
	for left := size; left > 0; {
		p, err := s.back.in.Next(left)
		if err != nil {
			sp.Discard()
			return nil, err
		}
		if failed == nil {
			_, failed = sp.Write(p)
		}
		left -= int64(len(p))
	}
	msg := (*mail.Message)(nil)
	if failed == nil {
		msg, failed = sp.Finish()
	}
	if failed != nil {
		sp.Discard()
		s.opt.Log.Error("a message can't be spooled", "id", s.Mail.ID, "size", size, "error", failed)
		s.observe("NOT_JUDGED", failed.Error())
		return nil, fault{failed}
	}
	return msg, nil
}

func (s *session) skip(size int64) error {
	for left := size; left > 0; {
		p, err := s.back.in.Next(left)
		if err != nil {
			return err
		}
		left -= int64(len(p))
	}
	return nil
}

// sendMessage sends a message, overwritten by over unless that is nil.
func (s *session) sendMessage(msg *mail.Message, over cover) error {
	if whole := msg.Memory(); over == nil && whole != nil {
		return s.out.send(whole)
	}
	b := s.server.buffers.Take()
	defer s.server.buffers.Give(b)
	for off := int64(0); off < msg.Size(); {
		p := b[:min(int64(len(b)), msg.Size()-off)]
		if _, err := msg.ReadAt(p, off); err != nil {
			return err
		}
		if over != nil {
			over(p, off)
		}
		if err := s.out.send(p); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}

// planCover is how an item of a message is overwritten. Without a plan nothing is known of it.
func planCover(plan *mask.Plan, it wire.Item, notice string) cover {
	origin := max(it.Origin, 0)
	opaque := func(b []byte, off int64) { mask.Opaque(b, origin+off, notice) }
	if plan == nil {
		return opaque
	}
	switch it.Name {
	case "RFC822":
		return func(b []byte, off int64) { plan.Message(b, origin+off) }
	case "RFC822.TEXT":
		return func(b []byte, off int64) { plan.Text(b, origin+off) }
	case "RFC822.HEADER":
		return func(b []byte, off int64) { plan.Header(b, origin+off) }
	case "BODY":
		return func(b []byte, off int64) { plan.Section(it.Section, b, origin+off) }
	case "BINARY":
		return func(b []byte, off int64) { plan.Binary(it.Section, b, origin+off) }
	}
	return opaque
}
