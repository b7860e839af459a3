package frame

import (
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"postern/internal/mail"
)

// Conn is a connection as it came in, below any TLS.
type Conn struct {
	net.Conn
	// Peer is the other end of the TCP connection. Client is where the connection comes from: the same, or what a trusted
	// proxy said. Local is our end.
	Peer, Client, Local netip.AddrPort

	network netip.Prefix
}

func newConn(nc net.Conn) *Conn {
	c := &Conn{Conn: nc, Peer: addrPort(nc.RemoteAddr()), Local: addrPort(nc.LocalAddr())}
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

// Mail begins what is known of the session at a door.
func (c *Conn) Mail(door string, now time.Time) *mail.Session {
	return &mail.Session{ID: mail.NewID(now), Door: door, Peer: c.Peer, Local: c.Local, Client: c.Client.Addr().Unmap(), Started: now}
}

// Bare is the TCP connection below TLS.
func Bare(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c
}
