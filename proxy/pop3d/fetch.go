package pop3d

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/proxy/mask"
	"postern/proxy/retrieval"
)

// place is where a message lies; it is none if nobody knows whose mailbox it is.
func (s *session) place(message int64) retrieval.Place {
	owner := s.visit.Mailbox()
	if owner == "" {
		return retrieval.Place{}
	}
	return retrieval.Place{Backend: s.back.name, User: owner, UIDL: s.ids.byNumber[message]}
}

func (s *session) known(p retrieval.Place) (retrieval.Ruling, bool) {
	if p.UIDL == "" {
		return retrieval.Ruling{}, false
	}
	return s.opt.Desk.Known(s.ctx, p)
}

// retrieved passes on a message that the backend begins to send. What is known to be clean goes straight through; all
// else is held until it is judged, and overwritten if need be.
func (s *session) retrieved(c command, status string) error {
	p := s.place(c.message)
	r, known := s.known(p)
	s.out.say(status + "\r\n")
	if known && !r.Masked {
		s.opt.Desk.Fetched(s.ctx, s.mail, p, r)
		return s.pass(maxContent, nil)
	}
	d := s.delivery()
	return d.fetch(p, r, known, -1)
}

// top is TOP with lines of the body: some clients never use RETR but ask for more lines than there are. A message that is
// not known to be clean is fetched and judged whole, and its first lines are taken from that.
func (s *session) top(c command) error {
	if err := s.lookUp(c.message); err != nil {
		return err
	}
	p := s.place(c.message)
	r, known := s.known(p)
	if known && !r.Masked {
		s.opt.Desk.Fetched(s.ctx, s.mail, p, r)
		return s.answer(s.send(c))
	}
	s.send(command{line: "RETR " + strconv.FormatInt(c.message, 10)})
	status, good, err := s.back.status()
	if err != nil {
		s.out.say(replyLoggedOut)
		return err
	}
	if !good {
		s.out.say(status + "\r\n")
		return nil
	}
	s.out.say(replyFetched)
	d := s.delivery()
	return d.fetch(p, r, known, c.lines)
}

// delivery is one message on its way through.
type delivery struct {
	s      *session
	stream stuffer
	lines  response
	spool  mail.Spool
	// what of the header is sent already, while the client waits
	head    []byte // what came first, up to maxHead, until the header's end is known
	header  []byte // the part that no mask changes
	sent    int64
	next    time.Time
	tooLong bool
}

// maxHead is how much of a message is looked at for lines to send while it still comes in, in octets.
const maxHead = 16 << 10

func (s *session) delivery() *delivery {
	d := &delivery{s: s, lines: response{in: s.back.in, limit: maxContent}, spool: mail.Spool{Dir: s.opt.SpoolDir}}
	d.stream.out = s.out
	d.next = s.opt.Now().Add(s.opt.Progress)
	return d
}

// fetch takes the message in, has it judged, and sends it, or with lines from 0 on so many lines of its body.
func (d *delivery) fetch(p retrieval.Place, r retrieval.Ruling, known bool, lines int64) error {
	if err := d.takeIn(); err != nil {
		d.spool.Discard()
		return err
	}
	m, err := d.spool.Finish()
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }() // a spool without a name: nothing to lose
	switch {
	case d.tooLong:
		r = retrieval.Ruling{Masked: true, ID: d.s.mail.ID, Why: "too large to be judged"}
	case !known:
		r = d.judge(p, m)
	}
	d.s.opt.Desk.Fetched(d.s.ctx, d.s.mail, p, r)
	var plan *mask.Plan
	if r.Masked {
		plan = mask.New(m, d.s.notice(r))
	}
	end := m.Size()
	if lines >= 0 {
		if end, err = lineEnd(m, lines); err != nil {
			return err
		}
	}
	if err := d.send(m, plan, end); err != nil {
		return err
	}
	return d.rest(lines >= 0)
}

