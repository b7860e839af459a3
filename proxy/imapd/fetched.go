package imapd

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"postern/internal/mail"
	"postern/proxy/imapd/wire"
	"postern/proxy/mask"
	"postern/proxy/retrieval"
)

// maxOctets is the largest literal a server may announce: RFC822.SIZE has 32 bits in RFC 3501, and mail is smaller.
const maxOctets = 4 << 30

// message is a FETCH response under way.
type message struct {
	s    *session
	scan wire.Fetch
	// number is the sequence number, or the UID of UIDFETCH.
	number  uint32
	named   uint32 // the UID of UIDFETCH
	own     *own
	dropped bool // a space is to be left out
	told    bool // the verdicts heard that it was fetched
	off     bool // it is put off: nothing of it goes to the client
}

// fetched passes a FETCH response on: text as it is, content as the ruling on its message says. RFC 9051 section 7.5.2.
func (s *session) fetched(r wire.Response, piece []byte) error {
	m := &message{s: s, number: r.Number, own: s.flow.ownUnderWay()}
	if r.Name == "UIDFETCH" {
		m.named = r.Number
	}
	m.scan.KeepFlags = m.own != nil && m.own.keep
	if m.own == nil && s.flow.first(func(p *pending) bool { return p.whole }) != nil {
		taken, rest, err := m.inAdvance(piece, r.Body)
		switch {
		case err != nil:
			return err
		case taken && rest == nil:
			return nil
		case taken:
			return m.takeAll(rest)
		}
	}
	if err := m.open(piece[:r.Body]); err != nil {
		return err
	}
	return m.takeAll(piece[r.Body:])
}

// open begins a response, once all before it were sent.
func (m *message) open(head []byte) error {
	if err := m.s.turns.settle(); err != nil {
		return err
	}
	m.s.out.begin()
	m.s.out.hold(true) // what is not sent can be left out
	return m.s.out.send(head)
}

// takeAll reads a response to its end.
func (m *message) takeAll(piece []byte) error {
	for {
		done, err := m.take(piece)
		if err != nil {
			return err
		}
		if done {
			return m.finish()
		}
		if piece, _, err = m.s.back.in.Segment(); err != nil { // the scanner finds the end by itself
			return err
		}
	}
}

// behindDropped takes away the space that stood behind an item that was dropped.
func (m *message) behindDropped(text []byte) []byte {
	if m.dropped && len(text) > 0 && text[0] == ' ' {
		text = text[1:]
	}
	m.dropped = m.dropped && len(text) == 0

	return text
}

// take reads a piece of text. It ends with the line, with the buffer, or before a literal, which is read, too.
func (m *message) take(p []byte) (done bool, err error) {
	for len(p) > 0 {
		n, event := m.scan.Scan(p)
		if event == wire.EventBroken {
			return false, misconduct("a FETCH response that can't be read")
		}
		text := m.behindDropped(p[:n])
		p = p[n:]
		if err := m.s.out.send(text); err != nil {
			return false, err
		}
		switch event {
		case wire.EventDone:
			return true, nil
		case wire.EventQuote:
			if p, err = m.quoted(p); err != nil {
				return false, err
			}
		case wire.EventHead:
			if err := m.literal(); err != nil {
				return false, err
			}
		case wire.EventMore, wire.EventBroken: // looked at above
		}
	}
	return false, nil
}

// uid is the message's UID as far as it is known.
func (m *message) uid() uint32 {
	switch {
	case m.scan.UID != 0:
		return m.scan.UID
	case m.named != 0:
		return m.named
	}
	return m.s.selected().uid(m.number)
}

// literal reads a literal, whose head was sent to the client, or is in what is held.
func (m *message) literal() error {
	lit, it := m.scan.Literal, m.scan.Item
	if lit.Size > maxOctets {
		return misconduct("a literal of " + strconv.FormatInt(lit.Size, 10) + " octets")
	}
	if m.scan.NameLiteral() {
		return m.s.copyLiteral(lit.Size, nil)
	}
	if read := m.ownReader(it); read != nil {
		return read(lit)
	}
	if it.Class == wire.Plain {
		return m.s.copyLiteral(lit.Size, m.headerCover(it))
	}

	return m.content(lit.Size, it)
}

