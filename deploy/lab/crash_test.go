package lab_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/testing/lab"
)

// kills is how often the gateway is killed; POSTERN_KILLS says how often else.
func kills() int {
	if n, err := strconv.Atoi(os.Getenv("POSTERN_KILLS")); err == nil {
		return n
	}
	return 15
}

// The gateway is killed with -9 again and again under load: every message that was answered with 250 is at the next hop
// or in the quarantine, and a message stands there twice at most once per kill and connection.
func TestKillLosesNothing(t *testing.T) {
	postfix := lab.StartPostfix(t)
	door := lab.FreePort(t)
	p := lab.NewPostern(t, program, settings(door, postfix.Addr, "[filters.ratelimit]\nenabled = false"))
	const connections = 8
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	acknowledged, ambiguous := map[string]int{}, 0
	var mu sync.Mutex
	for round := range kills() {
		p.Start(t)
		var clients sync.WaitGroup
		for n := range connections {
			clients.Go(func() {
				acked, lost := load(door, fmt.Sprintf("m-%d-%d-", round, n))
				mu.Lock()
				defer mu.Unlock()
				for _, id := range acked {
					acknowledged[id] = 0
				}
				ambiguous += lost
			})
		}
		time.Sleep(time.Duration(20+random.IntN(400)) * time.Millisecond)
		p.Kill()
		clients.Wait()
	}
	p.Start(t)
	deliveredAll(t, p, postfix, acknowledged, ambiguous, kills()*connections)
}

// load sends one message after the other until the connection breaks. It gives those that were answered with 250 and how
// many were cut off without an answer.
func load(door, prefix string) (acked []string, lost int) {
	c, err := lab.DialClient(door, "")
	if err != nil {
		return nil, 0
	}
	for i := 0; ; i++ {
		id := prefix + strconv.Itoa(i) + "-"
		spam := ""
		if i%4 == 3 { // some are to be held
			spam = scam
		}
		raw := fmt.Sprintf("From: a@friend.example\r\nTo: ben@corp.test\r\nSubject: load\r\nMessage-ID: <%s@friend.example>\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n\r\nid=%s\r\n%s%s", id, id, spam,
			bytes.Repeat([]byte("some text of the message\r\n"), 50+i%400))
		code, _, err := c.Send("a@friend.example", "ben@corp.test", []byte(raw))
		if err != nil {
			return acked, 1
		}
		if code == 250 {
			acked = append(acked, id)
		}
	}
}

func deliveredAll(t *testing.T, p *lab.Postern, postfix *lab.Postfix, acknowledged map[string]int, ambiguous, limit int) {
	t.Helper()
	held := 0
	var missing string
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		for id := range acknowledged {
			acknowledged[id] = 0
		}
		all := postfix.Messages(t)
		held = addHeld(t, p.DataDir, all)
		for _, raw := range all {
			_, rest, _ := bytes.Cut(raw, []byte("\nid="))
			id, _, _ := bytes.Cut(rest, []byte("\n"))
			if _, ok := acknowledged[string(bytes.TrimRight(id, "\r"))]; ok {
				acknowledged[string(bytes.TrimRight(id, "\r"))]++
			}
		}
		missing = ""
		for id, n := range acknowledged {
			if n == 0 {
				missing = id
			}
		}
		if missing == "" {
			break
		}
	}
	twice := 0
	for _, n := range acknowledged {
		if n > 1 {
			twice += n - 1
		}
	}
	t.Logf("%d acknowledged, %d cut off without an answer, %d held, %d duplicates, %d kills", len(acknowledged), ambiguous, held, twice, kills())
	if missing != "" {
		t.Fatalf("message %s was answered with 250 and is nowhere", missing)
	}
	if twice > limit {
		t.Fatalf("%d duplicates", twice)
	}
	if len(acknowledged) < kills() {
		t.Fatalf("only %d messages were acknowledged: the test did not load anything", len(acknowledged))
	}
}

// addHeld adds the files of the quarantine to the messages.
func addHeld(t *testing.T, dataDir string, all map[string][]byte) (count int) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dataDir, "quarantine"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(entry.Name(), ".db") {
			return err
		}
		raw, err := os.ReadFile(path)
		all[path] = raw
		count++
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}