// takeIn spools the message up to the limit.
func (d *delivery) takeIn() error {
	for {
		p, more, err := d.lines.text()
		if err != nil || !more {
			d.sight(true)
			return err
		}
		if _, err := d.spool.Write(p); err != nil {
			return err
		}
		if d.header == nil && len(d.head) < maxHead {
			d.head = append(d.head, p...)
			d.sight(len(d.head) >= maxHead)
		}
		if !d.s.opt.Now().Before(d.next) {
			d.trickle()
		}
		if d.spool.Size() > d.s.opt.MaxMessage {
			d.tooLong = true
			return nil
		}
	}
}

// sight looks where the header ends, once there is enough to see.
func (d *delivery) sight(enough bool) {
	if d.header != nil || !enough {
		return
	}
	m := mail.NewMessage(d.head)
	d.header = d.head[:mask.HeaderEnd(m)]
	d.header = d.header[:bytes.LastIndexByte(d.header, '\n')+1]
	d.head = nil
}

// trickle sends one line of the header, if there is one left: no client's patience ends while something comes.
func (d *delivery) trickle() {
	d.next = d.s.opt.Now().Add(d.s.opt.Progress)
	rest := d.header[d.sent:]
	n := bytes.IndexByte(rest, '\n') + 1
	if n == 0 {
		return
	}
	d.stream.write(rest[:n])
	d.sent += int64(n)
	_ = d.s.out.flush() // the next write tells of an error
}

// judge asks the desk, and sends signs of life meanwhile.
func (d *delivery) judge(p retrieval.Place, m *mail.Message) retrieval.Ruling {
	s := d.s
	_ = s.out.flush() // the status goes out at once; the next write tells of an error
	answer := make(chan retrieval.Ruling, 1)
	go func() {
		r := retrieval.Ruling{Masked: true, ID: s.mail.ID, Why: "it could not be judged"}
		defer func() {
			if x := recover(); x != nil {
				s.opt.Log.Error("panic while a message was judged", "id", s.mail.ID, "panic", x)
			}
			answer <- r
		}()
		r = s.opt.Desk.Judge(s.ctx, s.mail, p, m)
	}()
	tick := time.NewTicker(s.opt.Progress)
	defer tick.Stop()
	for {
		select {
		case r := <-answer:
			return r
		case <-tick.C:
			d.trickle()
		}
	}
}

const sendBlock = 32 << 10

// send writes the message from where the header's lines left off.
func (d *delivery) send(m *mail.Message, plan *mask.Plan, end int64) error {
	buf := d.s.server.buffers.Take()
	defer func() { d.s.server.buffers.Give(buf) }()
	for at := d.sent; at < end && d.s.out.err == nil; {
		b := buf[:min(int64(sendBlock), end-at)]
		if n, err := m.ReadAt(b, at); err != nil && n < len(b) {
			return err
		}
		if plan != nil {
			plan.Message(b, at)
		}
		d.stream.write(b)
		at += int64(len(b))
	}
	if d.s.out.err != nil {
		return d.s.out.err
	}
	return nil
}

// rest ends the response. What there is behind the limit of a message goes through overwritten, or is thrown away where
// only lines were asked for.
func (d *delivery) rest(silent bool) error {
	for d.tooLong {
		p, more, err := d.lines.text()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if !silent {
			mask.Opaque(p, 0, "")
			d.stream.write(p)
		}
	}
	d.stream.end()
	return d.s.out.flush()
}

// lineEnd finds where the header and so many lines of the body end: RFC 1939 section 7.
func lineEnd(m *mail.Message, lines int64) (int64, error) {
	buf := make([]byte, sendBlock)
	at := m.BodyOffset()
	for at < m.Size() && lines > 0 {
		b := buf[:min(int64(len(buf)), m.Size()-at)]
		if n, err := m.ReadAt(b, at); err != nil && n < len(b) {
			return 0, err
		}
		for i, c := range b {
			if c == '\n' {
				if lines--; lines == 0 {
					return at + int64(i) + 1, nil
				}
			}
		}
		at += int64(len(b))
	}
	return at, nil
}

// notice is what stands in the place of the content.
func (s *session) notice(r retrieval.Ruling) string {
	return strings.ReplaceAll(s.opt.Notice, "{id}", r.ID)
}
