// Package frame is what all doors have in common: accept, limits, the PROXY protocol, the sessions and their TLS, and an
// orderly end. A door brings its protocol.
package frame

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"postern/proxy/listen"
)

// Protocol is what a door speaks.
type Protocol interface {
	// Open begins the session of a connection that was let in. The context ends when the connection must.
	Open(ctx context.Context, c *Conn) Dialogue
	// Refuse makes the record of a connection that is not let in, and gives the line to say, line end included; "" for none.
	// It is called from the accept loop, among others, and must be quick. Who sent no valid PROXY header is not told the line.
	Refuse(c *Conn, why Reason) string
	// Implicit gives the settings of a door that speaks TLS from the first octet on (RFC 8314 section 3), nil for another.
	Implicit() *tls.Config
}

// Dialogue is one session. Run speaks with the client until the connection ends. Hurry asks it to end as soon as it waits
// for a command, Stop breaks it off; both may be called by any goroutine.
type Dialogue interface {
	Run()
	Hurry()
	Stop()
}

// Reason says why a connection was refused.
type Reason string

// The reasons.
const (
	TooMany            Reason = "too many connections"
	TooManyFromNetwork Reason = "too many connections from this network"
	Banned             Reason = "banned"
	Stopping           Reason = "shutting down"
	NoProxyHeader      Reason = "no valid PROXY header"
	Astray             Reason = "nothing was redirected: the connection came to the transparent door itself"
)

// Options say how a listener works. Zero values mean the defaults.
type Options struct {
	// Name is the door's name in the settings.
	Name string
	// Address is HOST:PORT.
	Address string
	// ProxyProtocol makes the header of a proxy mandatory for connections from Trusted; from elsewhere it is not read.
	ProxyProtocol bool
	Trusted       []netip.Prefix
	// MaxConnections (default 1000) is for the door, MaxPerNetwork (default 50) for one network of the clients, which has
	// V4Bits (default 32) or V6Bits (default 64).
	MaxConnections, MaxPerNetwork int
	V4Bits, V6Bits                int
	// Reserve is how many connections more there may be for clients that Known knows as good, in percent of MaxConnections:
	// they still get in when others fill the rest. Without Known there is none.
	Reserve int
	Known   func(client netip.Addr) bool
	// Transparent serves connections that the machine redirects here (TPROXY, or REDIRECT): Conn.Local is where they wanted
	// to go.
	Transparent bool
	// Timeout (default 30 s) is for the PROXY header.
	Timeout time.Duration
	// Banned says whether a client may not come in at all.
	Banned func(client netip.Addr) bool
	Log    *slog.Logger
}

// Counts are numbers since the start; Open is now.
type Counts struct {
	Accepted, Open, TooMany, TooManyFromNetwork, Banned, BadProxyHeader int64
}

// Listener is one door's listener.
type Listener struct {
	Options
	protocol Protocol
	socket   net.Listener
	ctx      context.Context
	end      context.CancelFunc
	wait     sync.WaitGroup

	mu       sync.Mutex
	conns    map[*Conn]Dialogue // nil for one whose session has not begun
	networks map[netip.Prefix]int
	draining bool

	refusals chan struct{} // a place for each that is refused in TLS

	accepted, tooMany, fromNetwork, banned, badHeader atomic.Int64
}

// New opens the socket. Run accepts.
func New(o Options, p Protocol) (*Listener, error) {
	if o.ProxyProtocol && len(o.Trusted) == 0 {
		return nil, fmt.Errorf("door %s: proxy_protocol without a trusted network: anyone could claim any address", o.Name)
	}
	o.defaults()
	// no keep-alive probes: every wait has a deadline of our own, and they cost four system calls a connection
	config := net.ListenConfig{KeepAlive: -1}
	if o.Transparent {
		config.Control = listen.Transparent
	}
	socket, err := config.Listen(context.Background(), "tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("door %s: %w", o.Name, err)
	}
	l := &Listener{Options: o, protocol: p, socket: socket, conns: map[*Conn]Dialogue{}, networks: map[netip.Prefix]int{},
		refusals: make(chan struct{}, maxRefusals)}
	l.ctx, l.end = context.WithCancel(context.Background())
	return l, nil
}

func (o *Options) defaults() {
	set := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	set(&o.MaxConnections, 1000)
	set(&o.MaxPerNetwork, 50)
	set(&o.V4Bits, 32)
	set(&o.V6Bits, 64)
	o.V4Bits, o.V6Bits = min(o.V4Bits, 32), min(o.V6Bits, 128)
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.socket.Addr() }

