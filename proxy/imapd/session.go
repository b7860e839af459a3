package imapd

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/proxy/access"
	"postern/proxy/imapd/wire"
	"postern/proxy/line"
	"postern/proxy/listen"
	"postern/proxy/retrieval/ahead"
)

// session is one client's visit. Up to the login one goroutine has it; after it a second one reads what the backend says.
type session struct {
	server *Server
	opt    *Options
	ctx    context.Context
	cancel context.CancelFunc
	raw    net.Conn // to the client: TCP
	conn   net.Conn // raw, or TLS over it
	in     *line.Reader
	out    *outlet
	mail   *mail.Session
	visit  *access.Visit

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

	hurried, waiting, idling atomic.Bool
	left                     atomic.Bool // the client said LOGOUT
	parting                  atomic.Bool // the backend said BYE

	mu       sync.Mutex
	box      *selected
	ends     string         // how it ended, "" while it goes on
	findings []mail.Finding // seen by either goroutine after the login
}

func (s *Server) newSession(ctx context.Context, c *listen.Conn) *session {
	ctx, cancel := context.WithCancel(ctx)
	n := &session{server: s, opt: &s.opt, ctx: ctx, cancel: cancel, raw: bare(c.Conn), mail: s.newMail(c), clientPort: c.Client.Port()}
	n.visit = s.opt.Gate.Visit(n.mail, "imap")
	n.conn, n.in, n.out = c.Conn, line.NewReader(c.Conn, &s.buffers), newOutlet(c.Conn, &s.buffers)
	n.in.Now, n.in.Over, n.in.Before = s.opt.Now, n.over, n.out.flush
	n.in.Cap = n.mail.Started.Add(s.opt.PreAuth)
	return n
}

// attach makes the session speak over a connection. What was read ahead off the one before is gone.
func (s *session) attach(c net.Conn) {
	s.conn = c
	s.in.Attach(c)
	s.out.attach(c)
}

// run is the way of a session.
func (s *session) run() {
	defer s.end()
	defer func() {
		if p := recover(); p != nil {
			s.opt.Log.Error("session panicked", "id", s.mail.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			s.bye(byeFault, "internal error")
		}
	}()
	if s.opt.Implicit && s.mail.TLS == nil && !s.handshake() {
		return
	}
	s.say(greeting(s.opt.Hostname, s.offers()))
	for s.back == nil && !s.ended() {
		s.preAuth()
	}
	if s.back != nil {
		s.proxy()
	}
}

// end closes both sides and leaves the record.
func (s *session) end() {
	s.cancel()
	_ = s.out.flush() // the client may be gone
	if s.back != nil {
		s.back.close()
	}
	s.in.Close()
	_ = s.conn.Close() // it may be closed already
	s.teachings.Wait()
	for _, f := range s.findings {
		s.visit.Observe(f)
	}
	s.visit.End(s.ends, s.out.sent())
}

// finish notes how the session ended; the first word counts.
func (s *session) finish(how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ends == "" {
		s.ends = how
	}
}

func (s *session) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ends != ""
}

// bye says goodbye and ends the session.
func (s *session) bye(line, how string) {
	if s.ended() {
		return
	}
	s.finish(how)
	s.say(line)
	_ = s.out.flush() // the client may be gone
	s.stop()
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

// over says whether a read from the client must not wait any more.
func (s *session) over() bool {
	if !s.hurried.Load() {
		return s.ended()
	}
	f := s.theFlow()
	return s.waiting.Load() && (f == nil || s.idling.Load() || f.quiet()) || s.ended()
}

// theFlow is flow for any goroutine.
func (s *session) theFlow() *flow {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flow
}

// hurry asks the session to end as soon as it waits for a command. It may be called by another goroutine.
func (s *session) hurry() {
	s.hurried.Store(true)
	s.wake()
}

// wake ends a read that must not wait any more.
func (s *session) wake() {
	if s.over() {
		_ = s.raw.SetReadDeadline(time.Unix(1, 0)) // if the connection is closed it wakes up anyway
	}
}

// stop breaks both connections off, without TLS's goodbye, which could block. Both goroutines see the errors.
func (s *session) stop() {
	s.finish("broken off")
	s.cancel()
	_ = s.raw.Close() // it may be closed already
	if f := s.theFlow(); f != nil {
		_ = bare(s.back.conn).Close() // the same
		f.stop()
	}
}

// bare is the TCP connection below TLS.
func bare(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c
}

// handshake puts TLS under the session: RFC 8314 section 3 or RFC 9051 section 6.2.1.
func (s *session) handshake() bool {
	t := tls.Server(listen.Records(s.conn), s.opt.TLS)
	_ = s.conn.SetDeadline(s.mail.Started.Add(s.opt.PreAuth)) // if it fails so does the handshake
	if err := t.HandshakeContext(s.ctx); err != nil {
		// crypto/tls has no other sign of it
		if strings.Contains(err.Error(), "application protocol") {
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

// readFailed ends the session after a failed read from the client, or answers a command that can't be understood.
func (s *session) readFailed(err error) {
	syntax, isSyntax := errors.AsType[*wire.Syntax](err)
	switch {
	case isSyntax && syntax.Bye:
		s.observe("TOO_MANY_BAD_COMMANDS", "malformed line before a literal")
		s.bye(byeSyntax, "malformed line before a literal")
	case isSyntax:
		s.drained()
		s.say(bad(syntax.Tag, syntax.Text))
		if s.bad++; s.bad >= s.badLimit() {
			s.observe("TOO_MANY_BAD_COMMANDS", strconv.Itoa(s.bad))
			s.bye(byeBadCommands, "too many bad commands")
		}
	case errors.Is(err, line.ErrLimit):
		s.observe("LINE_LIMIT", "")
		s.bye(byeLineLimit, "line too long")
	case errors.Is(err, line.ErrBare):
		s.observe("TOO_MANY_BAD_COMMANDS", "bare CR, LF or NUL")
		s.bye(byeBareLine, "bare CR, LF or NUL in a line")
	case s.ended():
	case errors.Is(err, os.ErrDeadlineExceeded) && s.hurried.Load():
		s.bye(byeClosing(s.opt.Hostname), "shut down")
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.bye(byeIdle, "timed out")
	case errors.Is(err, io.EOF):
		s.finish("client closed the connection")
	default:
		s.finish("connection lost")
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
