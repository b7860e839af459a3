package lab_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/internal/testing/hoptest"
	"postern/internal/testing/lab"
	"postern/internal/testing/pgtest"
)

// PostgreSQL goes away while mail comes in and comes back later: mail flows all the time, and every record is there at the
// end, once, under the id that the client saw.
func TestMailFlowsWhateverHappensToPostgreSQL(t *testing.T) { // its cases beside each other, not beside other tests: they count timeouts
	for name, c := range map[string]struct{ lose, find func(*pgtest.Server) }{
		"stopped": {(*pgtest.Server).Stop, (*pgtest.Server).Restart},
		"killed":  {(*pgtest.Server).Kill, (*pgtest.Server).Restart},
		"stalled": {(*pgtest.Server).Freeze, (*pgtest.Server).Continue},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := pgtest.Start(t)
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
[database]
url = %q
[metrics]
listen = %q
[dns]
servers = ["127.0.0.1:9"]
timeout = "200ms"
[filters.ratelimit]
enabled = false
`, door, hop.Addr(), database.URL, metrics))
			p.Start(t)
			var ids []string
			send := func(n int) {
				t.Helper()
				client, err := lab.DialClient(door, "192.0.2.7")
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				for range n {
					code, text, err := client.Send("bob@friend.example", "nobody@elsewhere.test", []byte("From: bob@friend.example\r\n\r\nhello\r\n"))
					if err != nil || code != 550 { // refused at RCPT, with an id
						t.Fatalf("%d %s %v", code, text, err)
					}
					ids = append(ids, text[strings.LastIndexByte(text, '(')+1:strings.LastIndexByte(text, ')')])
					begun := time.Now()
					code, text, err = client.Send("bob@friend.example", "ann@corp.test", []byte("From: bob@friend.example\r\nDate: Mon, 02 Mar 2026 12:00:00 +0000\r\nSubject: x\r\n\r\nhello\r\n"))
					if err != nil || code != 250 {
						t.Fatalf("%d %s %v", code, text, err)
					}
					if took := time.Since(begun); took > 5*time.Second {
						t.Errorf("mail waited %v for the database", took)
					}
				}
			}
			send(20)
			c.lose(database)
			send(60)
			waitFor(t, metrics, "postern_ledger_degraded 1")
			c.find(database)
			send(20)
			waitFor(t, metrics, "postern_ledger_degraded 0")
			waitFor(t, metrics, "postern_ledger_waiting 0")
			seen := map[string]int{}
			for line := range strings.Lines(p.Run(t, "ledger", "export", "--format", "json")) {
				var record struct{ ID string }
				if err := json.Unmarshal([]byte(line), &record); err != nil {
					t.Fatal(err)
				}
				seen[record.ID]++
			}
			if len(seen) != 200 {
				t.Errorf("%d records of 200", len(seen))
			}
			for _, id := range ids {
				if seen[id] != 1 {
					t.Errorf("%s stands %d times in the ledger", id, seen[id])
				}
			}
			if strings.Contains(p.Log(), pgtest.Password) {
				t.Error("the database's password is in the log")
			}
		})
	}
}

// waitFor waits until a metric has a value.
func waitFor(t *testing.T, metrics, want string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		text := fetch(t, "http://"+metrics+"/metrics")
		if strings.Contains(text, want+"\n") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("never %s:\n%s", want, text)
		}
	}
}
