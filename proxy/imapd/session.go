package imapd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	"postern/filters"
	"postern/internal/mail"
	"postern/proxy/access"
	"postern/proxy/frame"
	"postern/proxy/imapd/wire"
	"postern/proxy/line"
	"postern/proxy/retrieval/ahead"
)

// session is one client's visit. Up to the login one goroutine has it; after it a second one reads what the backend says.
type session struct {
	*frame.Session
	server *Server
	opt    *Options
	out    *outlet
	gate   *access.Session

	clientPort uint16

	bad, logins int
	back        *backend // after the login
	flow        *flow    // the commands under way

	rulings rulings
	line    *ahead.Line // what is judged before its turn
	turns   *turns
	reading reading

	folders   folders
	teachings sync.WaitGroup // lessons that are being given
	toldDoubt bool

	prefix string // of the tags of our own commands
	tags   int

	idling  atomic.Bool
	left    atomic.Bool // the client said LOGOUT
	parting atomic.Bool // the backend said BYE

	mu       sync.Mutex
	box      *selected
	findings []mail.Finding // seen by either goroutine after the login
}

func (s *Server) newSession(ctx context.Context, c *frame.Conn) *session {
	n := &session{Session: frame.Begin(ctx, c, c.Mail(s.opt.Name, s.opt.Now()), &s.buffers), server: s, opt: &s.opt,
		out: newOutlet(c.Conn, &s.buffers), clientPort: c.Client.Port()}
	n.gate = s.opt.Gate.Session(n.Mail, mail.ProtocolIMAP)
	n.Quiet, n.Lean = n.quiet, true
	n.In.Now, n.In.Before = s.opt.Now, n.out.flush
	n.In.Cap = n.Mail.Started.Add(s.opt.PreAuth)
	return n
}

// Run implements frame.Dialogue.
func (s *session) Run() {
	defer s.end()
	s.Guard(s.opt.Log, s.speak, func() { s.bye(byeFault, "internal error") })
}

// speak is the dialogue from the greeting on.
func (s *session) speak() {
	if s.opt.Implicit && !s.handshake() {
		return
	}
	s.say(greeting(s.opt.Hostname, s.offers()))
	for s.back == nil && !s.Ended() {
		s.preAuth()
	}
	if s.back != nil {
		s.proxy()
	}
}

// end closes both sides and leaves the record.
func (s *session) end() {
	_ = s.out.flush() // the client may be gone
	if s.back != nil {
		s.back.close()
	}
	s.Close()
	s.teachings.Wait()
	for _, f := range s.findings {
		s.gate.Observe(f)
	}
	s.gate.End(s.End(), s.out.sent())
}

// bye says goodbye and ends the session.
func (s *session) bye(line, how string) {
	if s.Ended() {
		return
	}
	s.Finish(how)
	s.say(line)
	_ = s.out.flush() // the client may be gone
	s.Stop()
}

// say writes a line of our own. If it can't be written so can't anything: the next read ends the session.
func (s *session) say(line string) { _ = s.out.say(line) }

// observe notes what is to stand in the record.
func (s *session) observe(symbol, evidence string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.findings) < 50 {
		s.findings = append(s.findings, mail.Finding{Symbol: symbol, Evidence: filters.Printable(evidence)})
	}
}

// quiet says whether no command is under way, or only one that waits for the client.
func (s *session) quiet() bool {
	f := s.theFlow()
	return f == nil || s.idling.Load() || f.quiet()
}

// theFlow is flow for any goroutine.
func (s *session) theFlow() *flow {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flow
}

// Stop implements frame.Dialogue. Both goroutines see the errors.
func (s *session) Stop() {
	s.Finish("broken off")
	s.Session.Stop()
	if f := s.theFlow(); f != nil {
		f.stop()
	}
}

// handshake puts TLS under the session: RFC 8314 section 3 or RFC 9051 section 6.2.1.
func (s *session) handshake() bool {
	t, err := s.Handshake(s.opt.TLS, s.Mail.Started.Add(s.opt.PreAuth))
	if err != nil {
		if frame.OtherProtocol(err) {
			s.observe("ALPN_MISMATCH", "")
		}
		s.Finish("TLS handshake failed")
		return false
	}
	s.out.attach(t)
	return true
}

// refuseSyntax answers a command that can't be understood. The session ends if the next command can't be found, or if
// there have been too many of them.
func (s *session) refuseSyntax(syntax *wire.Syntax) {
	if syntax.Bye {
		s.observe("TOO_MANY_BAD_COMMANDS", "malformed line before a literal")
		s.bye(byeSyntax, "malformed line before a literal")
		return
	}
	s.drained()
	s.say(bad(syntax.Tag, syntax.Text))
	if s.bad++; s.bad >= s.badLimit() {
		s.observe("TOO_MANY_BAD_COMMANDS", strconv.Itoa(s.bad))
		s.bye(byeBadCommands, "too many bad commands")
	}
}

// readFailed ends the session after a failed read from the client, or answers a command that can't be understood.
func (s *session) readFailed(err error) {
	syntax, isSyntax := errors.AsType[*wire.Syntax](err)
	switch {
	case isSyntax:
		s.refuseSyntax(syntax)
	case errors.Is(err, line.ErrLimit):
		s.observe("LINE_LIMIT", "")
		s.bye(byeLineLimit, "line too long")
	case errors.Is(err, line.ErrBare):
		s.observe("TOO_MANY_BAD_COMMANDS", "bare CR, LF or NUL")
		s.bye(byeBareLine, "bare CR, LF or NUL in a line")
	case s.Ended():
	case errors.Is(err, os.ErrDeadlineExceeded) && s.Hurried():
		s.bye(byeClosing(s.opt.Hostname), "shut down")
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.bye(byeIdle, "timed out")
	case errors.Is(err, io.EOF):
		s.Finish("client closed the connection")
	default:
		s.Finish("connection lost")
	}
}

// badLimit is how many bad commands end the session: after the login clients that test what a server can do are borne.
func (s *session) badLimit() int {
	if s.back != nil {
		return 20 * s.opt.MaxBadCommands
	}
	return s.opt.MaxBadCommands
}

// tag makes the tag of a command of our own. Its random part is one no client can guess.
func (s *session) tag() string {
	if s.prefix == "" {
		var b [12]byte
		_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
		s.prefix = hex.EncodeToString(b[:]) + "."
	}
	s.tags++
	return s.prefix + strconv.Itoa(s.tags)
}
