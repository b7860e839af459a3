package imapd

import (
	"bytes"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"postern/internal/mail"
	"postern/proxy/imapd/wire"
	"postern/proxy/mask"
	"postern/proxy/retrieval"
	"postern/proxy/retrieval/ahead"
)

// parcel is one response with a whole message, which goes to the client once it is judged, or the completion of its command.
type parcel struct {
	s           *session
	front, back []byte // the text of the response before and behind the message
	item        wire.Item
	number, uid uint32
	message     *mail.Message // nil if it could not be stored
	job         *ahead.Job
	// ruling, plan and at are there once the job is done.
	ruling retrieval.Ruling
	plan   *mask.Plan
	at     time.Time
	// completion ends a command, in the place of all above.
	completion func() error
}

// turns are responses that the backend gave and the client has not got yet. They are judged side by side and go out in the
// order in which they came. While there are any, nothing else of the backend's is passed on: see settle.
type turns struct {
	mu      sync.Mutex
	change  *sync.Cond
	waiting []*parcel
	running bool // a goroutine sends them
	err     error
}

func newTurns() *turns {
	t := &turns{}
	t.change = sync.NewCond(&t.mu)
	return t
}

func (t *turns) push(p *parcel) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		p.discard()
		return t.err
	}
	t.waiting = append(t.waiting, p)
	if !t.running {
		t.running = true
		go t.run(p.s)
	}
	return nil
}

// busy says whether something waits for its turn.
func (t *turns) busy() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.running
}

// next waits until one more was sent. It says no if nothing waits.
func (t *turns) next() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.running {
		return false
	}
	for n := len(t.waiting); t.running && len(t.waiting) >= n; {
		t.change.Wait()
	}
	return true
}

// settle waits until all were sent.
func (t *turns) settle() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.running {
		t.change.Wait()
	}
	return t.err
}

// run sends what waits, until nothing does.
func (t *turns) run(s *session) {
	for {
		t.mu.Lock()
		p := (*parcel)(nil)
		if len(t.waiting) > 0 {
			p = t.waiting[0]
		}
		failed := t.err != nil
		t.mu.Unlock()
		if p == nil {
			if t.rest(s) {
				return
			}
			continue
		}
		err := error(nil)
		if !failed {
			err = p.sendOrEnd()
		}
		p.discard()
		t.mu.Lock()
		t.waiting[0] = nil
		t.waiting = t.waiting[1:]
		if t.err == nil {
			t.err = err
		}
		t.change.Broadcast()
		t.mu.Unlock()
	}
}

// rest ends the sending, unless something came meanwhile.
func (t *turns) rest(s *session) bool {
	_ = s.out.flush() // the next write tells
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) > 0 {
		return false
	}
	t.waiting, t.running = nil, false
	t.change.Broadcast()
	return true
}

// discard gives back what the parcel holds, once nobody works on it.
func (p *parcel) discard() {
	if p.job == nil {
		return
	}
	<-p.job.Done()
	p.job.Leave()
	if p.message != nil {
		_ = p.message.Close() // nothing to keep
	}
}

// judge has the message judged. What was begun of it before its turn is waited for.
func (p *parcel) judge() {
	if p.message == nil {
		return
	}
	if earlier := p.s.line.Find(int64(p.uid)); earlier != nil && p.uid != 0 {
		p.job.Start(0, func() {
			<-earlier.Done()
			p.ruling, p.plan = p.s.safely(p.message, p.uid)
			p.at = p.s.opt.Now()
		})
		return
	}
	p.job.Start(int64(p.uid), func() {
		p.ruling, p.plan = p.s.safely(p.message, p.uid)
		p.at = p.s.opt.Now()
	})
}

// safely is judge in a goroutine of its own: a panic is no verdict.
func (s *session) safely(m *mail.Message, uid uint32) (r retrieval.Ruling, plan *mask.Plan) {
	defer func() {
		if x := recover(); x != nil {
			s.opt.Log.Error("panic while a fetched message was judged", "id", s.Mail.ID, "panic", fmt.Sprint(x), "stack", string(debug.Stack()))
			r, plan = retrieval.Ruling{Masked: true, Later: true, ID: s.Mail.ID, Why: "it could not be judged"}, nil
		}
	}()
	return s.judge(m, uid)
}

// stale is how old a judgement may be when its message is sent, unless it stands in the verdicts's memory, which knows of
// recalls.
const stale = time.Second

// errPanic is what became of a response whose sending panicked.
var errPanic = errors.New("internal error")

// sendOrEnd is send; a panic in it ends the session.
func (p *parcel) sendOrEnd() (err error) {
	err = errPanic // unless it comes to its end
	defer p.s.endPanic()
	err = p.send()
	return err
}

// isOutdated says whether the ruling on the message no longer holds: another was given meanwhile, or it is too old.
func (p *parcel) isOutdated() bool {
	now, known := p.s.ruling(p.uid)
	if known {
		return now.Masked != p.ruling.Masked
	}
	return p.s.opt.Now().Sub(p.at) > stale
}

