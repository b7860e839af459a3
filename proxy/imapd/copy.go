package imapd

import (
	"fmt"
	"strconv"
	"strings"

	"postern/internal/mail"
	"postern/policy/records/lessons"
	"postern/proxy/imapd/wire"
	"postern/proxy/retrieval"
)

// copy passes COPY and MOVE on: RFC 9051 sections 6.4.7 and 6.4.8.
func (s *session) copy(c *wire.Command, p *pending) error {
	args := c.Args()
	text, good := args.AString()
	name, good2 := args.AString()
	if !good || !good2 || args.Next().Kind != wire.End {
		return s.refuse(badArguments(c.Tag))
	}
	p.mailbox = mailboxName(name)
	t, err := s.learnCopy(c, text, p.mailbox)
	if err != nil {
		return err
	}
	p.completed = func(status, code, args string) {
		if code == "COPYUID" {
			s.carry(p.mailbox, args)
		}
		s.teach(t, status, code, args)
	}
	return s.forward(c, p)
}

// carryUntagged takes the COPYUID of a MOVE.
func (s *session) carryUntagged(r wire.Response, args string) {
	if r.Tag != "*" {
		return
	}
	if p := s.flow.first(func(p *pending) bool { return p.verb == "MOVE" }); p != nil {
		s.carry(p.mailbox, args)
	}
}

// maxCarried is how many messages of one copy take along what is known of them.
const maxCarried = 1000

// parseCopyUID reads the arguments of the response code COPYUID. RFC 4315 section 3: UIDVALIDITY, then the UIDs of the
// messages and of their copies, in the same order.
func parseCopyUID(args string) (validity uint32, from, to []uint32, ok bool) {
	fields := strings.Fields(args)
	if len(fields) != 3 {
		return 0, nil, nil, false
	}
	number, err := strconv.ParseUint(fields[0], 10, 32)
	if err != nil || number == 0 {
		return 0, nil, nil, false
	}
	old, good := wire.ParseSet(fields[1])
	fresh, good2 := wire.ParseSet(fields[2])
	if !good || !good2 {
		return 0, nil, nil, false
	}
	from, to = old.Numbers(maxCarried), fresh.Numbers(maxCarried)

	return uint32(number), from, to, len(from) == len(to)
}

// carry notes for copies what is known of the messages that were copied.
func (s *session) carry(mailbox, args string) {
	carrier, can := s.opt.VerdictCache.(Carrier)
	validity, old, fresh, ok := parseCopyUID(args)
	if !can || !ok || mailbox == "" {
		return
	}
	for i := range old {
		here := s.place(old[i])
		if here.UID == 0 {
			return
		}
		there := retrieval.Place{Backend: here.Backend, User: here.User, Reader: here.Reader, Mailbox: mailbox, UIDValidity: validity, UID: fresh[i],
			Own: s.folders.isOwn(mailbox)}
		carrier.Carry(s.Ctx, here, there)
	}
}

// isUpload says whether the literal that follows is a message: all but the mailbox's name of APPEND (RFC 9051 section
// 6.3.12, RFC 3502, RFC 4469) and of REPLACE (RFC 8508).
func isUpload(c *wire.Command) bool {
	args := c.Args()
	switch c.Verb {
	case "APPEND":
	case "REPLACE":
		if args.Next().Kind == wire.End {
			return false
		}
	default:
		return false
	}
	return args.Next().Kind != wire.End
}

// upload passes APPEND and REPLACE on. The messages stream through.
func (s *session) upload(c *wire.Command, p *pending) error {
	args := c.Args()
	if c.Verb == "REPLACE" {
		args.Next()
	}
	name, good := args.AString()
	if !good || c.UID && c.Verb == "APPEND" {
		return s.refuseUpload(c, badArguments(c.Tag))
	}
	p.mailbox = mailboxName(name)
	if c.Literal == nil {
		return s.forward(c, p)
	}
	if c.Literal.Size > s.opt.MaxAppend {
		return s.refuseUpload(c, tooBig(c.Tag))
	}

	t, err := s.learnFrom(c, p)
	if err != nil {
		return err
	}

	taken, err := s.sendPieces(c, p)
	for err == nil && c.Literal != nil {
		taken, err = s.uploadNext(c, p, t, taken)
	}

	return s.uploadFailed(err)
}

