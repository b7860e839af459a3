//go:build !linux

package listen

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

func transparent(string, string, syscall.RawConn) error {
	return errors.New("transparent doors need Linux")
}

func wanted(_ net.Conn, local netip.AddrPort) netip.AddrPort { return local }
