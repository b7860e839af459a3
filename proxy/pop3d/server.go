// Package pop3d is the POP3 door: RFC 1939 at the edge. It lets people in to the server that holds their mail, passes on
// what both sides say, and overwrites the content of messages that must not be read: RETR and TOP.
package pop3d

import (
	"cmp"
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

// Options of one door. Zero values mean the defaults.
type Options struct {
	// Name is the door's name in the settings, Hostname the gateway's name in greetings.
	Name, Hostname string
	// TLS is for STLS or, with Implicit set, for the whole connection; nil for neither.
	TLS      *tls.Config
	Implicit bool
	// AuthInClear allows logins without TLS.
	AuthInClear  bool
	Gate         *access.Gate
	VerdictCache VerdictCache
	// Notice is what stands where content was overwritten; {id} in it is the judgement's.
	Notice string
	// SpoolDir is where messages that do not fit in memory are spooled; "" is the system's folder.
	SpoolDir string
	// MaxMessage is the largest message that is judged, in octets (default 256 MiB): the content of larger ones is
	// overwritten.
	MaxMessage int64
	// PreAuth is the time for all of the dialogue before the login (default 60 s). Idle is how long a client may be silent
	// after it (default 10 min, the least that RFC 1939 section 3 allows). Stall is how long the backend may take for its
	// next octet (default 5 min).
	PreAuth, Idle, Stall time.Duration
	// MaxBadCommands is how many commands that are none, MaxLogins how many refused logins end a connection (default 3 and
	// 5).
	MaxBadCommands, MaxLogins int
	// Progress is the time between two lines of the header while a client waits for a judgement (default 5 s).
	Progress time.Duration
	// Patience is how long nothing is sent to a client before the first of these (default 9 times Progress: the most impatient
	// client waits for a minute). Until then it can be told to come again.
	Patience time.Duration
	Now      func() time.Time
	Log      *slog.Logger
}

func (o Options) withDefaults() Options {
	o.PreAuth, o.Idle = cmp.Or(o.PreAuth, time.Minute), cmp.Or(o.Idle, 10*time.Minute)
	o.Stall, o.Progress = cmp.Or(o.Stall, 5*time.Minute), cmp.Or(o.Progress, 5*time.Second)
	o.Patience = cmp.Or(o.Patience, 9*o.Progress)
	o.MaxMessage = cmp.Or(o.MaxMessage, 256<<20)
	o.MaxBadCommands, o.MaxLogins = cmp.Or(o.MaxBadCommands, 3), cmp.Or(o.MaxLogins, 5)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.TLS != nil {
		// RFC 7301 section 3.2: who asks for another protocol gets no handshake. IANA's name of the protocol is "pop3".
		o.TLS = o.TLS.Clone()
		o.TLS.NextProtos = []string{"pop3"}
	}
	return o
}

// Server is one door. It is safe for use by many goroutines.
type Server struct {
	opt     Options
	buffers line.Buffers
	ahead   ahead.Room
}

// New makes a door.
func New(o Options) *Server { return &Server{opt: o.withDefaults()} }

// Open implements frame.Protocol.
func (s *Server) Open(ctx context.Context, c *frame.Conn) frame.Dialogue { return s.newSession(ctx, c) }

// Refuse implements frame.Protocol.
func (s *Server) Refuse(c *frame.Conn, why frame.Reason) string {
	s.opt.Gate.Session(c.Mail(s.opt.Name, s.opt.Now()), mail.ProtocolPOP3).End("refused: "+string(why), 0)
	return replyTooMany
}

// Implicit implements frame.Protocol.
func (s *Server) Implicit() *tls.Config {
	if !s.opt.Implicit {
		return nil
	}
	return s.opt.TLS
}
