package imapd

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"postern/proxy/frame"
	"postern/proxy/imapd/wire"
	"postern/proxy/line"
)

// Limits of commands after the login, in octets. Exchange takes 10,240 by default, Dovecot 65,536.
const (
	maxCommand = 64 << 10
	maxLiteral = 64 << 10
	maxDepth   = 32
)

func commandLimits() wire.Limits {
	return wire.Limits{Text: maxCommand, Literal: maxLiteral, Literals: 64, Depth: maxDepth}
}

// proxy is the session after the login: this goroutine reads the client's commands, another one the backend's responses.
func (s *session) proxy() {
	s.mu.Lock()
	s.flow = newFlow()
	s.mu.Unlock()
	s.Behind(s.back.conn)
	s.In.Cap, s.In.Idle = time.Time{}, s.opt.Idle
	s.In.Before = s.sendAll
	s.box = newSelected("")
	s.rulings.share = s.server.room.share(strings.ToLower(s.Mail.User))
	defer s.rulings.share.close()
	s.line, s.turns = s.server.ahead.Enter(strings.ToLower(s.Mail.User)), newTurns()
	defer s.line.Wait()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.listen()
	}()
	for !s.Ended() {
		s.command()
	}
	s.flow.stop()
	_ = s.out.flush()                   // the client may be gone
	_ = frame.Bare(s.back.conn).Close() // the other goroutine sees it
	<-done
}

// sendAll sends what is buffered for the backend and, before this goroutine waits for the client, for the client.
func (s *session) sendAll() error {
	if err := s.back.out.flush(); err != nil {
		return err
	}
	return s.out.flush()
}

// command is the way of a command: read as tokens, looked at, and passed on, held back, or refused.
func (s *session) command() {
	s.In.Rest()
	s.Await(true)
	c, err := wire.ReadCommand(s.In, commandLimits())
	s.Await(false)
	if errors.Is(err, io.EOF) {
		s.answerTheRest()
	}
	for err == nil && c.Literal != nil && !isUpload(c) {
		err = s.gather(c)
	}
	if err == nil {
		err = s.dispatch(c)
	}
	switch {
	case err == nil || errors.Is(err, errRefusedLiteral):
	case errors.Is(err, errEnded):
		s.Finish("backend closed the connection")
	default:
		s.readFailed(err)
	}
}

// answerTheRest lets the backend answer what a client asked that says no more, but may still listen: RFC 9293 section 3.6.
func (s *session) answerTheRest() {
	timer := time.AfterFunc(s.opt.Stall, s.flow.stop)
	defer timer.Stop()
	s.drained()
}

// dispatch does what a command needs: it may hold a command back (drain), ask the backend by commands of its own (ask),
// and hear the answer (pending.completed).
func (s *session) dispatch(c *wire.Command) error {
	p := &pending{tag: c.Tag, verb: c.Verb}
	switch c.Verb {
	case "FETCH":
		return s.fetch(c, p)
	case "SELECT", "EXAMINE", "CLOSE", "UNSELECT":
		return s.choose(c, p)
	case "COPY", "MOVE":
		return s.copy(c, p)
	case "APPEND", "REPLACE":
		return s.upload(c, p)
	case "STORE":
		return s.store(c, p)
	case "CREATE", "DELETE", "RENAME":
		s.folders.forget()
	case "IDLE":
		return s.idle(c, p)
	case "ID":
		return s.id(c, p)
	case "ENABLE":
		return s.enable(c, p)
	}
	if !passes(c) {
		return s.refuse(notOffered(c.Tag))
	}
	return s.forward(c, p)
}

