// Package imapd is the IMAP4 door: RFC 9051 and RFC 3501 at the edge. It lets people in to the server that holds their
// mail, passes on what both sides say, token by token, and overwrites the content of messages that must not be read.
package imapd

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"postern/internal/mail"
	"postern/proxy/access"
	"postern/proxy/frame"
	"postern/proxy/line"
	"postern/proxy/retrieval"
	"postern/proxy/retrieval/ahead"
)

// VerdictCache judges messages as they are fetched. It is called by many sessions at once.
type VerdictCache interface {
	// Known gives what is remembered of a message and still holds.
	Known(ctx context.Context, p retrieval.Place) (retrieval.Ruling, bool)
	// Judge judges a message; it always answers, within its own time limit.
	Judge(ctx context.Context, s *mail.Session, p retrieval.Place, m *mail.Message) retrieval.Ruling
	// Fetched is called when the user got a message, or a part of it.
	Fetched(ctx context.Context, s *mail.Session, p retrieval.Place, r retrieval.Ruling)
}

// Keeper is a VerdictCache that keeps the originals of messages that the door masks by itself. A VerdictCache may be one.
type Keeper interface {
	Keep(ctx context.Context, s *mail.Session, p retrieval.Place, m *mail.Message, r retrieval.Ruling) retrieval.Ruling
}

// Carrier is a VerdictCache that takes along what it knows when a message is copied. A VerdictCache may be one.
type Carrier interface {
	Carry(ctx context.Context, from, to retrieval.Place)
}

// Options of one door. Zero values mean the defaults.
type Options struct {
	// Name is the door's name in the settings, Hostname the gateway's name in greetings.
	Name, Hostname string
	// TLS is for STARTTLS or, with Implicit set, for the whole connection; nil for neither.
	TLS      *tls.Config
	Implicit bool
	// AuthInClear allows logins without TLS.
	AuthInClear  bool
	Gate         *access.Gate
	VerdictCache VerdictCache
	// Learner may be nil. Junk names the mailboxes for junk where the server does not, or not rightly; INBOX/Junk as the
	// server writes it.
	Learner Learner
	Junk    []string
	// Notice is what stands where content was overwritten; {id} in it is the judgement's.
	Notice string
	// SpoolDir is where messages that do not fit in memory are spooled; "" is the system's folder.
	SpoolDir string
	// MaxAppend is the largest message that a client may upload (default 64 MiB), MaxMessage the largest that is judged
	// (default 256 MiB); the content of larger ones is overwritten. In octets.
	MaxAppend, MaxMessage int64
	// PreAuth is the time for all of the dialogue before the login (default 60 s). Idle is how long a client may be silent
	// after it (default 35 min): RFC 9051 section 5.4 asks for 30 minutes or more, and the backend is to be first. Stall is
	// how long the backend may take for a command of ours (default 5 min).
	PreAuth, Idle, Stall time.Duration
	// MaxBadCommands is how many commands that are none, MaxLogins how many refused logins end a connection (default 3 and
	// 5).
	MaxBadCommands, MaxLogins int
	// Progress is the time between two signs of life while a client waits for a judgement (default 5 s).
	Progress time.Duration
	Now      func() time.Time
	Log      *slog.Logger
}

func (o Options) withDefaults() Options {
	duration := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	duration(&o.PreAuth, time.Minute)
	duration(&o.Idle, 35*time.Minute)
	duration(&o.Stall, 5*time.Minute)
	duration(&o.Progress, 5*time.Second)
	if o.MaxAppend == 0 {
		o.MaxAppend = 64 << 20
	}
	if o.MaxMessage == 0 {
		o.MaxMessage = 256 << 20
	}
	if o.MaxBadCommands == 0 {
		o.MaxBadCommands = 3
	}
	if o.MaxLogins == 0 {
		o.MaxLogins = 5
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.TLS != nil {
		// RFC 7301 section 3.2: who asks for another protocol gets no handshake. IANA's name of the protocol is
		// "imap".
		o.TLS = o.TLS.Clone()
		o.TLS.NextProtos = []string{"imap"}
	}
	return o
}

// Server is one door. It is safe for use by many goroutines.
type Server struct {
	opt     Options
	buffers line.Buffers
	room    room
	ahead   ahead.Room
}

// New makes a door.
func New(o Options) *Server { return &Server{opt: o.withDefaults()} }

// Open implements frame.Protocol.
func (s *Server) Open(ctx context.Context, c *frame.Conn) frame.Dialogue { return s.newSession(ctx, c) }

// Refuse implements frame.Protocol.
func (s *Server) Refuse(c *frame.Conn, why frame.Reason) string {
	s.opt.Gate.Session(c.Mail(s.opt.Name, s.opt.Now()), mail.ProtocolIMAP).End("refused: "+string(why), 0)
	return byeTooMany(s.opt.Hostname)
}

// Implicit implements frame.Protocol.
func (s *Server) Implicit() *tls.Config {
	if !s.opt.Implicit {
		return nil
	}
	return s.opt.TLS
}
