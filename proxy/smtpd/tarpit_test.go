package smtpd_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/config"
	"postern/policy"
	"postern/proxy"
	"postern/proxy/smtpd"
)

// A client in the tarpit holds a connection of ours: it is released when connections are scarce, and when the door
// closes.
func TestTheTarpitLetsGo(t *testing.T) {
	for _, scarce := range []bool{true, false} {
		t.Run(fmt.Sprint("scarce ", scarce), func(t *testing.T) {
			b := newBench(t, nil)
			parsed, problems := policy.Parse("policy.toml", []byte("[actions]\nNON_SMTP_COMMAND = \"tarpit\"\n"))
			if len(problems) > 0 {
				t.Fatal(config.Problems(problems))
			}
			judge, problems := policy.Compile(parsed, proxy.Symbols())
			if len(problems) > 0 {
				t.Fatal(config.Problems(problems))
			}
			b.use(judge)
			var pressed atomic.Bool
			o := options(t, nil)
			o.Tarpit, o.Pressed = time.Minute, pressed.Load
			b.server = smtpd.New(o, b.gateway, slog.New(slog.DiscardHandler))
			conn, err := net.Dial("tcp", b.listen(t))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			in := bufio.NewReader(conn)
			if _, err := in.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(conn, "WHOAMI\r\n")
			time.Sleep(100 * time.Millisecond)
			if scarce {
				pressed.Store(true)
			} else {
				go b.shutdown(context.Background())
			}
			if said, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(said, "500 ") {
				t.Errorf("%q, %v", said, err)
			}
		})
	}
}