// passes says whether a command may go to the backend just so. What is not in the list is either one of what we hide
// (see capabilities.shown) or unknown, and who knows what that hands out.
func passes(c *wire.Command) bool {
	if c.UID {
		switch c.Verb {
		case "EXPUNGE", "SEARCH", "SORT", "THREAD":
			return true
		}
		return false
	}
	switch c.Verb {
	case "CAPABILITY", "NOOP", "LOGOUT", "CREATE", "DELETE", "RENAME", "SUBSCRIBE", "UNSUBSCRIBE", "LIST", "LSUB", "XLIST",
		"NAMESPACE", "STATUS", "CHECK", "EXPUNGE", "SEARCH", "ESEARCH", "SORT", "THREAD", "CANCELUPDATE",
		"GETQUOTA", "GETQUOTAROOT", "SETQUOTA", "SETACL", "DELETEACL", "GETACL", "LISTRIGHTS", "MYRIGHTS",
		"GETMETADATA", "SETMETADATA", "LANGUAGE":
		return true
	}
	return false
}

// forward sends a whole command.
func (s *session) forward(c *wire.Command, p *pending) error {
	_, err := s.sendPieces(c, p)
	return err
}

// sendPieces sends what was read of a command. It says whether the backend took all of it: if it answers where it should
// give leave, nothing more of the command is sent.
func (s *session) sendPieces(c *wire.Command, p *pending) (taken bool, err error) {
	pieces := c.Pieces(s.back.plus)
	if err := s.announce(p, leaveNone); err != nil {
		return false, err
	}
	for _, piece := range pieces {
		if piece.Wait {
			s.flow.want(continuationOurs)
		}
		if err := s.back.out.send(piece.Octets); err != nil {
			return false, errEnded
		}
		if !piece.Wait {
			continue
		}
		if given, err := s.leave(p); err != nil || !given {
			return false, err
		}
	}
	return true, nil
}

// announce notes a command that is about to be sent. If too many are under way it waits, and what the backend has not got
// yet is sent before.
func (s *session) announce(p *pending, want leave) error {
	if s.flow.full() {
		if err := s.back.out.flush(); err != nil {
			return errEnded
		}
	}
	return s.flow.add(p, want)
}

// leave waits for the backend's leave to go on.
func (s *session) leave(p *pending) (bool, error) {
	if err := s.back.out.flush(); err != nil {
		return false, errEnded
	}
	return s.flow.leave(p)
}

// drain waits until the backend has completed all commands.
func (s *session) drain() error {
	if err := s.back.out.flush(); err != nil {
		return errEnded
	}
	return s.flow.drain()
}

// drained is drain where nobody asks how it went.
func (s *session) drained() {
	if s.flow != nil {
		_ = s.drain() // if the session ended the next read tells
	}
}

// refuse answers a command that does not reach the backend, in its turn.
func (s *session) refuse(line string) error {
	if err := s.drain(); err != nil {
		return err
	}
	s.say(line)
	return s.out.flush()
}

// errRefusedLiteral says that a command was answered because of its literal, of which nothing comes.
var errRefusedLiteral = errors.New("literal refused")

// gather takes a literal into the command. A client that waits is told to go on by us, so that a backend never holds half
// a command.
//
// RFC 7888 section 4: a non-synchronising literal that is refused is on its way; nothing behind it can be trusted to be a
// command.
func (s *session) gather(c *wire.Command) error {
	if !c.Fits() {
		s.observe("LITERAL_LIMIT", fmt.Sprint(c.Literal.Size))
		if c.Literal.Plus {
			s.bye(byeLiteralLimit, "literal too large")
			return errRefusedLiteral
		}
		s.drained()
		s.say(literalTooBig(c.Tag))
		s.countBad()
		return errRefusedLiteral
	}
	if !c.Literal.Plus {
		s.drained()
		s.say(goAhead)
		if err := s.out.flush(); err != nil {
			return err
		}
	}
	return c.TakeLiteral(s.In)
}

// choose passes a command on that changes the mailbox. What comes before it is about the old one, what comes behind it
// about the new one: so it has the connection for itself.
//
// RFC 9051 section 6.3.2: a SELECT that fails leaves no mailbox selected.
func (s *session) choose(c *wire.Command, p *pending) error {
	if c.UID {
		return s.refuse(notOffered(c.Tag))
	}
	name := ""
	if c.Verb == "SELECT" || c.Verb == "EXAMINE" {
		name, _ = c.Args().AString()
	}
	if err := s.drain(); err != nil {
		return err
	}
	before := s.selected()
	s.selectBox(newSelected(mailboxName(name)))
	p.completed = func(status, _, _ string) {
		switch status {
		case "OK":
			s.selected().settle()
		case "NO":
			s.selectBox(newSelected(""))
		default:
			before.forget()
			s.selectBox(before)
		}
	}
	if err := s.forward(c, p); err != nil {
		return err
	}
	return s.drain()
}