// send sends the response, as the ruling on its message says now.
func (p *parcel) send() error {
	if p.completion != nil {
		return p.completion()
	}
	s := p.s
	p.wait()
	r, plan := p.ruling, p.plan
	if p.message != nil && p.isOutdated() {
		r, plan = s.safely(p.message, p.uid)
	}
	if r.Later {
		s.observe("NOT_JUDGED", r.Why)
		s.leaveOut(p.number, p.uid)
		return nil
	}
	var over cover
	if plan != nil {
		over = plan.Message
	} else if r.Masked {
		over = planCover(nil, p.item, s.notice(r))
	}
	s.opt.VerdictCache.Fetched(s.Ctx, s.Mail, s.place(p.uid), r)
	s.out.begin()
	err := s.out.send(p.front)
	if err == nil {
		err = s.sendMessage(p.message, over)
	}
	return errors.Join(err, s.out.send(p.back), s.out.end())
}

// wait waits for the judgement. The client has all that is before it then, and is told that work goes on.
func (p *parcel) wait() {
	select {
	case <-p.job.Done():
		return
	default:
	}
	_ = p.s.out.flush() // the next write tells
	stop := p.s.progress()
	defer stop()
	<-p.job.Done()
}

// maxBack is how much text may stand behind a message in its response, in octets.
const maxBack = 8 << 10

// inAdvance takes a response in whose message the client asked for, and has it judged while the next one is read. It says no
// if the response is not of that kind, or if there is no room; then nothing of it was taken. If it turns out on the way
// that more content stands in the response, rest is what is to be read of it in the usual way.
func (m *message) inAdvance(piece []byte, body int) (taken bool, rest []byte, err error) {
	s := m.s
	probe, whole := wholeAhead(piece[body:])
	if !whole {
		return false, nil, nil
	}
	size := probe.Literal.Size
	uid := (&message{s: s, scan: probe, number: m.number, named: m.named}).uid()
	if r, known := s.ruling(uid); known && !r.Masked && !s.turns.busy() {
		return false, nil, nil // it goes straight through
	}
	job := s.roomFor(size)
	if job == nil {
		return false, nil, nil
	}
	m.scan = probe
	p := &parcel{s: s, front: bytes.Clone(piece), item: probe.Item, number: m.number, job: job}
	p.message, err = s.spool(size)
	if f, isFault := errors.AsType[fault](err); isFault {
		p.ruling = retrieval.Ruling{Masked: true, Later: true, ID: s.Mail.ID, Why: f.Error()}
	} else if err != nil {
		job.Leave()
		return true, nil, err
	}
	whole, err = m.behind(p)
	if err != nil {
		p.abandon()
		return true, nil, err
	}
	if !whole {
		return true, p.back, m.inTurn(p)
	}
	p.begin(m)
	return true, nil, s.turns.push(p)
}

// begin has the message judged, now that its UID is known.
func (p *parcel) begin(m *message) {
	p.uid = m.uid()
	if p.uid != 0 && m.named == 0 && m.scan.UID != 0 {
		p.s.selected().learn(m.number, m.scan.UID)
	}
	if p.message == nil {
		p.job.Start(0, func() {})
	} else {
		p.judge()
	}
}

// wholeAhead says whether a response goes on with a whole message as its first content.
func wholeAhead(text []byte) (probe wire.Fetch, whole bool) {
	n, event := probe.Scan(text)
	return probe, event == wire.EventHead && n == len(text) && !probe.NameLiteral() && probe.Item.Class == wire.Whole
}

// roomFor takes room for a message that is judged in advance, once enough of those before it were sent. It is nil if there
// is none even then.
func (s *session) roomFor(size int64) *ahead.Job {
	job := s.line.Take(size)
	for job == nil && s.turns.next() {
		job = s.line.Take(size)
	}
	return job
}

// behind reads the text behind the message up to the end of the response. It says no if there is more than text.
func (m *message) behind(p *parcel) (whole bool, err error) {
	probe := m.scan
	for {
		piece, _, err := m.s.back.in.Segment()
		if err != nil {
			return false, err
		}
		n, event := probe.Scan(piece)
		p.back = append(p.back, piece...)
		switch {
		case event == wire.EventDone && n == len(piece):
			m.scan = probe
			return true, nil
		case event != wire.EventMore || len(p.back) > maxBack:
			return false, nil
		}
	}
}

// abandon gives back what a parcel holds that was not handed on.
func (p *parcel) abandon() {
	p.job.Leave()
	if p.message != nil {
		_ = p.message.Close() // nothing to keep
	}
}

// inTurn sends the front and the message of a response that holds more than that, once all before it were sent.
func (m *message) inTurn(p *parcel) error {
	s := m.s
	defer p.abandon()
	if err := s.turns.settle(); err != nil {
		return err
	}
	s.out.begin()
	s.out.hold(true)
	if err := s.out.send(p.front); err != nil {
		return err
	}
	if p.message == nil {
		return m.putOff()
	}
	return m.show(p.message, m.uid())
}
