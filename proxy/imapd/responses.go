package imapd

import (
	"bytes"
	"strconv"
	"strings"

	"postern/proxy/imapd/wire"
)

// maxLiteralResponse is the largest literal of a response that is not FETCH's, in octets.
const maxLiteralResponse = 64 << 20

// responses passes on what the backend says, until it says no more.
func (s *session) responses() error {
	in := s.back.in
	in.Before = s.out.flush
	for {
		in.Rest()
		piece, end, err := in.Segment()
		if err != nil {
			return err
		}
		r, good := wire.ParseResponse(piece)
		if !good {
			return misconduct("a line that is no response")
		}
		if err := s.response(r, piece, end); err != nil {
			return err
		}
	}
}

// response is the way of a response.
func (s *session) response(r wire.Response, piece []byte, end bool) error {
	switch {
	case r.Tag == "*" && isFetch(r.Name):
		return s.fetched(r, piece)
	case r.Tag != "+" && r.Tag != "*":
		return s.tagged(r, piece, end)
	}
	if err := s.turns.settle(); err != nil {
		return err
	}
	if r.Tag == "+" {
		return s.continuation(piece, end)
	}
	return s.untagged(r, piece, end)
}

// isFetch says whether a response holds data of messages. RFC 9586: UIDONLY is never enabled here; should a server send
// its UIDFETCH all the same, it is looked at, too.
func isFetch(name string) bool { return name == "FETCH" || name == "UIDFETCH" }

// untagged passes on an untagged response that holds no data of messages.
func (s *session) untagged(r wire.Response, piece []byte, end bool) error {
	switch r.Name {
	case "CAPABILITY":
		return s.capable(piece[r.Body:], end)
	case "LIST", "XLIST":
		return s.listed(piece, r.Body, end)
	case "EXPUNGE":
		s.selected().expunge(r.Number)
	case "VANISHED":
		// RFC 7162 section 3.2.10: without EARLIER messages go, and the numbers of others change
		if !strings.HasPrefix(strings.ToUpper(string(piece[r.Body:min(len(piece), r.Body+10)])), "(EARLIER)") {
			s.selected().forget()
		}
	}
	if wire.IsStatus(r.Name) {
		return s.status(r, piece, end)
	}
	return s.pass(piece, end)
}

// capable takes in what the backend can do, and tells the client what it may use of that.
func (s *session) capable(list []byte, end bool) error {
	if !end {
		return misconduct("an endless list of capabilities")
	}
	told := capabilities(strings.Fields(string(list)))
	s.back.feature(told)
	if o := s.flow.ownUnderWay(); o != nil && o.features {
		return nil
	}
	return s.out.send([]byte(untaggedCapability(told.shown())))
}

// continuation takes the backend's leave to go on. RFC 9051 section 7.6.
func (s *session) continuation(piece []byte, end bool) error {
	if !end {
		return misconduct("an endless continuation")
	}
	switch s.flow.give() {
	case continuationOurs:
		return nil
	case continuationTheirs:
		return s.out.send(piece)
	}
	return misconduct("a continuation that nobody asked for")
}

// tagged takes the completion of a command: RFC 9051 section 7.1.
func (s *session) tagged(r wire.Response, piece []byte, end bool) error {
	p := s.flow.find(r.Tag)
	if p == nil || !wire.IsCompletion(r.Name) {
		return misconduct("the completion of a command that is not under way")
	}
	name, args, _ := wire.Code(piece[r.Body:])
	if end && s.maySettleLater(p, name) {
		// the next command's messages are judged meanwhile
		s.flow.answered(p)
		line := bytes.Clone(piece)
		return s.turns.push(&parcel{s: s, completion: func() error { return s.complete(p, r, line, true) }})
	}
	if err := s.turns.settle(); err != nil {
		return err
	}
	if p.completed != nil {
		p.completed(r.Name, name, args)
	}
	switch {
	case p.own == nil:
		return s.complete(p, r, piece, end)
	case !end:
		return misconduct("an endless completion")
	}
	s.flow.complete(p, r.Name)
	return nil
}