// idle lets a client wait for news: RFC 2177.
func (s *session) idle(c *wire.Command, p *pending) error {
	if rest, plain := c.Rest(); c.UID || !plain || rest != "" {
		return s.refuse(badArguments(c.Tag))
	}
	if err := s.announce(p, continuationTheirs); err != nil {
		return err
	}
	if err := s.back.out.send([]byte(c.Tag + " IDLE\r\n")); err != nil {
		return errEnded
	}
	if given, err := s.leave(p); err != nil || !given {
		return err
	}
	s.In.Rest()
	s.idling.Store(true)
	s.Await(true)
	line, err := s.In.Line(line.Rules{Limit: maxPreAuthLine})
	s.Await(false)
	s.idling.Store(false)
	if err != nil {
		return err
	}
	if !strings.EqualFold(string(line), "DONE") {
		s.bye(byeSyntax, "no DONE after IDLE")
		return nil
	}
	if err := s.back.out.send([]byte("DONE\r\n")); err != nil {
		return errEnded
	}
	return nil
}

// id passes ID on without what is ours to tell: RFC 2971.
func (s *session) id(c *wire.Command, p *pending) error {
	pairs, good := parseID(c.Args())
	if !good || c.UID {
		return s.refuse(badArguments(c.Tag))
	}
	c.SetArgs(forwardID(pairs))
	return s.forward(c, p)
}

// enable passes ENABLE on for what the door understands: RFC 5161 section 3.1, others are as if unknown.
func (s *session) enable(c *wire.Command, p *pending) error {
	rest, plain := c.Rest()
	oneLine := plain && rest != "" && !c.UID
	if !oneLine || strings.ContainsAny(rest, `()"`) {
		return s.refuse(badArguments(c.Tag))
	}
	var known []string
	for _, one := range strings.Fields(rest) {
		if enableable(one) {
			known = append(known, one)
		}
	}
	if len(known) == 0 {
		return s.refuse("* ENABLED\r\n" + ok(c.Tag, "ENABLE completed."))
	}
	c.SetArgs(strings.Join(known, " "))
	return s.forward(c, p)
}

// endPanic ends a session in one of whose goroutines something panicked; it is deferred there. The others go on.
func (s *session) endPanic() {
	if p := recover(); p != nil {
		s.opt.Log.Error("session panicked", "id", s.Mail.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		s.bye(byeFault, "internal error")
	}
}

// listen reads what the backend says until the session ends. A panic ends this session only.
func (s *session) listen() {
	defer s.endPanic()
	err := s.responses()
	if failed := s.turns.settle(); err == nil {
		err = failed
	}
	s.out.cease()
	s.broken(err)
	_ = s.out.flush() // the client may be gone
	if s.left.Load() {
		s.Finish("logout")
	}
	s.Finish("backend closed the connection")
	s.flow.stop()
	s.Wake()
}

// broken says goodbye where no more responses can be read, and says in the log who is to blame.
//
// RFC 9051 section 7.1.5: a server that closes the connection says BYE.
func (s *session) broken(err error) {
	m, isMisconduct := errors.AsType[misconduct](err)
	f, isFault := errors.AsType[fault](err)
	switch {
	case isMisconduct:
		s.observe("BACKEND_MISCONDUCT", string(m))
		s.bye(byeMisconduct, "backend misconduct")
	case isFault:
		s.opt.Log.Error("session broken off", "id", s.Mail.ID, "error", f.error)
		s.bye(byeFault, "a fault of the gateway")
	case !s.left.Load() && !s.parting.Load() && !s.out.failed():
		s.bye(byeGone, "backend closed the connection")
	}
}
