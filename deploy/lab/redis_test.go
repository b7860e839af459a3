package lab_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"postern/internal/testing/hoptest"
	"postern/internal/testing/lab"
	"postern/internal/testing/redistest"
)

// Whatever happens to Redis, mail flows, nothing is refused for good because of it, what was counted counts on, and the
// signal is there within five seconds.
func TestMailFlowsWhateverHappensToRedis(t *testing.T) { // its cases beside each other, not beside other tests: they count timeouts
	for name, c := range map[string]struct {
		args       []string
		lose, find func(*redistest.Server)
	}{
		"killed": {nil, (*redistest.Server).Kill, (*redistest.Server).Restart},
		"read-only": {nil, func(s *redistest.Server) { s.Do("REPLICAOF", "127.0.0.1", "1") },
			func(s *redistest.Server) { s.Do("REPLICAOF", "NO", "ONE") }},
		"full": {nil, func(s *redistest.Server) {
			s.Do("CONFIG", "SET", "maxmemory-policy", "noeviction")
			s.Do("CONFIG", "SET", "maxmemory", "1")
		}, func(s *redistest.Server) { s.Do("CONFIG", "SET", "maxmemory", "0") }},
		"stalled": {nil, (*redistest.Server).Stop, (*redistest.Server).Continue},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Start(t, c.args...)
			hop := hoptest.New(t, hoptest.Options{})
			door, metrics := lab.FreePort(t), lab.FreePort(t)
			p := lab.NewPostern(t, program, fmt.Sprintf(`hostname = "gw.test"
data_dir = "%%DATA%%"
domains = ["corp.test"]
[[door]]
name = "mx"
listen = %q
xclient_networks = ["127.0.0.0/8"]
[next_hop."default"]
addresses = [%q]
tls = "none"
[state]
redis = [%q]
[metrics]
listen = %q
[dns]
servers = ["127.0.0.1:9"]
timeout = "200ms"
[filters.ratelimit]
limits = [ { key = "client", count = "messages", rate = "30/1h" } ]
`, door, hop.Addr(), redis.Addr, metrics))
			p.Start(t)
			send := func(n int) (taken, deferred int) {
				t.Helper()
				client, err := lab.DialClient(door, "192.0.2.7")
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				for range n {
					code, text, err := client.Send("bob@friend.example", "ann@corp.test", []byte("From: bob@friend.example\r\nDate: Mon, 02 Mar 2026 12:00:00 +0000\r\nSubject: x\r\n\r\nhello\r\n"))
					switch {
					case err != nil || code >= 500:
						t.Fatalf("%d %s %v", code, text, err)
					case code < 300:
						taken++
					default:
						deferred++
					}
				}
				return taken, deferred
			}
			degraded := func(want string) {
				t.Helper()
				for end := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
					if text := fetch(t, "http://"+metrics+"/metrics"); strings.Contains(text, "postern_state_degraded "+want) {
						return
					}
					if time.Now().After(end) {
						t.Fatalf("the metric does not become %s within five seconds", want)
					}
				}
			}
			degraded("0")
			if taken, _ := send(15); taken != 15 {
				t.Fatalf("%d of 15 taken", taken)
			}
			c.lose(redis)
			began := time.Now()
			taken, deferred := send(10)
			if took := time.Since(began); taken != 10 || took > 10*time.Second {
				t.Errorf("while it is away: %d taken, %d deferred, in %v", taken, deferred, took)
			}
			degraded("1")
			c.find(redis)
			for end := time.Now().Add(40 * time.Second); strings.Contains(fetch(t, "http://"+metrics+"/metrics"), "postern_state_degraded 1") && time.Now().Before(end); {
				time.Sleep(100 * time.Millisecond)
			}
			degraded("0")
			// 25 of 30 were taken; what was in flight when it stalled may have been counted twice, which is the strict side
			taken, deferred = send(10)
			if taken > 5 || taken < 3 {
				t.Errorf("when it is back: %d taken and %d deferred, want 5 and 5", taken, deferred)
			}
			if n := strings.Count(p.Log(), "level=ERROR"); n > 2 {
				t.Errorf("%d errors in the log: %s", n, p.Log())
			}
		})
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