// uploadNext passes a literal on, or throws it away if the backend does not take it, and reads the text behind it.
func (s *session) uploadNext(c *wire.Command, p *pending, t *teaching, taken bool) (goesOn bool, err error) {
	if taken {
		taken, err = s.uploadOne(c, p, t)
	} else {
		err = s.discard(c)
	}
	if err == nil {
		err = c.More(s.In)
	}
	if err != nil {
		return taken, err
	}

	t.parted(c.Args())
	if c.Literal != nil && c.Literal.Size > s.opt.MaxAppend {
		s.observe("LITERAL_LIMIT", fmt.Sprint(c.Literal.Size))
		s.bye(byeLiteralLimit, "literal too large") // the backend holds half a command: it can't be taken back
		return taken, errRefusedLiteral
	}
	if taken {
		err = s.sendMore(c)
	}

	return taken, err
}

// uploadFailed turns what can't be understood in the middle of a command into the end of the session: the backend holds
// the half of it.
func (s *session) uploadFailed(err error) error {
	if err == nil || s.Ended() {
		return nil
	}
	if _, isRefusal := err.(*wire.Syntax); isRefusal {
		s.bye(byeSyntax, "malformed line behind a literal")
		return errRefusedLiteral
	}
	return err
}

func (s *session) refuseUpload(c *wire.Command, answer string) error {
	if c.Literal == nil {
		return s.refuse(answer)
	}
	s.observe("LITERAL_LIMIT", fmt.Sprint(c.Literal.Size))
	if c.Literal.Plus {
		s.bye(byeLiteralLimit, "literal too large")
		return errRefusedLiteral
	}
	return s.refuse(answer)
}

// sendMore sends the text between two literals, or behind the last one.
func (s *session) sendMore(c *wire.Command) error {
	for _, piece := range c.Pieces(s.back.plus) {
		if err := s.back.out.send(piece.Octets); err != nil {
			return errEnded
		}
	}
	return nil
}

// learnFrom begins a lesson if the upload is one, nil if not.
func (s *session) learnFrom(c *wire.Command, p *pending) (*teaching, error) {
	t, err := s.learnUpload(p.mailbox)
	if err == nil && t != nil {
		t.parted(c.Args())
		p.completed = func(status, code, args string) { s.teach(t, status, code, args) }
	}

	return t, err
}

// uploadOne sends the head of a literal and its octets. taken is false if the backend answers the command instead; then
// none of the octets was sent.
//
// RFC 9051 section 4.3: a client that waits gets the backend's own continuation.
func (s *session) uploadOne(c *wire.Command, p *pending, t *teaching) (taken bool, err error) {
	lit := *c.Literal
	asks := !lit.Plus
	lit.Plus = lit.Plus && s.back.plus(lit.Size)
	switch {
	case asks:
		s.flow.want(continuationTheirs)
	case !lit.Plus:
		s.flow.want(continuationOurs)
	}
	if err := s.back.out.send(lit.Head()); err != nil {
		return false, errEnded
	}
	if !lit.Plus {
		given, err := s.leave(p)
		switch {
		case err != nil:
			return false, err
		case !given && asks:
			return false, errRefusedLiteral // the client heard the answer and sends nothing more of it
		case !given:
			return false, s.discard(c)
		}
	}
	return true, s.stream(lit.Size, t)
}

// stream sends the octets of a message that the client uploads. The front of it is kept for what it teaches.
func (s *session) stream(size int64, t *teaching) error {
	sp := mail.Spool{Dir: s.opt.SpoolDir}
	for left := size; left > 0; {
		b, err := s.In.Next(left)
		if err != nil {
			sp.Discard()
			return err
		}
		if room := lessons.MaxContent - sp.Size(); t != nil && room > 0 {
			if _, err := sp.Write(b[:min(int64(len(b)), room)]); err != nil { // the disk is full
				sp.Discard()
				t = nil
			}
		}
		if err := s.back.out.send(b); err != nil {
			sp.Discard()
			return errEnded
		}
		left -= int64(len(b))
	}
	if t != nil {
		s.uploaded(t, &sp, size <= lessons.MaxContent)
	}
	return nil
}

// discard reads a literal that nobody takes.
func (s *session) discard(c *wire.Command) error {
	for left := c.Literal.Size; left > 0; {
		b, err := s.In.Next(left)
		if err != nil {
			return err
		}
		left -= int64(len(b))
	}
	return nil
}
