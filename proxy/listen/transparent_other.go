//go:build !linux

package listen

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// Transparent is for Linux.
func Transparent(string, string, syscall.RawConn) error {
	return errors.New("transparent doors need Linux")
}

// Wanted is our end: nothing redirects connections here.
func Wanted(_ net.Conn, local netip.AddrPort) netip.AddrPort { return local }