// content passes content on as the ruling on its message says.
func (m *message) content(size int64, it wire.Item) error {
	uid := m.uid()
	r, known := m.s.ruling(uid)
	if known && !r.Masked {
		m.tell(uid, r)
		return m.s.copyLiteral(size, nil)
	}

	if known {
		if plan := m.s.rulings.plan(uid); plan != nil {
			m.tell(uid, r)
			return m.s.copyLiteral(size, planCover(plan, it, m.s.notice(r)))
		}
	}
	if it.Class == wire.Whole {
		return m.examine(size, uid)
	}
	// nobody asked for it, or nobody could look at it: nothing of it is let through
	return m.s.copyLiteral(size, planCover(nil, it, m.s.notice(r)))
}

// isSection says whether an item is a header, or a section of BODY.
func isSection(it wire.Item) bool {
	return it.Name == "RFC822.HEADER" || it.Name == "BODY" && it.Sectioned
}

// headerCover overwrites in a header what some reader could take for the body, unless the message is known to be clean. A
// header is never held back, so most are of messages that nobody has judged yet.
func (m *message) headerCover(it wire.Item) cover {
	if !isSection(it) {
		return nil
	}
	uid := m.uid()
	if plan := m.s.rulings.plan(uid); plan != nil && !it.HasFields() && !m.clean(uid) {
		r, _ := m.s.ruling(uid)
		return planCover(plan, it, m.s.notice(r))
	}
	if it.Origin > 0 {
		end, _ := m.s.rulings.end(uid, it.Section) // 0 if nobody looked: all of it is overwritten
		return func(b []byte, off int64) {
			if at := max(0, end-it.Origin-off); at < int64(len(b)) && !m.clean(uid) {
				mask.Opaque(b[at:], 0, "")
			}
		}
	}
	var watch mask.Watch
	return func(b []byte, _ int64) {
		if n := watch.End(b); n < len(b) && !m.clean(uid) {
			mask.Opaque(b[n:], 0, "")
		}
	}
}

// clean says whether a message is known not to be masked.
func (m *message) clean(uid uint32) bool {
	r, known := m.s.ruling(uid)
	return known && !r.Masked
}

// notice is what stands where content of a message was overwritten: {id} names the judgement, or this session if nothing
// judged it.
func (s *session) notice(r retrieval.Ruling) string {
	return strings.ReplaceAll(s.opt.Notice, "{id}", cmp.Or(r.ID, s.Mail.ID))
}

// tell tells the verdicts that the user got the message.
func (m *message) tell(uid uint32, r retrieval.Ruling) {
	if !m.told {
		m.told = true
		m.s.opt.VerdictCache.Fetched(m.s.Ctx, m.s.Mail, m.s.place(uid), r)
	}
}

// examine reads a whole message, has it judged if it is not known, and sends it on. The client is told meanwhile that
// work goes on, unless a part of the response was sent already.
func (m *message) examine(size int64, uid uint32) error {
	s := m.s
	stop := s.progress()
	msg, err := s.spool(size)
	if errors.As(err, new(fault)) {
		stop()
		return m.putOff()
	}
	if err != nil {
		stop()
		return err
	}
	defer func() { _ = msg.Close() }() // nothing to keep
	stop()
	return m.show(msg, uid)
}

// show has a message judged, and sends it on.
func (m *message) show(msg *mail.Message, uid uint32) error {
	s := m.s
	stop := s.progress()
	r, plan := s.judge(msg, uid)
	stop()
	if r.Later {
		s.observe("NOT_JUDGED", r.Why)
		return m.putOff()
	}
	var over cover
	if plan != nil {
		over = plan.Message
	} else if r.Masked {
		over = planCover(nil, m.scan.Item, s.notice(r))
	}
	s.out.hold(false)
	m.tell(uid, r)
	return s.sendMessage(msg, over)
}

// putOff leaves the message out; the completion of its command tells the client to come again.
func (m *message) putOff() error {
	if m.own != nil || !m.s.out.abandon() {
		return fault{errors.New("a message can't be judged, and a part of the response was sent")}
	}
	m.off = true
	m.s.leaveOut(m.number, m.uid())
	return nil
}

// leaveOut notes for the completion of a command that a message of it was left out.
func (s *session) leaveOut(number, uid uint32) {
	p := s.flow.first(func(p *pending) bool { return p.wants(number, uid) })
	if p == nil {
		p = s.flow.first(func(p *pending) bool { return p.asks != nil })
	}
	if p != nil {
		p.putOff = later
	}
}

