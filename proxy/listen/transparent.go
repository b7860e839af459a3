package listen

import (
	"net"
	"net/netip"
)

// Dialer connects to a server, from a foreign source address if source is valid: the client's own, where the machine
// routes the answers back to us.
func Dialer(source netip.Addr) *net.Dialer {
	d := &net.Dialer{}
	if source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
		d.Control = Transparent
	}
	return d
}
