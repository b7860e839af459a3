package imapd

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/proxy/imapd/wire"
)

// fetchWhole passes on a FETCH of whole messages, or of no content at all.
func (s *session) fetchWhole(c *wire.Command, p *pending, w wanted) error {
	if p.whole = wholes(w.items); p.whole {
		if err := s.foresee(c, w.set); err != nil {
			return err
		}
	}
	return s.forward(c, p)
}

// fetch passes FETCH on. One that asks for parts of messages is held back until each of them was looked at: a part says
// nothing of the whole. Whole messages are looked at on their way, see fetched.
//
// RFC 9051 section 6.4.5, RFC 3516 section 4.2, RFC 8970 section 3.
func (s *session) fetch(c *wire.Command, p *pending) error {
	w, good := wantedOf(c)
	if !good {
		return s.refuse(badArguments(c.Tag))
	}
	p.asks = &asked{w.set, c.UID}
	w.parts = w.parts && !(c.UID && s.allRuled(w.set))
	if !w.parts && !w.sliced {
		return s.fetchWhole(c, p, w)
	}

	if err := s.drain(); err != nil {
		return err
	}
	stop := s.progress()
	defer stop()
	all, err := s.lookAt(c, p, w)
	switch {
	case errors.Is(err, errRefused):
		return nil
	case err != nil:
		return err
	}

	s.settleSet(c, p, w.set, w.text, all)
	// what was found out holds for this command: the next one asks anew, as a message may be called back meanwhile
	p.completed = func(string, string, string) { s.rulings.begin() }
	return s.forward(c, p)
}

// wanted is what a FETCH asks for.
type wanted struct {
	text          string // of the set
	set           wire.Set
	items         []wire.Item
	parts, sliced bool // some items are parts of messages, or slices of them
}

// wantedOf reads the arguments of a FETCH.
func wantedOf(c *wire.Command) (w wanted, good bool) {
	args := c.Args()
	first := args.Next() // RFC 9051 section 9: sequence-set is no string, and another one may be put in its place
	set, isSet := wire.ParseSet(first.Text)
	items, areItems := wire.ParseItems(args)
	w = wanted{text: first.Text, set: set, items: items, sliced: slices.ContainsFunc(items, wire.Item.Slice)}
	w.parts = slices.ContainsFunc(items, func(it wire.Item) bool { return it.Class == wire.Part })
	return w, first.Kind == wire.Atom && isSet && areItems && len(items) > 0
}

// lookAt has all messages examined of which parts are asked for.
func (s *session) lookAt(c *wire.Command, p *pending, w wanted) ([]found, error) {
	all, err := s.messages(c, w.set)
	if err == nil && w.parts {
		err = s.examine(c, p, all)
	}
	if err == nil && w.sliced {
		err = s.seeHeaders(c, w.items, all)
	}

	return all, err
}

// errRefused says that a command was answered.
var errRefused = errors.New("the command was refused")

// allRuled says whether all messages of a set of UIDs may be fetched in parts already.
func (s *session) allRuled(set wire.Set) bool {
	const limit = 200
	if set.Saved || set.Open(^uint32(0)) {
		return false
	}
	numbers := set.Numbers(limit + 1)
	for _, uid := range numbers {
		if !s.ready(uid) {
			return false
		}
	}
	return len(numbers) <= limit
}

// ready says whether parts of a message may be fetched: it is known, and if it is masked we know where.
func (s *session) ready(uid uint32) bool {
	r, known := s.ruling(uid)
	return known && (!r.Masked || s.rulings.plan(uid) != nil)
}

// messages asks which messages a set names. The commands are of the client's kind: RFC 9051 section 7.5.1, a server may
// tell of EXPUNGE in UID FETCH, and must not in FETCH.
func (s *session) messages(c *wire.Command, set wire.Set) ([]found, error) {
	s.rulings.begin()
	all := &own{}
	err := s.ask(fetchCommand(c.UID, set.String(), "(UID)"), all)
	return all.found, err
}

// lookInto has those messages judged that are not known: while one is judged the next one is fetched.
func (s *session) lookInto(c *wire.Command, all []found) error {
	defer s.line.Wait()
	for _, f := range all {
		if s.ready(f.uid) || s.line.Find(int64(f.uid)) != nil {
			continue
		}
		if err := s.ask(fetchCommand(c.UID, fmt.Sprint(f.of(c.UID)), "(UID BODY.PEEK[])"), &own{bodies: true}); err != nil {
			return err
		}
		if s.out.failed() {
			return errEnded
		}
	}
	return nil
}