// judge has a message judged if it is not known. The plan is nil if it is not masked, or nothing is known of its structure.
func (s *session) judge(msg *mail.Message, uid uint32) (retrieval.Ruling, *mask.Plan) {
	if msg.Size() > s.opt.MaxMessage {
		return s.tooLarge(msg, uid), nil
	}
	r, known := s.ruling(uid)
	if !known || r.Later {
		r = s.opt.VerdictCache.Judge(s.Ctx, s.Mail, s.place(uid), msg)
	}
	if !r.Masked || r.Later {
		return r, nil
	}
	plan := mask.New(msg, s.notice(r))
	s.rulings.keep(uid, plan)
	return r, plan
}

// tooLarge is the ruling on a message over the limit of what is judged: masked, and kept.
func (s *session) tooLarge(msg *mail.Message, uid uint32) retrieval.Ruling {
	s.observe("LITERAL_LIMIT", "a message of "+strconv.FormatInt(msg.Size(), 10)+" octets")
	r := retrieval.Ruling{Masked: true, Why: "larger than the limit"}
	if keeper, can := s.opt.VerdictCache.(Keeper); can {
		return keeper.Keep(s.Ctx, s.Mail, s.place(uid), msg, r)
	}
	return r
}

// finish ends the response. One that held nothing but what we asked for is not for the client.
func (m *message) finish() error {
	if uid := m.scan.UID; uid != 0 && m.named == 0 {
		m.s.selected().learn(m.number, uid)
	}
	if m.own == nil || m.off {
		return m.s.out.end()
	}

	m.note()
	if m.oursOnly() {
		if !m.s.out.drop() {
			return misconduct("a FETCH response that can't be parted")
		}
		return nil
	}

	return m.s.out.end()
}

// quotedCover is what overwrites a quoted string, nil if it may be shown.
func (m *message) quotedCover(it wire.Item, uid uint32) cover {
	r, known := m.s.ruling(uid)
	if known {
		m.tell(uid, r)
	}
	switch plan := m.s.rulings.plan(uid); {
	case known && !r.Masked:
		return nil
	case known && plan != nil:
		return planCover(plan, it, m.s.notice(r))
	}
	return planCover(nil, it, m.s.notice(r))
}

// quoted reads a quoted string with content and writes it anew, overwritten if need be. What was read up to it ends with
// the opening quote.
func (m *message) quoted(p []byte) (rest []byte, err error) {
	it, uid := m.scan.Item, m.uid()
	if it.Class == wire.Whole {
		return m.quotedMessage(p, uid)
	}
	over := m.quotedCover(it, uid)
	var piece [512]byte
	for off := int64(0); ; {
		n, text, ended, good := m.scan.Quoted(p, piece[:0])
		if !good {
			return nil, misconduct("a quoted string that is none")
		}
		p = p[n:]
		if over != nil {
			over(text, off)
		}
		off += int64(len(text))
		quote := wire.Quote(string(text))
		if err := m.s.out.send([]byte(quote[1 : len(quote)-1])); err != nil {
			return nil, err
		}
		if ended {
			return p, m.s.out.send([]byte{'"'})
		}
		if len(p) == 0 {
			if p, _, err = m.s.back.in.Segment(); err != nil {
				return nil, err
			}
		}
	}
}

// quotedMessage reads a whole message that comes as a quoted string, which can only be a short line.
func (m *message) quotedMessage(p []byte, uid uint32) (rest []byte, err error) {
	text := make([]byte, 0, 32<<10)
	for ended := false; !ended; {
		n, more, over, good := m.scan.Quoted(p, text)
		if !good || len(more) == cap(text) {
			return nil, misconduct("a quoted string that is none")
		}
		p, text, ended = p[n:], more, over
		if !ended {
			if p, _, err = m.s.back.in.Segment(); err != nil {
				return nil, err
			}
		}
	}
	r, plan := m.s.judge(mail.NewMessage(slices.Clone(text)), uid)
	if plan != nil {
		plan.Message(text, 0)
	}
	if m.own != nil {
		m.s.rulings.set(uid, r)
	} else {
		m.tell(uid, r)
	}
	quote := wire.Quote(string(text))
	return p, m.s.out.send([]byte(quote[1:]))
}
