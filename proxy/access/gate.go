package access

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"postern/internal/mail"
	"postern/internal/state"
	"postern/policy/records/ledger"
)

// Bans refuse clients that guess passwords, at all doors alike.
type Bans interface {
	// Admit reports whether a login may be tried; Failed counts a wrong password, Passed remembers a good login.
	Admit(ctx context.Context, client netip.Addr, user string) bool
	Failed(ctx context.Context, client netip.Addr, user, password string)
	Passed(ctx context.Context, client netip.Addr, user string)
}

// Ledger takes the record of every connection.
type Ledger interface {
	Connection(ledger.Connection)
}

// Authorizer is asked by HTTP about every login, and gets its result.
type Authorizer interface {
	// Authorize says whether a login may go on, and where to.
	Authorize(ctx context.Context, s *mail.Session, protocol mail.Protocol, a Attempt) (Answer, error)
	// Report sends the result.
	Report(ctx context.Context, s *mail.Session, protocol mail.Protocol, a Attempt, ok bool)
}

// Answer is an authorizer's answer.
type Answer struct {
	// Refused ends the login; Wait delays it before that or before it goes on.
	Refused bool
	Wait    time.Duration
	// Host is the server to take, HOST or HOST:PORT, which the settings must name; User and Password are those to log in
	// there with. What is "" stays as it is.
	Host, User, Password string
}

// Notice tells of a login from a network that the user has not logged in from before.
type Notice struct {
	User, Country string
	Protocol      mail.Protocol
	Client        netip.Addr
	Time          time.Time
}

// Options of a Gate. Zero values mean the defaults.
type Options struct {
	Routes []Route
	Rules  []Rule
	// Directory and HostAttribute find a user's server, nil for none.
	Directory     Directory
	HostAttribute string
	Authorizer    Authorizer
	AppPasswords  *AppPasswords
	Bans          Bans
	State         *state.State
	Ledger        Ledger
	// Country gives the country of an address, "" if unknown.
	Country func(netip.Addr) string
	// Trusted networks are not bound by rules on networks and countries.
	Trusted func(netip.Addr) bool
	// Opaque is the route that NTLM and GSSAPI are relayed to, and the names of the mechanisms it takes.
	Opaque           string
	OpaqueMechanisms []string
	// Tokens offers XOAUTH2 and OAUTHBEARER. Authzid allows an authorization id of another user, if the backend does.
	Tokens, Authzid bool
	// MaxSessions (default 32) is how many connections a user may have at a time.
	MaxSessions int
	// FailDelay (default 2 s) is when any refusal is answered, counted from the attempt.
	FailDelay time.Duration
	// Notify is called for logins from new networks, unless nil.
	Notify func(context.Context, Notice)
	// Away is called with a server at which a login failed for another reason than the password.
	Away func(*Backend)
	// Transparent are the doors whose clients address the backend itself: they are connected to their original
	// destination. FromClient are the doors that connect from the client's own address.
	Transparent map[string]Backend
	FromClient  map[string]bool
	Now         func() time.Time
	Log         *slog.Logger
}

// Gate is the one gate of all POP3 and IMAP doors.
type Gate struct {
	o       Options
	resting resting
	delay   delay

	mu       sync.Mutex
	sessions map[string]int // of each user that has any
}

// New makes a gate.
func New(o Options) *Gate {
	o.fill()
	return &Gate{o: o, sessions: map[string]int{}}
}

func (o *Options) fill() {
	o.MaxSessions, o.FailDelay = cmp.Or(o.MaxSessions, 32), cmp.Or(o.FailDelay, 2*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Country == nil {
		o.Country = func(netip.Addr) string { return "" }
	}
	if o.Trusted == nil {
		o.Trusted = func(netip.Addr) bool { return false }
	}
	if o.Away == nil {
		o.Away = func(*Backend) {}
	}
}

// take gives a user one more session, within the limit.
func (g *Gate) take(user string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sessions[user] >= g.o.MaxSessions {
		return false
	}
	g.sessions[user]++
	return true
}

func (g *Gate) leave(user string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sessions[user]--; g.sessions[user] <= 0 {
		delete(g.sessions, user)
	}
}

// Sessions is the number of sessions of each user with any.
func (g *Gate) Sessions() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make(map[string]int, len(g.sessions))
	for u, n := range g.sessions {
		all[u] = n
	}
	return all
}

// knownFor is how long it is remembered from which networks a user has logged in.
const knownFor = 90 * 24 * time.Hour

// greet remembers the network of a login, and notifies of one that is new for a user with others.
func (g *Gate) greet(ctx context.Context, v *Session, user string) {
	if g.o.State == nil {
		return
	}
	bits := 24
	client := v.s.Client.Unmap().WithZone("")
	if client.Is6() {
		bits = 48
	}
	network, _ := client.Prefix(bits)
	from, any := state.Key("login-network", user, network.String()), state.Key("login-any", user)
	_, here := g.o.State.Get(ctx, from)
	_, elsewhere := g.o.State.Get(ctx, any)
	g.o.State.Put(ctx, from, []byte{1}, knownFor)
	g.o.State.Put(ctx, any, []byte{1}, knownFor)
	if here || !elsewhere { // the very first login is not reported
		return
	}
	v.Observe(mail.Finding{Symbol: "LOGIN_NEW_NETWORK", Evidence: network.String()})
	if g.o.Notify != nil {
		g.o.Notify(ctx, Notice{User: user, Protocol: v.protocol, Country: g.o.Country(client), Client: client, Time: g.o.Now()})
	}
}
