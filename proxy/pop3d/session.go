package pop3d

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/proxy/access"
	"postern/proxy/line"
	"postern/proxy/listen"
	"postern/proxy/retrieval/ahead"
)

// session is one client's visit. One goroutine has it; only hurry and stop may be called by another.
type session struct {
	server *Server
	opt    *Options
	ctx    context.Context
	cancel context.CancelFunc
	in     *line.Reader
	out    *line.Writer
	mail   *mail.Session
	visit  *access.Visit

	user        string // what USER said
	utf8        bool   // UTF8 was asked for
	bad, logins int
	back        *backend // after the login
	ids         uidls
	early       *ahead.Line // what is judged before its turn
	reading     reading
	late        []*delivery // messages that wait for their judgement

	hurried, waiting atomic.Bool

	mu    sync.Mutex // over conn, far and ends
	conn  net.Conn   // to the client: TCP, or TLS over it
	far   net.Conn   // to the backend
	how   string     // how it ended, "" while it goes on
	ended bool
}

func (s *Server) newSession(ctx context.Context, c *listen.Conn) *session {
	ctx, cancel := context.WithCancel(ctx)
	n := &session{server: s, opt: &s.opt, ctx: ctx, cancel: cancel, mail: s.newMail(c)}
	n.visit = s.opt.Gate.Visit(n.mail, "pop3")
	n.conn, n.in, n.out = c.Conn, line.NewReader(c.Conn, &s.buffers), line.NewWriter(c.Conn, &s.buffers)
	n.in.Now, n.in.Over, n.in.Before = s.opt.Now, n.over, n.out.Flush
	n.in.Cap = n.mail.Started.Add(s.opt.PreAuth)
	return n
}

// attach makes the session speak over a connection. What was read ahead off the one before is gone.
func (s *session) attach(c net.Conn) {
	s.mu.Lock()
	s.conn = c
	s.mu.Unlock()
	s.in.Attach(c)
	s.out.Attach(c)
}

// run is the way of a session.
func (s *session) run() {
	defer s.end()
	defer func() {
		if p := recover(); p != nil {
			s.opt.Log.Error("session panicked", "id", s.mail.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			s.finish("internal error")
		}
	}()
	if s.opt.Implicit && s.mail.TLS == nil && !s.handshake() {
		return
	}
	s.out.Say(greeting(s.opt.Hostname))
	for s.back == nil && !s.over() {
		s.authorization()
	}
	s.early = s.server.ahead.Enter(strings.ToLower(s.mail.User))
	defer s.early.Wait()
	defer s.forgetLate()
	for s.back != nil && !s.isEnded() {
		s.transaction()
	}
}

// end closes both sides and leaves the record.
func (s *session) end() {
	s.cancel()
	_ = s.out.Flush() // the client may be gone
	if s.back != nil {
		s.back.close()
	}
	s.in.Close()
	_ = s.conn.Close() // it may be closed already
	s.finish("broken off")
	s.visit.End(s.how, s.out.Octets())
}

// finish notes how the session ended; the first word counts.
func (s *session) finish(how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended, s.how = true, how
	}
}

func (s *session) isEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// bye says goodbye and ends the session.
func (s *session) bye(line, how string) {
	if !s.isEnded() {
		s.out.Say(line)
		s.finish(how)
	}
}

// observe notes what is to stand in the record.
func (s *session) observe(symbol, evidence string) {
	s.visit.Observe(mail.Finding{Symbol: symbol, Evidence: filters.Printable(evidence)})
}

// over says whether a read from the client must not wait any more.
func (s *session) over() bool { return s.hurried.Load() && s.waiting.Load() || s.isEnded() }

// hurry asks the session to end as soon as it waits for a command.
func (s *session) hurry() {
	s.hurried.Store(true)
	if s.waiting.Load() {
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // it wakes up; if the connection is closed it does so anyway
	}
}

// stop breaks both connections off, without TLS's goodbye, which could block.
func (s *session) stop() {
	s.finish("broken off")
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range []net.Conn{s.conn, s.far} {
		if c != nil {
			_ = bare(c).Close() // it may be closed already
		}
	}
}

// bare is the TCP connection below TLS.
func bare(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c
}

// handshake puts TLS under the session: RFC 8314 section 3 or RFC 2595 section 4.
func (s *session) handshake() bool {
	t := tls.Server(listen.Records(s.conn), s.opt.TLS)
	_ = s.conn.SetDeadline(s.mail.Started.Add(s.opt.PreAuth)) // if it fails so does the handshake
	if err := t.HandshakeContext(s.ctx); err != nil {
		if strings.Contains(err.Error(), "application protocol") { // crypto/tls has no other sign of it
			s.observe("ALPN_MISMATCH", "")
		}
		s.finish("TLS handshake failed")
		return false
	}
	_ = s.conn.SetDeadline(time.Time{}) // the reader and the outlet set theirs
	s.attach(t)
	state := t.ConnectionState()
	s.mail.TLS = &state
	return true
}

// line reads a command of the client's. It says no if the session ends.
func (s *session) line(limit int) (string, bool) {
	s.in.Rest()
	s.waiting.Store(true)
	line, err := s.in.Line(line.Rules{Limit: limit})
	s.waiting.Store(false)
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
	case errors.Is(err, os.ErrDeadlineExceeded) && s.hurried.Load():
		s.bye(replyClosing, "shut down")
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.bye(replyIdle, "timed out")
	case errors.Is(err, io.EOF):
		s.finish("client closed the connection")
	default:
		s.finish("connection lost")
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
