package smtpd_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/proxy/smtpd"
)

// When connections are scarce no client may keep one idle; otherwise a client has the minutes of RFC 5321 section
// 4.5.3.2, whatever looks the door takes meanwhile, over TLS too.
func TestTheSilentLeaveWhenConnectionsAreScarce(t *testing.T) {
	for _, implicit := range []bool{false, true} {
		t.Run(fmt.Sprint("tls ", implicit), func(t *testing.T) {
			var pressed atomic.Bool
			b := newBench(t, nil)
			o := options(t, nil)
			o.Implicit, o.Idle, o.Hurry, o.Pressed = implicit, 30*time.Second, 50*time.Millisecond, pressed.Load
			b.server = smtpd.New(o, b.gateway, slog.New(slog.DiscardHandler))
			conn, err := net.Dial("tcp", b.listen(t))
			if err != nil {
				t.Fatal(err)
			}
			if implicit {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			in := bufio.NewReader(conn)
			say := func(line, want string) {
				t.Helper()
				if line != "" {
					fmt.Fprintf(conn, "%s\r\n", line)
				}
				if got, err := in.ReadString('\n'); !strings.HasPrefix(got, want) {
					t.Fatalf("%q: %q %v, want %s", line, got, err, want)
				}
			}
			say("", "220")
			time.Sleep(400 * time.Millisecond) // several looks
			say("NOOP", "250")
			time.Sleep(200 * time.Millisecond)
			say("HELO x.example", "250")
			pressed.Store(true)
			say("", "421 4.4.2")
		})
	}
}
