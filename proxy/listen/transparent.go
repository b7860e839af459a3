package listen

import (
	"net"
	"net/netip"
)

// Dialer connects to a server, from the address of somebody else if source is valid: the client's own, where the machine
// routes the answers back to us.
func Dialer(source netip.Addr) *net.Dialer {
	d := &net.Dialer{}
	if source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
		d.Control = transparent
	}
	return d
}

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
