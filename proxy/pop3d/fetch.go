package pop3d

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"time"

	"postern/internal/mail"
	"postern/proxy/mask"
	"postern/proxy/retrieval"
	"postern/proxy/retrieval/ahead"
)

// place is where a message lies; it is none if nobody knows whose mailbox it is.
func (s *session) place(message int64) retrieval.Place {
	owner := s.gate.Mailbox()
	if owner == "" {
		return retrieval.Place{}
	}
	p := retrieval.Place{Backend: s.back.name, User: owner, UIDL: s.ids.byNumber[message], Size: s.ids.sizes[message]}
	if s.Mail.User != owner {
		p.Reader = s.Mail.User
	}
	return p
}

func (s *session) known(p retrieval.Place) (retrieval.Ruling, bool) {
	if p.UIDL == "" {
		return retrieval.Ruling{}, false
	}
	return s.opt.VerdictCache.Known(s.Ctx, p)
}

// top is TOP with lines of the body: some clients never use RETR but ask for more lines than there are. A message that is
// not known to be clean is fetched and judged whole, and its first lines are taken from that.
func (s *session) top(c command) error {
	if err := s.lookUp(c.message); err != nil {
		return err
	}
	p := s.place(c.message)
	if r, known := s.known(p); known && !r.Masked {
		done, err := s.cleanTop(c, p)
		if done || err != nil {
			return err
		}
	}
	s.send(command{line: "RETR " + strconv.FormatInt(c.message, 10)})
	status, good, err := s.back.status()
	if err != nil {
		s.out.Say(replyLoggedOut)
		return err
	}
	if !good {
		s.out.Say(status + "\r\n")
		return nil
	}
	return s.delivery(replyFetched).fetch(p, c.lines)
}

// cleanTop passes TOP on for a message that is known to be clean. If another one lies under its unique-id the answer is
// thrown away, and it is not done.
func (s *session) cleanTop(c command, p retrieval.Place) (done bool, err error) {
	s.send(c)
	status, good, err := s.back.status()
	if err != nil {
		s.out.Say(replyLoggedOut)
		return true, err
	}
	if !good {
		s.out.Say(status + "\r\n")
		return true, nil
	}
	d := s.delivery(status + "\r\n")
	defer d.spool.Discard()
	p, r, known, err := d.front(p)
	switch {
	case err != nil:
		return true, err
	case known && !r.Masked:
		s.opt.VerdictCache.Fetched(s.Ctx, s.Mail, p, r)
		return true, d.through(nil)
	}
	return false, d.skip()
}

// delivery is one message on its way through.
type delivery struct {
	s *session
	// message is its number, 0 if nothing of it can be under way.
	message int64
	// what is known of it once all of it came; answer is nil if the ruling was known
	place   retrieval.Place
	known   bool
	ruling  retrieval.Ruling
	content *mail.Message
	answer  chan judged
	waited  bool // others were before it
	job     *ahead.Job
	stream  stuffer
	lines   response
	spool   mail.Spool
	ended   bool  // all of it came
	fault   error // it can't be spooled
	first   []byte
	// status is said as late as possible: as long as it is not, the client can be told to come again.
	status string
	begun  bool
	// what of the header is sent already, while the client waits
	head    []byte // what came first, up to maxHead, until the header's end is known
	header  []byte // the part that no mask changes
	sent    int64
	next    time.Time
	tooLong bool
}

// judged is a ruling, and when it was given.
type judged struct {
	retrieval.Ruling
	at time.Time
}

const (
	// maxHead is how much of a message is looked at for lines to send while it still comes in, in octets.
	maxHead = 16 << 10
	// spooled is how much larger than what is judged a message may be whose original is kept.
	spooled = 16
)

func (s *session) delivery(status string) *delivery {
	d := &delivery{s: s, status: status, lines: response{in: s.back.in, limit: maxContent}, spool: mail.Spool{Dir: s.opt.SpoolDir}}
	d.stream.out = s.out
	d.next = s.opt.Now().Add(s.opt.Patience)
	return d
}

// begin says the status.
func (d *delivery) begin() {
	if !d.begun {
		d.begun = true
		d.s.out.Say(d.status)
	}
}

