// Package smtpd is the SMTP door: RFC 5321 at the edge and RFC 6409 submission. It speaks the protocol and nothing else;
// what becomes of a message is the gateway's word.
package smtpd

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"postern/internal/mail"
	"postern/proxy"
	"postern/proxy/line"
)

// Extensions are the service extensions of a door; each can be switched off. 8BITMIME, SMTPUTF8, DSN and REQUIRETLS are
// offered only if the next hops offer them as well.
type Extensions struct {
	Size, EightBitMIME, SMTPUTF8, Pipelining, Chunking, DSN, EnhancedStatusCodes, StartTLS, Auth, RequireTLS, Limits bool
}

// AllExtensions has every extension switched on.
func AllExtensions() Extensions {
	return Extensions{true, true, true, true, true, true, true, true, true, true, true}
}

// Options of one door.
type Options struct {
	// Name is the door's name in the settings, Hostname the gateway's name in greetings and trace fields.
	Name, Hostname string
	// TLS is the configuration for STARTTLS or, with Implicit set, for the whole connection; nil for neither.
	TLS      *tls.Config
	Implicit bool
	// Submission asks for a login before MAIL (RFC 6409 section 4.3).
	Submission bool
	// Login verifies the password of a session's client; nil if the door has no AUTH. An error means that nobody could be asked.
	Login func(ctx context.Context, s *mail.Session, user, password string) (bool, error)
	// Guard keeps out who guesses passwords, nil for nobody.
	Guard Guard
	// AuthInClear allows AUTH without TLS.
	AuthInClear bool
	// XClient are the networks whose clients may claim another address by XCLIENT, Trusted those whose clients may send
	// outbound.
	XClient, Trusted []netip.Prefix
	Extensions       Extensions
	// MaxSize is the largest message in octets, MaxRecipients the most recipients of one message.
	MaxSize       int64
	MaxRecipients int
	// MaxErrors is how many refused commands end a connection; MaxCommands bounds commands without a message.
	MaxErrors, MaxCommands int
	// Idle bounds one wait for the client, Total the whole connection, MessageTime one message's way in: it grows with
	// what has arrived, by one second for each MinRate octets.
	Idle, Total, MessageTime time.Duration
	MinRate                  int64
	// Pressed says whether connections are scarce, nil for never: nobody waits longer than Hurry then.
	Pressed func() bool
	Hurry   time.Duration
	// NormaliseLines lets messages with bare CR, bare LF or NUL in, normalised. They are refused otherwise.
	NormaliseLines bool
	// NormaliseFrom are the networks whose messages are let in so in any case: devices that know no better.
	NormaliseFrom []netip.Prefix
	// ReportEarlyInput makes input before our reply a finding only. The connection is ended otherwise.
	ReportEarlyInput bool
	// GreetDelay is how long to wait for a client that talks before the greeting.
	GreetDelay time.Duration
	// Tarpit is how long a client waits for each reply if policy says so.
	Tarpit time.Duration
	// SpoolDir is where messages that do not fit in memory are spooled; "" is the system's folder.
	SpoolDir string
}

// withDefaults fills in what is zero: the timeouts of RFC 5321 section 4.5.3.2 and limits above its section 4.5.3.1.
func (o Options) withDefaults() Options {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&o.Idle, 5*time.Minute)
	set(&o.Hurry, 15*time.Second)
	set(&o.Total, 2*time.Hour)
	set(&o.MessageTime, 5*time.Minute)
	if o.MinRate == 0 {
		o.MinRate = 512
	}
	if o.MaxSize == 0 {
		o.MaxSize = 50 << 20
	}
	if o.MaxRecipients == 0 {
		o.MaxRecipients = 1000
	}
	if o.MaxErrors == 0 {
		o.MaxErrors = 20
	}
	if o.MaxCommands == 0 {
		o.MaxCommands = 100
	}
	return o
}

// Guard knows who guesses passwords. It is shared by all doors.
type Guard interface {
	// Admit says whether a login is looked at at all.
	Admit(ctx context.Context, client netip.Addr, user string) bool
	Passed(ctx context.Context, client netip.Addr, user string)
	Failed(ctx context.Context, client netip.Addr, user, password string)
}

// Server is one door. It is safe for use by many goroutines.
type Server struct {
	opt     Options
	gateway *proxy.Gateway
	log     *slog.Logger

	mu       sync.Mutex
	sessions map[*session]struct{}
	closing  bool
	done     sync.WaitGroup
	buffers  line.Buffers
}

// New makes a door in front of a gateway.
func New(opt Options, gateway *proxy.Gateway, log *slog.Logger) *Server {
	return &Server{opt: opt.withDefaults(), gateway: gateway, log: log, sessions: map[*session]struct{}{}}
}

// Peer says who is at the other end of a connection.
type Peer struct {
	// Remote is the TCP peer; Client the address the PROXY protocol gave, else the peer's.
	Remote, Client, Local netip.AddrPort
}

// Serve speaks with one client until the connection ends, and closes it.
func (s *Server) Serve(ctx context.Context, conn net.Conn, peer Peer) {
	defer conn.Close()
	session := s.newSession(ctx, conn, peer)
	if !s.add(session) {
		return
	}
	defer s.remove(session)
	session.run()
}

// Refusal leaves the record of a connection that is not let in, and gives the line to say to it.
func (s *Server) Refusal(ctx context.Context, peer Peer, why string) string {
	m := s.newMail(peer)
	s.gateway.Visit(ctx, m).End("refused: " + why)
	return string(replyTooMany(s.opt.Hostname).WithID(m.ID).AppendWire(nil))
}

func (s *Server) add(c *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.done.Add(1)
	s.sessions[c] = struct{}{}
	return true
}

func (s *Server) remove(c *session) {
	s.mu.Lock()
	delete(s.sessions, c)
	s.mu.Unlock()
	s.done.Done()
}

// Shutdown ends idle connections with 421 at once (RFC 5321 section 3.8), lets transactions finish until ctx ends, then
// closes what is left.
func (s *Server) Shutdown(ctx context.Context) {
	s.mu.Lock()
	s.closing = true
	for c := range s.sessions {
		c.hurry()
	}
	s.mu.Unlock()
	finished := make(chan struct{})
	go func() { s.done.Wait(); close(finished) }()
	select {
	case <-finished:
		return
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.sessions {
		_ = c.raw.Close() // its session sees the error; no TLS goodbye, which could block
	}
	s.mu.Unlock()
	<-finished
}

func (s *Server) newSession(ctx context.Context, conn net.Conn, peer Peer) *session {
	c := &session{server: s, opt: &s.opt, ctx: ctx, raw: conn, mail: s.newMail(peer),
		caller: peer.Client.Addr(), clientPort: peer.Client.Port(), in: line.NewReader(conn, &s.buffers), out: line.NewWriter(conn, nil)}
	c.in.Idle, c.in.Cap, c.in.Over = s.opt.Idle, c.mail.Started.Add(s.opt.Total), c.over
	c.in.Pressed, c.in.Hurry = s.opt.Pressed, s.opt.Hurry
	c.out.Timeout = s.opt.Idle
	return c
}

func (s *Server) newMail(peer Peer) *mail.Session {
	now := time.Now()
	m := &mail.Session{
		ID: mail.NewID(now), Door: s.opt.Name, Peer: peer.Remote, Local: peer.Local,
		Client: peer.Client.Addr().Unmap(), Started: now,
	}
	m.Trusted = contains(s.opt.Trusted, m.Client)
	return m
}

func contains(networks []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap()
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
