// Package port finds ports for servers that tests start.
package port

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Below the range from which the kernel takes ports for connections (32768 and up on Linux): none of them takes one away
// between here and the server's start.
const (
	first = 10_000
	count = 22_000
)

// Free gives a port of 127.0.0.1 that nobody listens at and that no other test gets until this one ends, in whatever process
// of this machine it runs: a name among the abstract sockets, which end with their process, says that it is taken.
func Free(t testing.TB) int {
	t.Helper()
	for range 100 {
		n := first + rand.IntN(count)
		taken, err := net.Listen("unix", fmt.Sprint("@postern-test-port-", n))
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = taken.Close() })
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", n))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return n
	}
	t.Fatal("no port is free")

	return 0
}