// Run accepts until Shutdown. It survives EMFILE and whatever else accept may say.
func (l *Listener) Run() {
	pause := time.Duration(0)
	for {
		nc, err := l.socket.Accept()
		switch {
		case err == nil:
			pause = 0
			l.admit(nc)
		case errors.Is(err, net.ErrClosed) || l.ctx.Err() != nil:
			return
		default:
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			l.Log.Error("accept failed, trying again", "door", l.Name, "error", err, "pause", pause)
			time.Sleep(pause)
		}
	}
}

// admit counts a connection in, or refuses it.
func (l *Listener) admit(nc net.Conn) {
	l.accepted.Add(1)
	c := newConn(nc)
	if l.Transparent {
		c.Local = listen.Wanted(nc, c.Local)
	}
	l.mu.Lock()
	why := Reason("")
	switch {
	case l.draining:
		why = Stopping
	case len(l.conns) >= l.limit():
		why = TooMany
		l.tooMany.Add(1)
	default:
		l.conns[c] = nil
		l.wait.Add(1)
	}
	l.mu.Unlock()
	if why != "" {
		l.refuse(c, why)
		return
	}
	go func() {
		defer l.wait.Done()
		why := l.serve(c)
		l.leave(c)
		if why != "" {
			l.refuse(c, why)
			return
		}
		_ = c.Close() // its session may have done so
	}()
}

// serve has a connection until it ends, or says why it must be refused.
func (l *Listener) serve(c *Conn) (refused Reason) {
	if l.ProxyProtocol && l.trusts(c.Peer.Addr()) {
		_ = c.SetDeadline(time.Now().Add(l.Timeout)) // if it fails so does the read
		client, err := readProxyHeader(c.Conn)
		if err != nil {
			// PROXY protocol section 2: the receiver must not guess; without a valid header the connection ends.
			l.badHeader.Add(1)
			l.Log.Warn("no valid PROXY header, connection closed", "door", l.Name, "peer", c.Peer, "error", err)
			_ = l.protocol.Refuse(c, NoProxyHeader) // for the record: who speaks another protocol is told nothing
			return ""
		}
		if client.IsValid() {
			c.Client = client
		}
	}
	why := l.enter(c)
	if l.Transparent && l.astray(c) {
		why = Astray
	}
	if why != "" {
		return why
	}

	_ = c.SetDeadline(time.Time{}) // the session sets its own
	session := l.protocol.Open(l.ctx, c)
	l.begun(c, session)
	session.Run()
	return ""
}

// begun notes the session of a connection. One that began while the door was being shut ends at its first command.
func (l *Listener) begun(c *Conn, session Dialogue) {
	l.mu.Lock()
	l.conns[c] = session
	draining := l.draining
	l.mu.Unlock()
	if draining {
		session.Hurry()
	}
}