// front takes the first octets in, and looks up what is known of the message that begins so.
func (d *delivery) front(p retrieval.Place) (retrieval.Place, retrieval.Ruling, bool, error) {
	for !d.ended && len(d.first) < retrieval.FrontSize && !bytes.Contains(d.first, []byte("\r\n\r\n")) {
		text, more, err := d.lines.text()
		if err != nil {
			d.broken()
			return p, retrieval.Ruling{}, false, err
		}
		if d.ended = !more; d.ended {
			break
		}
		d.first = append(d.first, text...)
		d.take(text)
	}
	p.Front = retrieval.FrontOf(d.first)
	d.first = nil
	r, known := d.s.known(p)
	return p, r, known, nil
}

// fetch takes the message in, has it judged, and sends it, or with lines from 0 on so many lines of its body.
func (d *delivery) fetch(p retrieval.Place, lines int64) error {
	if done, err := d.takeAll(p, lines); done || err != nil {
		return err
	}
	return d.show(lines)
}

// takeAll takes the message in and begins to have it judged. It is done with one that is known to be clean, which it passes
// on as it comes, and with one that can't be stored.
func (d *delivery) takeAll(p retrieval.Place, lines int64) (done bool, err error) {
	s := d.s
	if d.place, d.ruling, d.known, err = d.front(p); err != nil {
		d.spool.Discard()
		return true, err
	}
	if d.known && !d.ruling.Masked && lines < 0 {
		defer d.spool.Discard()
		if err := s.showLate(); err != nil {
			return true, err
		}
		s.opt.VerdictCache.Fetched(s.Ctx, s.Mail, d.place, d.ruling)
		return true, d.through(nil)
	}
	if err := d.takeIn(); err != nil {
		d.spool.Discard()
		d.broken()
		return true, err
	}
	if d.content, err = d.finish(); err != nil {
		defer d.spool.Discard()
		if failed := s.showLate(); failed != nil {
			return true, failed
		}
		return true, d.later(err.Error())
	}
	d.ask()
	return false, nil
}

// broken sends what came of a message whose rest will not come, as a cut one, behind all before it.
func (d *delivery) broken() {
	if d.s.showLate() == nil {
		d.begin()
	}
}

// show sends the message once it is judged.
func (d *delivery) show(lines int64) (err error) {
	s, m := d.s, d.content
	defer func() { _ = m.Close() }() // a spool without a name: nothing to lose
	r := d.judgement()
	if r.Later {
		return d.later(r.Why)
	}
	s.opt.VerdictCache.Fetched(s.Ctx, s.Mail, d.place, r)
	var plan *mask.Plan
	if r.Masked {
		plan = mask.New(m, s.notice(r))
	}
	end := m.Size()
	if lines >= 0 {
		if end, err = lineEnd(m, lines); err != nil {
			return d.later(err.Error())
		}
	}
	d.begin()
	if err := d.send(m, plan, end); err != nil {
		return err
	}
	d.stream.end()
	return s.out.Flush()
}

// through passes the message on as it comes, behind what was taken in of it. show may overwrite what passes.
func (d *delivery) through(show func([]byte)) error {
	m, err := d.finish()
	if err != nil {
		return d.later(err.Error())
	}
	defer func() { _ = m.Close() }() // a few octets of memory
	d.begin()
	write := func(p []byte) {
		if show != nil {
			show(p)
		}
		d.stream.write(p)
	}
	write(bytes.Clone(m.Memory()))
	for !d.ended && d.s.out.Err() == nil {
		p, more, err := d.lines.text()
		if err != nil {
			return err
		}
		if d.ended = !more; more {
			write(p)
		}
	}
	if d.s.out.Err() != nil {
		return d.s.out.Err()
	}
	d.stream.end()
	return nil
}

// later tells the client to come again. If it heard the beginning of the message already, all that is left is to break off:
// no client takes for a message what does not end.
//
// RFC 3206 section 4: SYS/TEMP is not the user's fault and passes.
func (d *delivery) later(why string) error {
	if err := d.skip(); err != nil {
		return err
	}
	d.s.observe("NOT_JUDGED", why)
	if d.begun {
		_ = d.s.out.Flush() // it is broken off in any case
		d.s.Finish("a message could not be judged, and its beginning was sent")
		return nil
	}
	d.s.out.Say(replyLater)
	return nil
}

// skip reads what is left of the response.
func (d *delivery) skip() error {
	for !d.ended {
		_, more, err := d.lines.text()
		if err != nil {
			return err
		}
		d.ended = !more
	}
	return nil
}

