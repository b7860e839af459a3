package smtpd_test

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"postern/proxy/smtpd"
)

// A command that comes octet by octet holds a connection for no longer than a line may take, though no single octet is late.
func TestADrippedCommand(t *testing.T) {
	b := newBench(t, nil)
	o := options(t, nil)
	o.Idle = 300 * time.Millisecond
	b.server = smtpd.New(o, b.gateway, slog.New(slog.DiscardHandler))
	conn, err := net.Dial("tcp", b.listen(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))

	ended := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(bufio.NewReader(conn))
		ended <- string(text)
	}()
	for range 40 {
		select {
		case text := <-ended:
			if !strings.Contains(text, "421 4.4.2") {
				t.Errorf("it ends with %q", text)
			}
			return
		case <-time.After(100 * time.Millisecond):
			_, _ = conn.Write([]byte("N"))
		}
	}
	t.Error("the connection is still there after 4 s")
}