// maySettleLater says whether the completion of a FETCH can wait for the judgement of its messages.
func (s *session) maySettleLater(p *pending, code string) bool {
	return p.whole && s.turns.busy() && !told(code)
}

// told says whether a response code changes what is known of the server or of its mailbox.
func told(code string) bool {
	switch code {
	case "CAPABILITY", "UIDVALIDITY", "CLOSED", "COPYUID":
		return true
	}
	return false
}

// complete passes the completion of a client's command on.
func (s *session) complete(p *pending, r wire.Response, piece []byte, end bool) (err error) {
	if p.putOff != "" && r.Name == "OK" {
		err = s.instead(no(p.tag, p.putOff), end)
	} else {
		err = s.status(r, piece, end)
	}
	if p.verb == "LOGOUT" && r.Name == "OK" {
		s.left.Store(true)
	}
	s.flow.complete(p, r.Name)
	if s.Hurried() {
		s.Wake()
	}
	return err
}

// instead says a line of ours in the place of the backend's, of which the rest is thrown away.
func (s *session) instead(line string, end bool) (err error) {
	for !end && err == nil {
		_, end, err = s.back.in.Segment()
	}
	if err != nil {
		return err
	}
	return s.out.send([]byte(line))
}

// status passes a status response on. Its text ends with the line: nothing in it is a literal. RFC 9051 section 7.1.
func (s *session) status(r wire.Response, piece []byte, end bool) error {
	name, args, _ := wire.Code(piece[r.Body:])
	if r.Name == "BYE" {
		s.parting.Store(true)
	}
	switch name {
	case "CAPABILITY":
		if !end {
			return misconduct("an endless list of capabilities")
		}
		_, text, _ := strings.Cut(string(piece[r.Body:]), "]")
		line := r.Tag + " " + r.Name + " [CAPABILITY " + strings.Join(capabilities(strings.Fields(args)).shown(), " ") + "]" + text
		return s.out.send([]byte(line))
	case "UIDVALIDITY":
		n, err := strconv.ParseUint(args, 10, 32)
		if err == nil && s.selected().setValidity(uint32(n)) {
			s.rulings.clear()
		}
	case "CLOSED": // RFC 7162 section 3.2.11: what came before was about the mailbox that was left
		s.selected().forget()
	case "COPYUID": // RFC 6851 section 4.3: MOVE tells it in an untagged one
		s.carryUntagged(r, args)
	}
	return s.passLine(piece, end)
}

// passLine passes a line without literals on.
func (s *session) passLine(piece []byte, end bool) error {
	s.out.begin()
	for {
		if err := s.out.send(piece); err != nil {
			return err
		}
		if end {
			return s.out.end()
		}
		var err error
		if piece, end, err = s.back.in.Segment(); err != nil {
			return err
		}
	}
}

// pass passes a response on that holds no message: its lines, and its literals.
func (s *session) pass(piece []byte, end bool) error {
	return s.passing(piece, end, func([]byte) {})
}

// passing is pass with a function that sees what passes behind the first piece.
func (s *session) passing(piece []byte, end bool, see func([]byte)) error {
	s.out.begin()
	var tail wire.Tail
	for first := true; ; first = false {
		lit, follows := tail.Piece(piece, end)
		if !first {
			see(piece)
		}
		if err := s.out.send(piece); err != nil {
			return err
		}
		if end && !follows {
			return s.out.end()
		}
		if follows {
			if lit.Size > maxLiteralResponse {
				return misconduct("a literal of " + strconv.FormatInt(lit.Size, 10) + " octets")
			}
			if err := s.copyLiteral(lit.Size, func(b []byte, _ int64) { see(b) }); err != nil {
				return err
			}
		}
		var err error
		if piece, end, err = s.back.in.Segment(); err != nil {
			return err
		}
	}
}

// copyLiteral passes the octets of a literal on, overwritten by cover unless that is nil.
func (s *session) copyLiteral(size int64, cover cover) error {
	for off := int64(0); off < size; {
		p, err := s.back.in.Next(size - off)
		if err != nil {
			return err
		}
		if cover != nil {
			cover(p, off)
		}
		if err := s.out.send(p); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}