// takeIn spools the message. One that is over the limit is spooled all the same, so that it can be kept.
func (d *delivery) takeIn() error {
	for !d.ended {
		p, more, err := d.lines.text()
		if err != nil {
			return err
		}
		if d.ended = !more; more {
			d.take(p)
		}
		if len(d.s.late) == 0 && !d.s.opt.Now().Before(d.next) {
			d.trickle()
		}
	}
	d.sight(true)
	d.tooLong = d.spool.Size() > d.s.opt.MaxMessage
	return nil
}

// errTooLarge says that a message is not even kept.
var errTooLarge = errors.New("it is larger than what is spooled")

// take takes a piece in.
func (d *delivery) take(p []byte) {
	if d.fault != nil {
		return
	}
	if d.spool.Size()+int64(len(p)) > spooled*d.s.opt.MaxMessage {
		d.fault = errTooLarge
	} else {
		_, d.fault = d.spool.Write(p)
	}
	if d.header == nil && len(d.head) < maxHead {
		d.head = append(d.head, p...)
		d.sight(len(d.head) >= maxHead)
	}
}

// finish gives what was taken in. An error is our own fault, and in the log.
func (d *delivery) finish() (*mail.Message, error) {
	m, err := (*mail.Message)(nil), d.fault
	if err == nil {
		m, err = d.spool.Finish()
	}
	if err != nil {
		d.s.opt.Log.Error("a message can't be spooled", "id", d.s.Mail.ID, "error", err)
	}
	return m, err
}

// tooLarge is the ruling on a message over the limit of what is judged.
func (d *delivery) tooLarge(p retrieval.Place, m *mail.Message) retrieval.Ruling {
	r := retrieval.Ruling{Masked: true, ID: d.s.Mail.ID, Why: "too large to be judged"}
	if keeper, can := d.s.opt.VerdictCache.(Keeper); can {
		return keeper.Keep(d.s.Ctx, d.s.Mail, p, m, r)
	}
	return r
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

// trickle sends one line of the header, if there is one left, behind the status: no client's patience ends while something
// comes.
func (d *delivery) trickle() {
	d.next = d.s.opt.Now().Add(d.s.opt.Progress)
	d.begin()
	rest := d.header[d.sent:]
	n := bytes.IndexByte(rest, '\n') + 1
	d.stream.write(rest[:n])
	d.sent += int64(n)
	_ = d.s.out.Flush() // the next write tells of an error
}

// ask begins to have the message judged, unless it is known. What was begun of it before its turn is waited for.
func (d *delivery) ask() {
	s, p, m := d.s, d.place, d.content
	if d.known && !d.tooLong {
		return
	}
	d.answer = make(chan judged, 1)
	if d.tooLong {
		d.answer <- judged{d.tooLarge(p, m), s.opt.Now()}
		return
	}
	earlier := s.early.Find(d.message)
	go func() {
		if earlier != nil {
			<-earlier.Done() // the verdicts knows its octets then
		}
		r := s.safely(p, m)
		d.answer <- judged{r, s.opt.Now()}
	}()
}

// judgement waits for the answer, and sends signs of life meanwhile.
func (d *delivery) judgement() retrieval.Ruling {
	s := d.s
	if d.answer == nil {
		return d.ruling
	}
	if len(d.answer) == 0 {
		_ = s.out.Flush() // what was said before; the next write tells of an error
	}
	tick := time.NewTicker(s.opt.Progress)
	defer tick.Stop()
	for {
		select {
		case r := <-d.answer:
			return d.current(r.Ruling, r.at)
		case <-tick.C:
			if !s.opt.Now().Before(d.next) {
				d.trickle()
			}
		}
	}
}

// stale is how old a judgement may be when its message is sent, unless the verdicts remembers it by its place.
const stale = time.Second

// current is a judgement as it stands when the message's turn comes: it may have been called back meanwhile.
func (d *delivery) current(r retrieval.Ruling, at time.Time) retrieval.Ruling {
	if d.tooLong || r.Later {
		return r
	}
	if now, known := d.s.known(d.place); known {
		return now
	}
	if d.s.opt.Now().Sub(at) > stale {
		return d.s.safely(d.place, d.content)
	}
	return r
}

const sendBlock = 32 << 10

// send writes the message from where the header's lines left off.
func (d *delivery) send(m *mail.Message, plan *mask.Plan, end int64) error {
	buf := d.s.server.buffers.Take()
	defer func() { d.s.server.buffers.Give(buf) }()
	for at := d.sent; at < end && d.s.out.Err() == nil; {
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
	if d.s.out.Err() != nil {
		return d.s.out.Err()
	}
	return nil
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
