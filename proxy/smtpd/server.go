// Package smtpd is the SMTP door: RFC 5321 at the edge and RFC 6409 submission. It speaks the protocol and nothing
// else; the gateway decides on messages.
package smtpd

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/netip"
	"time"

	"postern/internal/mail"
	"postern/proxy"
	"postern/proxy/frame"
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
	// Login verifies the password of a session's client; nil if the door has no AUTH. An error means that no server could
	// be asked.
	Login func(ctx context.Context, s *mail.Session, user, password string) (bool, error)
	// Guard refuses clients that guess passwords; nil for none.
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
	// Pressed reports whether connections are scarce, nil for never: no wait is longer than Hurry then.
	Pressed func() bool
	Hurry   time.Duration
	// NormaliseLines lets messages with bare CR, bare LF or NUL in, normalised. They are refused otherwise.
	NormaliseLines bool
	// NormaliseFrom are the networks whose messages are normalised in any case: devices that can't be fixed.
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

// Guard tracks clients that guess passwords. It is shared by all doors.
type Guard interface {
	// Admit reports whether a login may be tried.
	Admit(ctx context.Context, client netip.Addr, user string) bool
	Passed(ctx context.Context, client netip.Addr, user string)
	Failed(ctx context.Context, client netip.Addr, user, password string)
}

// Server is one door. It is safe for use by many goroutines.
type Server struct {
	opt     Options
	gateway *proxy.Gateway
	log     *slog.Logger
	buffers line.Buffers
}

// New makes a door in front of a gateway.
func New(opt Options, gateway *proxy.Gateway, log *slog.Logger) *Server {
	return &Server{opt: opt.withDefaults(), gateway: gateway, log: log}
}

// Open implements frame.Protocol.
func (s *Server) Open(ctx context.Context, conn *frame.Conn) frame.Dialogue {
	c := &session{Session: frame.Begin(ctx, conn, s.newMail(conn), &s.buffers), server: s, opt: &s.opt,
		caller: conn.Client.Addr(), clientPort: conn.Client.Port(), out: line.NewWriter(conn.Conn, nil)}
	c.In.Idle, c.In.Cap = s.opt.Idle, c.Mail.Started.Add(s.opt.Total)
	c.In.Pressed, c.In.Hurry = s.opt.Pressed, s.opt.Hurry
	c.out.Timeout = s.opt.Idle
	return c
}

// Refuse implements frame.Protocol.
func (s *Server) Refuse(conn *frame.Conn, why frame.Reason) string {
	m := s.newMail(conn)
	s.gateway.Connection(context.Background(), m).End("refused: " + string(why))
	return string(replyTooMany(s.opt.Hostname).WithID(m.ID).AppendWire(nil))
}

// Implicit implements frame.Protocol.
func (s *Server) Implicit() *tls.Config {
	if !s.opt.Implicit {
		return nil
	}
	return s.opt.TLS
}

func (s *Server) newMail(conn *frame.Conn) *mail.Session {
	m := conn.Mail(s.opt.Name, time.Now())
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
