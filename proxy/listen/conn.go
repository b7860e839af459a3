package listen

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Conn is a connection that was let in.
type Conn struct {
	net.Conn
	// Peer is the other end of the TCP connection. Client is where the connection comes from: the same, or what a trusted
	// proxy said. Local is our end.
	Peer, Client, Local netip.AddrPort

	listener *Listener
	raw      net.Conn
	network  netip.Prefix

	mu       sync.Mutex
	idle     bool
	draining bool
}

func newConn(l *Listener, nc net.Conn) *Conn {
	c := &Conn{Conn: nc, listener: l, raw: nc, Peer: addrPort(nc.RemoteAddr()), Local: addrPort(nc.LocalAddr())}
	c.Client = c.Peer
	return c
}

func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		p := tcp.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}

// SetIdle tells that the door waits for the client's next command, or no longer does. The door sets its read deadline
// before it says true. The answer says whether to go on: false means that the listener is shutting down, so that an idle
// connection is to be ended with a friendly word. A Read that waits is woken by a timeout then.
func (c *Conn) SetIdle(idle bool) (goOn bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = idle
	return !c.draining
}

// Draining says whether the listener is shutting down.
func (c *Conn) Draining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}

func (c *Conn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	if c.idle {
		_ = c.raw.SetReadDeadline(time.Unix(1, 0)) // a closed connection needs no waking
	}
}

// use puts TLS on top.
func (c *Conn) use(t net.Conn) { c.Conn = t }
