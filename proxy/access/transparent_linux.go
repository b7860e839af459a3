package access

import (
	"errors"
	"syscall"
)

// ipv6Transparent is IPV6_TRANSPARENT of linux/in6.h, which package syscall does not know.
const ipv6Transparent = 75

// transparent lets a socket have an address that is not the machine's: IP_TRANSPARENT, ip(7). It needs CAP_NET_ADMIN.
func transparent(network, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		if network == "tcp6" {
			failed = syscall.SetsockoptInt(int(fd), syscall.SOL_IPV6, ipv6Transparent, 1)
			return
		}
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_IP, syscall.IP_TRANSPARENT, 1)
	})
	return errors.Join(err, failed)
}
