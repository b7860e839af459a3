package imapd

import (
	"fmt"
	"strings"
	"time"

	"postern/proxy/imapd/wire"
)

// fetch passes FETCH on. One that asks for parts of messages is held back until each of them was looked at: a part says
// nothing of the whole. Whole messages are looked at on their way, see fetched.
//
// RFC 9051 section 6.4.5, RFC 3516 section 4.2, RFC 8970 section 3.
func (s *session) fetch(c *wire.Command, p *pending) error {
	args := c.Args()
	first := args.Next() // RFC 9051 section 9: sequence-set is no string, and another one may be put in its place
	text, good := first.Text, first.Kind == wire.Atom
	set, good2 := wire.ParseSet(text)
	items, good3 := wire.ParseItems(args)
	if !good || !good2 || !good3 || len(items) == 0 {
		return s.refuse(badArguments(c.Tag))
	}
	parts := false
	for _, it := range items {
		parts = parts || it.Class == wire.Part
	}
	if !parts || c.UID && s.allRuled(set) {
		return s.forward(c, p)
	}
	if err := s.drain(); err != nil {
		return err
	}
	stop := s.progress()
	defer stop()
	if err := s.examine(c, set, text); err != nil {
		return err
	}
	return s.forward(c, p)
}

// allRuled says whether all messages of a set of UIDs may be fetched in parts already.
func (s *session) allRuled(set wire.Set) bool {
	const most = 200
	if set.Saved || set.Open(^uint32(0)) {
		return false
	}
	numbers := set.Numbers(most + 1)
	for _, uid := range numbers {
		if !s.ready(uid) {
			return false
		}
	}
	return len(numbers) <= most
}

// ready says whether parts of a message may be fetched: it is known, and if it is masked we know where.
func (s *session) ready(uid uint32) bool {
	r, known := s.ruling(uid)
	return known && (!r.Masked || s.rulings.plan(uid) != nil)
}

// examine looks at all messages of a set, one at a time, before the client's command is sent. The commands are of the
// client's kind: RFC 9051 section 7.5.1, a server may tell of EXPUNGE in UID FETCH, and must not in FETCH.
func (s *session) examine(c *wire.Command, set wire.Set, text string) error {
	s.rulings.begin()
	all := &own{}
	if err := s.ask(fetchCommand(c.UID, set.String(), "(UID)"), all); err != nil {
		return err
	}
	largest := uint32(0)
	for _, f := range all.found {
		number := f.number
		if c.UID {
			number = f.uid
		}
		largest = max(largest, number)
		if s.ready(f.uid) {
			continue
		}
		if err := s.ask(fetchCommand(c.UID, fmt.Sprint(number), "(UID BODY.PEEK[])"), &own{bodies: true}); err != nil {
			return err
		}
		if s.out.failed() {
			return errEnded
		}
	}
	// what arrives from now on was not looked at: "*" is to mean what it meant
	if largest > 0 && set.Open(largest) {
		c.ReplaceFirst(text, set.Until(largest).String())
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
	timer := time.AfterFunc(s.opt.Stall, func() {
		s.observe("BACKEND_MISCONDUCT", "no answer")
		s.bye(byeSilent, "backend does not answer")
	})
	defer timer.Stop()
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
