package pop3d

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"postern/filters"
	"postern/internal/mail"
	"postern/proxy/access"
	"postern/proxy/frame"
	"postern/proxy/line"
	"postern/proxy/retrieval/ahead"
)

// session is one client's visit. One goroutine has it.
type session struct {
	*frame.Session
	server *Server
	opt    *Options
	out    *line.Writer
	gate   *access.Session

	user        string // what USER said
	utf8        bool   // UTF8 was asked for
	bad, logins int
	back        *backend // after the login
	ids         uidls
	early       *ahead.Line // what is judged before its turn
	reading     reading
	late        []*delivery // messages that wait for their judgement
}

func (s *Server) newSession(ctx context.Context, c *frame.Conn) *session {
	n := &session{Session: frame.Begin(ctx, c, c.Mail(s.opt.Name, s.opt.Now()), &s.buffers), server: s, opt: &s.opt,
		out: line.NewWriter(c.Conn, &s.buffers)}
	n.gate = s.opt.Gate.Session(n.Mail, mail.ProtocolPOP3)
	n.Lean = true
	n.In.Now, n.In.Before = s.opt.Now, n.out.Flush
	n.In.Cap = n.Mail.Started.Add(s.opt.PreAuth)
	return n
}

// Run implements frame.Dialogue.
func (s *session) Run() {
	defer s.end()
	s.Guard(s.opt.Log, s.speak, func() { s.Finish("internal error") })
}

// speak is the dialogue from the greeting on.
func (s *session) speak() {
	if s.opt.Implicit && !s.handshake() {
		return
	}
	s.out.Say(greeting(s.opt.Hostname))
	for s.back == nil && !s.Over() {
		s.authorization()
	}
	s.early = s.server.ahead.Enter(strings.ToLower(s.Mail.User))
	defer s.early.Wait()
	defer s.forgetLate()
	for s.back != nil && !s.Ended() {
		s.transaction()
	}
}

// end closes both sides and leaves the record.
func (s *session) end() {
	_ = s.out.Flush() // the client may be gone
	if s.back != nil {
		s.back.close()
	}
	s.Close()
	s.Finish("broken off")
	s.gate.End(s.End(), s.out.Octets())
}

// bye says goodbye and ends the session.
func (s *session) bye(line, how string) {
	if !s.Ended() {
		s.out.Say(line)
		s.Finish(how)
	}
}

// observe notes what is to stand in the record.
func (s *session) observe(symbol, evidence string) {
	s.gate.Observe(mail.Finding{Symbol: symbol, Evidence: filters.Printable(evidence)})
}

// Stop implements frame.Dialogue.
func (s *session) Stop() {
	s.Finish("broken off")
	s.Session.Stop()
}

// handshake puts TLS under the session: RFC 8314 section 3 or RFC 2595 section 4.
func (s *session) handshake() bool {
	t, err := s.Handshake(s.opt.TLS, s.Mail.Started.Add(s.opt.PreAuth))
	if err != nil {
		if frame.OtherProtocol(err) {
			s.observe("ALPN_MISMATCH", "")
		}
		s.Finish("TLS handshake failed")
		return false
	}
	s.out.Attach(t)
	return true
}

// line reads a command of the client's. It says no if the session ends.
func (s *session) line(limit int) (string, bool) {
	s.In.Rest()
	s.Await(true)
	line, err := s.In.Line(line.Rules{Limit: limit})
	s.Await(false)
	if err != nil {
		s.readFailed(err)
		return "", false
	}
	return string(line), true
}

func (s *session) readFailed(err error) {
	switch {
	case errors.Is(err, line.ErrLimit):
		s.observe("LINE_LIMIT", "")
		s.bye(replyLongLine, "line too long")
	case errors.Is(err, line.ErrBare):
		s.observe("TOO_MANY_BAD_COMMANDS", "bare CR, LF or NUL")
		s.bye(replyBareLine, "bare CR, LF or NUL in a line")
	case errors.Is(err, os.ErrDeadlineExceeded) && s.Hurried():
		s.bye(replyClosing, "shut down")
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.bye(replyIdle, "timed out")
	case errors.Is(err, io.EOF):
		s.Finish("client closed the connection")
	default:
		s.Finish("connection lost")
	}
}

// refuse answers a command that is none. A few of them end the session: after the login clients that test what a server
// can do are borne.
func (s *session) refuse(reply string) {
	s.out.Say(reply)
	limit := s.opt.MaxBadCommands
	if s.back != nil {
		limit *= 20
	}
	if s.bad++; s.bad >= limit {
		s.observe("TOO_MANY_BAD_COMMANDS", fmt.Sprint(s.bad))
		s.bye(replyTooManyBad, "too many bad commands")
	}
}
