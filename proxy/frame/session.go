package frame

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postern/internal/mail"
	"postern/proxy/line"
	"postern/proxy/listen"
)

// Session is what the sessions of all doors have in common. Hurry, Wake, Stop, Finish and Ended may be called by any
// goroutine.
type Session struct {
	// Ctx ends with the session.
	Ctx context.Context
	// Mail is what is known of it, In reads what the client says.
	Mail *mail.Session
	In   *line.Reader
	// Lean keeps the memory of TLS small, as is right for sessions that stand for hours; each record costs a read more.
	Lean bool
	// Quiet says whether a session that waits for the client may be ended; nil if it always may.
	Quiet func() bool

	cancel           context.CancelFunc
	raw              net.Conn
	hurried, waiting atomic.Bool

	mu    sync.Mutex
	conn  net.Conn // raw, or TLS over it
	far   net.Conn // to the server behind
	end   string   // how it ended
	ended bool
}

// Begin begins a session.
func Begin(ctx context.Context, c *Conn, m *mail.Session, b *line.Buffers) *Session {
	ctx, cancel := context.WithCancel(ctx)
	s := &Session{Ctx: ctx, cancel: cancel, Mail: m, In: line.NewReader(c.Conn, b), raw: c.Conn, conn: c.Conn}
	s.In.Over = s.Over
	return s
}

// Guard runs a dialogue. A panic in it is a fault of ours and ends this session only: sorry is called then.
func (s *Session) Guard(log *slog.Logger, dialogue, sorry func()) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("session panicked", "id", s.Mail.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			sorry()
		}
	}()
	dialogue()
}

// Finish notes how the session ended; the first word counts.
func (s *Session) Finish(how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended, s.end = true, how
	}
}

// Ended says whether it ended.
func (s *Session) Ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// End is how it ended, "" while it goes on.
func (s *Session) End() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end
}

// Await tells that the session waits for the client's next command, or no longer does.
func (s *Session) Await(waiting bool) { s.waiting.Store(waiting) }

// Hurried says whether the session was asked to end.
func (s *Session) Hurried() bool { return s.hurried.Load() }

// Hurry asks the session to end as soon as it waits for a command.
func (s *Session) Hurry() {
	s.hurried.Store(true)
	s.Wake()
}

// Over says whether a read from the client must not wait any more. The reader asks after it has set its deadline: either
// it sees that the session is over, or Wake moves the deadline afterwards.
func (s *Session) Over() bool {
	return s.hurried.Load() && s.waiting.Load() && (s.Quiet == nil || s.Quiet()) || s.Ended()
}

// Wake ends a read that must not wait any more.
func (s *Session) Wake() {
	if s.Over() {
		_ = s.raw.SetReadDeadline(time.Unix(1, 0)) // if the connection is closed it wakes up anyway
	}
}

// Behind tells the connection to the server behind, which Stop breaks off, too.
func (s *Session) Behind(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.far = c
}

// Stop breaks both connections off, without TLS's goodbye, which could block.
func (s *Session) Stop() {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.raw.Close() // it may be closed already
	if s.far != nil {
		_ = Bare(s.far).Close() // the same
	}
}

// Close ends a session: what was read ahead is forgotten, and the connection is closed.
func (s *Session) Close() {
	s.cancel()
	s.In.Close()
	_ = s.conn.Close() // it may be closed already
}

// Handshake puts TLS under the session, and gives the connection that it speaks over from now on. What was read ahead in
// the clear is forgotten.
func (s *Session) Handshake(config *tls.Config, until time.Time) (net.Conn, error) {
	s.In.Close()
	under := s.raw
	if s.Lean {
		under = listen.Records(s.raw)
	}
	t := tls.Server(under, config)
	_ = s.raw.SetDeadline(until) // if it fails so does the handshake
	if err := t.HandshakeContext(s.Ctx); err != nil {
		return nil, err
	}
	_ = s.raw.SetDeadline(time.Time{}) // the reader and the writer set theirs

	state := t.ConnectionState()
	s.Mail.TLS = &state
	s.In.Attach(t)
	s.mu.Lock()
	s.conn = t
	s.mu.Unlock()

	return t, nil
}

// OtherProtocol says whether a handshake failed because the client asked for another protocol: RFC 7301 section 3.2.
func OtherProtocol(err error) bool {
	// crypto/tls has no other sign of it
	return strings.Contains(err.Error(), "application protocol")
}