// enter counts a connection for its client's network.
func (l *Listener) enter(c *Conn) Reason {
	addr := c.Client.Addr()
	if l.Banned != nil && l.Banned(addr) {
		l.banned.Add(1)
		return Banned
	}
	network := l.network(addr)
	if l.full() && !l.Known(addr) {
		l.tooMany.Add(1)
		return TooMany
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.draining {
		return Stopping
	}
	if l.networks[network] >= l.MaxPerNetwork {
		l.fromNetwork.Add(1)
		return TooManyFromNetwork
	}
	l.networks[network]++
	c.network = network
	return ""
}

// most is how many connections there may be, the reserve included.
func (l *Listener) limit() int {
	if l.Known == nil {
		return l.MaxConnections
	}
	return l.MaxConnections * (100 + l.Reserve) / 100
}

// Pressed says whether the next client is let in only if it is known as good, because the others fill their share.
func (l *Listener) Pressed() bool { return l.Known != nil && l.open() >= l.MaxConnections }

// full says whether a connection that was just counted is one more than strangers may have.
func (l *Listener) full() bool { return l.Known != nil && l.open() > l.MaxConnections }

func (l *Listener) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

func (l *Listener) network(addr netip.Addr) netip.Prefix {
	bits := l.V6Bits
	if addr.Is4() {
		bits = l.V4Bits
	}
	p, _ := addr.WithZone("").Prefix(bits) // an address that is none is a network of its own
	return p
}

// leave counts a connection out.
func (l *Listener) leave(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	if c.network.IsValid() {
		if l.networks[c.network]--; l.networks[c.network] == 0 {
			delete(l.networks, c.network)
		}
	}
}

const (
	// maxRefusals is how many connections are refused in TLS at once: each costs a handshake. The others are closed.
	maxRefusals = 16
	// refusalTime is how long one may take.
	refusalTime = 5 * time.Second
)

// refuse says no, in the protocol of the door, and closes the connection.
func (l *Listener) refuse(c *Conn, why Reason) {
	text := l.protocol.Refuse(c, why)
	config := l.protocol.Implicit()
	switch {
	case text == "":
	case config != nil:
		l.refuseInTLS(c, config, text)
		return
	default:
		_ = c.SetDeadline(time.Now().Add(time.Second)) // if it fails so does the write
		_, _ = c.Write([]byte(text))                   // a courtesy
	}
	_ = c.Close() // it was told
}

// refuseInTLS says no after a handshake, without which a client of implicit TLS could not read it: RFC 8314 section 3. It
// does not wait for that.
func (l *Listener) refuseInTLS(c *Conn, config *tls.Config, text string) {
	select {
	case l.refusals <- struct{}{}:
	default:
		_ = c.Close() // too many are being told
		return
	}
	l.mu.Lock()
	draining := l.draining
	if !draining {
		l.wait.Add(1)
	}
	l.mu.Unlock()
	if draining {
		<-l.refusals
		_ = c.Close() // nobody waits for it any more
		return
	}
	go func() {
		defer l.wait.Done()
		defer func() { <-l.refusals }()
		_ = c.SetDeadline(time.Now().Add(refusalTime)) // if it fails so does the handshake
		t := tls.Server(c.Conn, config)
		if t.HandshakeContext(l.ctx) == nil {
			_, _ = t.Write([]byte(text)) // a courtesy
			_ = t.Close()                // sends TLS's goodbye
		}
		_ = c.Close() // it was told
	}()
}

func (l *Listener) trusts(addr netip.Addr) bool {
	for _, p := range l.Trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// Counts tells the numbers.
func (l *Listener) Counts() Counts {
	l.mu.Lock()
	open := int64(len(l.conns))
	l.mu.Unlock()
	return Counts{
		Accepted: l.accepted.Load(), Open: open, TooMany: l.tooMany.Load(), TooManyFromNetwork: l.fromNetwork.Load(),
		Banned: l.banned.Load(), BadProxyHeader: l.badHeader.Load(),
	}
}

// Shutdown accepts no more, asks the sessions to end, which those that wait for a command do at once, lets the others
// finish, and breaks off what is left when the context ends. When it returns no connection is left.
func (l *Listener) Shutdown(ctx context.Context) error {
	err := l.socket.Close()
	l.mu.Lock()
	l.draining = true
	l.mu.Unlock()
	for _, session := range l.sessions() {
		session.Hurry()
	}

	done := make(chan struct{})
	go func() {
		l.wait.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		l.end()
		for c, session := range l.sessions() {
			session.Stop()
			_ = c.Conn.Close() // without TLS's goodbye, which could block
		}
		<-done
	}
	l.end()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}

	return err
}

// sessions are those of all connections.
func (l *Listener) sessions() map[*Conn]Dialogue {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[*Conn]Dialogue{}
	for c, session := range l.conns {
		if session == nil {
			session = unbegun{c}
		}
		all[c] = session
	}
	return all
}

// unbegun is the session of a connection that has sent no PROXY header yet.
type unbegun struct{ c *Conn }

func (unbegun) Run() {}

// Hurry leaves it the time that it has for its header.
func (unbegun) Hurry() {}

func (u unbegun) Stop() { _ = u.c.Close() } // its reader sees it

// astray says whether a connection at a transparent door wanted nothing but the door: it would be taken to itself.
func (l *Listener) astray(c *Conn) bool {
	own := addrPort(l.socket.Addr())
	return c.Local.Port() == own.Port() && (own.Addr() == c.Local.Addr() || own.Addr().IsUnspecified() && isOurs(c.Local.Addr()))
}

// isOurs says whether an address is one of the machine's.
func isOurs(a netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return true // rather no connection than one that goes round
	}
	for _, one := range all {
		if p, err := netip.ParsePrefix(one.String()); err == nil && p.Addr().Unmap() == a {
			return true
		}
	}
	return false
}
