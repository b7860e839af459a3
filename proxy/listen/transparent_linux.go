package listen

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"unsafe"
)

// Of linux/in6.h and linux/netfilter_ipv4.h, which package syscall does not know.
const (
	ipv6Transparent   = 75
	soOriginalDst     = 80
	ip6tSoOriginalDst = 80
)

// Transparent lets a socket have an address that is not the machine's: IP_TRANSPARENT, ip(7). It needs CAP_NET_ADMIN.
func Transparent(network, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		if network == "tcp6" {
			failed = syscall.SetsockoptInt(int(fd), syscall.SOL_IPV6, ipv6Transparent, 1)
		}
		// a socket for IPv6 may serve IPv4, too
		if v4 := syscall.SetsockoptInt(int(fd), syscall.SOL_IP, syscall.IP_TRANSPARENT, 1); network != "tcp6" {
			failed = v4
		}
	})
	return errors.Join(err, failed)
}

// Wanted is where the client wanted to go: what the packet filter redirected (SO_ORIGINAL_DST), else our end, which with
// TPROXY is not an address of ours.
func Wanted(c net.Conn, local netip.AddrPort) netip.AddrPort {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return local
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return local
	}
	found := local
	_ = raw.Control(func(fd uintptr) { // a socket that is gone has no destination either
		if local.Addr().Is4() {
			var a syscall.RawSockaddrInet4
			if getsockopt(fd, syscall.SOL_IP, soOriginalDst, unsafe.Pointer(&a), unsafe.Sizeof(a)) {
				found = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), networkOrder(a.Port))
			}
			return
		}
		var a syscall.RawSockaddrInet6
		if getsockopt(fd, syscall.SOL_IPV6, ip6tSoOriginalDst, unsafe.Pointer(&a), unsafe.Sizeof(a)) {
			found = netip.AddrPortFrom(netip.AddrFrom16(a.Addr), networkOrder(a.Port))
		}
	})
	return found
}

func getsockopt(fd, level, option uintptr, value unsafe.Pointer, size uintptr) bool {
	length := uint32(size)
	_, _, failed := syscall.Syscall6(syscall.SYS_GETSOCKOPT, fd, level, option, uintptr(value), uintptr(unsafe.Pointer(&length)), 0)
	return failed == 0
}

func networkOrder(port uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return binary.BigEndian.Uint16(b[:])
}
