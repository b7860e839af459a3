// Package listen is what all doors have in common: accept, limits, the PROXY protocol, TLS, and an orderly end.
package listen

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
)

// TLSMode says how a door does TLS.
type TLSMode string

// The modes. STARTTLS is the door's own dialogue; Implicit is done here, before the door sees a byte (RFC 8314).
const (
	TLSNone     TLSMode = "none"
	TLSStartTLS TLSMode = "starttls"
	TLSImplicit TLSMode = "implicit"
)

// Reason says why a connection was refused.
type Reason string

// The reasons.
const (
	TooMany            Reason = "too many connections"
	TooManyFromNetwork Reason = "too many connections from this network"
	Banned             Reason = "banned"
	Stopping           Reason = "shutting down"
	NoProxyHeader      Reason = "no valid PROXY header"
	NoHandshake        Reason = "TLS handshake failed"
	Astray             Reason = "nothing was redirected: the connection came to the transparent door itself"
)

// Options say how a listener works. Zero values mean the defaults.
type Options struct {
	// Name is the door's name in the settings.
	Name string
	// Address is HOST:PORT; Listener is taken instead if it is set.
	Address  string
	Listener net.Listener
	TLS      TLSMode
	// Config is for TLSImplicit: see Certificates.Config.
	Config *tls.Config
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
	// Timeout (default 30 s) is for the PROXY header and for the TLS handshake.
	Timeout time.Duration
	// Banned says whether a client may not come in at all.
	Banned func(client netip.Addr) bool
	// Serve has the connection until it returns. The context ends when the connection must.
	Serve func(ctx context.Context, c *Conn)
	// Refuse makes the record of a refused connection and gives the line to say, line end included; "" for none. It is
	// called from the accept loop, among others, and must be quick. Who sent no valid PROXY header, or came to no TLS, is not
	// told the line.
	Refuse func(c *Conn, why Reason) string
	Log    *slog.Logger
}

// Counts are numbers since the start; Open is now.
type Counts struct {
	Accepted, Open, TooMany, TooManyFromNetwork, Banned, BadProxyHeader, BadHandshake int64
}

// Listener is one door's listener.
type Listener struct {
	Options
	socket net.Listener
	ctx    context.Context
	end    context.CancelFunc
	wait   sync.WaitGroup

	mu       sync.Mutex
	conns    map[*Conn]bool
	networks map[netip.Prefix]int
	draining bool

	accepted, tooMany, fromNetwork, banned, badHeader, badHandshake atomic.Int64
}

// New opens the socket. Run accepts.
func New(o Options) (*Listener, error) {
	switch o.TLS {
	case "", TLSNone, TLSStartTLS:
	case TLSImplicit:
		if o.Config == nil {
			return nil, fmt.Errorf("door %s: tls = \"implicit\" without a certificate", o.Name)
		}
	default:
		return nil, fmt.Errorf("door %s: tls = %q: want none, starttls or implicit", o.Name, o.TLS)
	}
	if o.ProxyProtocol && len(o.Trusted) == 0 {
		return nil, fmt.Errorf("door %s: proxy_protocol without a trusted network: anyone could claim any address", o.Name)
	}
	o.defaults()
	l := &Listener{Options: o, socket: o.Listener, conns: map[*Conn]bool{}, networks: map[netip.Prefix]int{}}
	if l.socket == nil {
		var err error
		// no keep-alive probes: every wait has a deadline of our own, and they cost four system calls a connection
		without := net.ListenConfig{KeepAlive: -1}
		if o.Transparent {
			without.Control = transparent
		}
		if l.socket, err = without.Listen(context.Background(), "tcp", o.Address); err != nil {
			return nil, fmt.Errorf("door %s: %w", o.Name, err)
		}
	}
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
	if o.Refuse == nil {
		o.Refuse = func(*Conn, Reason) string { return "" }
	}
}

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.socket.Addr() }