// examine looks at all messages of a set before the client's command is sent.
func (s *session) examine(c *wire.Command, p *pending, all []found) error {
	if err := s.lookInto(c, all); err != nil {
		return err
	}
	left := 0
	for _, f := range all {
		r, known := s.ruling(f.uid)
		switch {
		case known && r.Later:
			left++
			p.putOff = later
		case known && r.Masked && s.rulings.over(f.uid):
			// more than may be kept of one session, or of all: half of the structure would be worse than nothing
			s.observe("PLAN_LIMIT", strconv.Itoa(len(all))+" messages")
			return errors.Join(errRefused, s.refuse(tooMany(c.Tag)))
		}
	}
	if left == len(all) && left > 0 {
		return errors.Join(errRefused, s.refuse(no(c.Tag, later)))
	}
	return nil
}

// settleSet makes the set of the client's command mean what was looked at: what arrives from now on was not, and what can't
// be judged now is left out.
func (s *session) settleSet(c *wire.Command, p *pending, set wire.Set, text string, all []found) {
	largest := uint32(0)
	var judged []uint32
	for _, f := range all {
		largest = max(largest, f.of(c.UID))
		if r, known := s.ruling(f.uid); !known || !r.Later {
			judged = append(judged, f.of(c.UID))
		}
	}
	switch {
	case p.putOff != "":
		slices.Sort(judged)
		c.ReplaceFirst(text, wire.Of(slices.Compact(judged)).String())
	case largest > 0 && set.Open(largest):
		c.ReplaceFirst(text, set.Until(largest).String())
	}
}

// seeHeaders looks at whole headers of which the client wants a piece: what of a header is overwritten is found from its
// beginning on, and a piece is to be a piece of what the whole would be.
//
// RFC 9051 section 6.4.5: a partial is a substring of the text.
func (s *session) seeHeaders(c *wire.Command, items []wire.Item, all []found) error {
	for _, it := range items {
		if !it.Slice() || strings.ContainsAny(it.Section, "{\r\n") {
			continue
		}
		for _, f := range all {
			if r, known := s.ruling(f.uid); f.uid == 0 || known && !r.Masked {
				continue
			}
			o := &own{header: true, end: -1}
			if err := s.ask(fetchCommand(c.UID, fmt.Sprint(f.of(c.UID)), "(UID BODY.PEEK["+it.Section+"])"), o); err != nil {
				return err
			}
			if o.end >= 0 {
				s.rulings.setEnd(f.uid, it.Section, o.end)
			}
		}
	}
	return nil
}

func fetchCommand(uid bool, set, items string) string {
	if uid {
		return "UID FETCH " + set + " " + items
	}
	return "FETCH " + set + " " + items
}

// ask sends a command of our own and waits for its end. No command of the client may be under way. What it fetches goes to
// o; all else that the backend says meanwhile is passed on.
func (s *session) ask(command string, o *own) error {
	verb, _, _ := strings.Cut(strings.TrimPrefix(command, "UID "), " ")
	timer := time.AfterFunc(s.opt.Stall, func() {
		s.observe("BACKEND_MISCONDUCT", "no answer")
		s.bye(byeSilent, "backend does not answer")
	})
	defer timer.Stop()
	o.moved = func() { timer.Reset(s.opt.Stall) }
	p := &pending{tag: s.tag(), verb: verb, own: o}
	if err := s.announce(p, leaveNone); err != nil {
		return err
	}
	if err := s.back.out.send([]byte(p.tag + " " + command + "\r\n")); err != nil {
		return errEnded
	}
	if err := s.back.out.flush(); err != nil {
		return errEnded
	}
	return s.flow.wait(p)
}

// progress tells the client that it is not forgotten, every few seconds, until stop is called.
func (s *session) progress() (stop func()) {
	var timer *time.Timer
	done := make(chan struct{})
	started := make(chan struct{})
	timer = time.AfterFunc(s.opt.Progress, func() {
		<-started
		select {
		case <-done:
			return
		default:
		}
		s.say(inProgress)
		_ = s.out.flush() // the next write tells
		timer.Reset(s.opt.Progress)
	})
	close(started)
	return func() { close(done); timer.Stop() }
}
