package console

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// maxSocketPath is what fits in the address of a socket: unix(7).
const maxSocketPath = 107

// SocketPath gives a path that the system takes as the address of a socket, until done is called: a long one is named
// by way of its open folder.
func SocketPath(path string) (short string, done func(), err error) {
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), func() { _ = dir.Close() }, nil
}

// Client talks to a running gateway over its control socket.
func Client(socket string) *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: Transport(socket)}
}

// Transport carries requests to a running gateway over its control socket, however long the answer takes.
func Transport(socket string) http.RoundTripper {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		path, done, err := SocketPath(socket)
		if err != nil {
			return nil, err
		}
		defer done()
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &http.Transport{DialContext: dial}
}