// Run accepts until Shutdown. It lives through a lack of file descriptors and whatever else accept may say.
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
	c := newConn(l, nc)
	if l.Transparent {
		c.Local = wanted(nc, c.Local)
	}
	l.mu.Lock()
	why := Reason("")
	switch {
	case l.draining:
		why = Stopping
	case len(l.conns) >= l.most():
		why = TooMany
		l.tooMany.Add(1)
	default:
		l.conns[c] = true
		l.wait.Add(1)
	}
	l.mu.Unlock()
	if why != "" {
		l.refuse(c, why)
		_ = nc.Close() // it was told
		return
	}
	go func() {
		defer l.wait.Done()
		defer l.leave(c)
		l.serve(c)
	}()
}

func (l *Listener) serve(c *Conn) {
	if l.ProxyProtocol && l.trusts(c.Peer.Addr()) {
		_ = c.SetDeadline(time.Now().Add(l.Timeout)) // if it fails so does the read
		client, err := readProxyHeader(c.Conn)
		if err != nil {
			// PROXY protocol section 2: the receiver must not guess; without a valid header the connection ends.
			l.badHeader.Add(1)
			l.Log.Warn("no valid PROXY header, connection closed", "door", l.Name, "peer", c.Peer, "error", err)
			_ = l.Refuse(c, NoProxyHeader) // for the record: who speaks another protocol is told nothing
			return
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
		l.refuse(c, why)
		return
	}
	if l.TLS == TLSImplicit {
		_ = c.SetDeadline(time.Now().Add(l.Timeout)) // if it fails so does the handshake
		t := tls.Server(Records(c.Conn), l.Config)
		if err := t.HandshakeContext(l.ctx); err != nil {
			l.badHandshake.Add(1)
			l.Log.Info("TLS handshake failed", "door", l.Name, "client", c.Client, "error", err)
			_ = l.Refuse(c, NoHandshake) // for the record
			return
		}
		c.use(t)
	}
	_ = c.SetDeadline(time.Time{}) // the door sets its own
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	l.Serve(ctx, c)
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
	if l.networks[network] >= l.MaxPerNetwork {
		l.fromNetwork.Add(1)
		return TooManyFromNetwork
	}
	l.networks[network]++
	c.network = network
	return ""
}

// most is how many connections there may be, the reserve included.
func (l *Listener) most() int {
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

// leave closes a connection and counts it out.
func (l *Listener) leave(c *Conn) {
	_ = c.Close() // the door may have done so
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	if c.network.IsValid() {
		if l.networks[c.network]--; l.networks[c.network] == 0 {
			delete(l.networks, c.network)
		}
	}
}

// refuse says no, in the protocol of the door. Under implicit TLS nothing can be said without a handshake, which would cost
// more than the refusal saves.
func (l *Listener) refuse(c *Conn, why Reason) {
	line := l.Refuse(c, why)
	if line == "" || l.TLS == TLSImplicit {
		return
	}
	_ = c.SetDeadline(time.Now().Add(time.Second)) // if it fails so does the write
	_, _ = c.Write([]byte(line))                   // a courtesy
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
		Banned: l.banned.Load(), BadProxyHeader: l.badHeader.Load(), BadHandshake: l.badHandshake.Load(),
	}
}

// Shutdown accepts no more, wakes the connections that wait for a command so that the door can say goodbye, lets the others
// finish, and closes what is left when the context ends. When it returns no connection is left.
func (l *Listener) Shutdown(ctx context.Context) error {
	err := l.socket.Close()
	l.mu.Lock()
	l.draining = true
	for c := range l.conns {
		c.wake()
	}
	l.mu.Unlock()

	done := make(chan struct{})
	go func() {
		l.wait.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		l.end()
		l.mu.Lock()
		for c := range l.conns {
			_ = c.raw.Close() // without TLS's goodbye, which could block
		}
		l.mu.Unlock()
		<-done
	}
	l.end()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return err
}
