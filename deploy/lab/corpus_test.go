package lab_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/testing/lab"
)

// Real mail, all of a folder: with POSTERN_CORPUS set, every message in it goes through the gateway to Postfix over 20
// sessions. Each that was accepted stands there once, octet by octet below our fields; each has its record.
func TestCorpus(t *testing.T) {
	corpus := os.Getenv("POSTERN_CORPUS")
	if corpus == "" {
		t.Skip("set POSTERN_CORPUS to a folder of messages")
	}
	postfix := lab.StartPostfix(t)
	door := lab.FreePort(t)
	p := lab.NewPostern(t, program, settings(door, postfix.Addr, "[filters.ratelimit]\nenabled = false"))
	p.Start(t)
	messages := readCorpus(t, corpus)
	fates := sendCorpus(t, door, messages)
	p.Stop()
	checkCorpus(t, p, postfix, messages, fates)
}

type corpusMessage struct {
	name string
	raw  []byte
	text string // the last reply
	code int
}

func readCorpus(t *testing.T, dir string) []*corpusMessage {
	t.Helper()
	var all []*corpusMessage
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || entry.Name() == "cmds" {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.HasPrefix(raw, []byte("From ")) {
			_, raw, _ = bytes.Cut(raw, []byte("\n"))
		}
		raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
		name, _ := filepath.Rel(dir, path)
		all = append(all, &corpusMessage{name: name, raw: bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))})
		return err
	})
	if err != nil || len(all) == 0 {
		t.Fatalf("%s: %d messages, %v", dir, len(all), err)
	}
	return all
}

func sendCorpus(t *testing.T, door string, messages []*corpusMessage) map[string]int {
	t.Helper()
	queue := make(chan *corpusMessage)
	var sessions sync.WaitGroup
	for range 20 {
		sessions.Go(func() {
			c, err := lab.DialClient(door, "192.0.2.10")
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { c.Close() }()
			sent := 0
			for m := range queue {
				if sent++; sent%50 == 0 {
					c.Close()
					if c, err = lab.DialClient(door, "192.0.2.10"); err != nil {
						t.Error(err)
						return
					}
				}
				if m.code, m.text, err = c.Send("sender@load.example.org", "ben@corp.test", m.raw); err != nil {
					m.text = err.Error()
					if c, err = lab.DialClient(door, "192.0.2.10"); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	start := time.Now()
	for _, m := range messages {
		queue <- m
	}
	close(queue)
	sessions.Wait()
	t.Logf("%d messages in %s", len(messages), time.Since(start).Round(time.Millisecond))
	fates := map[string]int{}
	for _, m := range messages {
		fates[fate(m)]++
	}
	return fates
}

// fate is the class of an answer.
func fate(m *corpusMessage) string {
	switch {
	case m.code == 250 && strings.Contains(m.text, "taken as"):
		return "250 held in quarantine"
	case m.code == 250:
		return "250 delivered"
	}
	text, _, _ := strings.Cut(m.text, " (0")
	return fmt.Sprintf("%d %.90s", m.code, text)
}

func checkCorpus(t *testing.T, p *lab.Postern, postfix *lab.Postfix, messages []*corpusMessage, fates map[string]int) {
	t.Helper()
	want := map[[32]byte]int{}
	delivered := 0
	for _, m := range messages {
		if fate(m) == "250 delivered" {
			delivered++
			want[digest(m.raw)]++
		}
	}
	var got map[string][]byte
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
		if got = postfix.Messages(t); len(got) >= delivered {
			break
		}
	}
	for name, raw := range got {
		d := digest(below(raw))
		if want[d]--; want[d] < 0 {
			t.Errorf("%s at the next hop is none of those accepted, or stands there twice:\n%.400q", name, below(raw))
		}
	}
	for _, m := range messages {
		if fate(m) == "250 delivered" && want[digest(m.raw)] > 0 {
			t.Errorf("%s was accepted and is not at the next hop as it was sent", m.name)
		}
	}
	names := make([]string, 0, len(fates))
	for f := range fates {
		names = append(names, f)
	}
	sort.Slice(names, func(a, b int) bool { return fates[names[a]] > fates[names[b]] })
	for _, f := range names {
		t.Logf("%6d  %s", fates[f], f)
	}
	t.Logf("%6d  messages at the next hop", len(got))
}

// below is what stands below our fields.
func below(raw []byte) []byte {
	_, rest, _ := bytes.Cut(raw, []byte("X-Postern: "))
	for {
		_, next, ok := bytes.Cut(rest, []byte("\n"))
		if !ok {
			return nil
		}
		rest = next
		if len(rest) == 0 || rest[0] != '\t' && rest[0] != ' ' {
			break
		}
	}
	return bytes.TrimPrefix(rest, []byte("X-Spam-Flag: YES\n"))
}

// digest is that of a message with its line ends and its last line end taken as they are kept in a file.
func digest(raw []byte) [32]byte {
	return sha256.Sum256(bytes.TrimRight(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), "\n"))
}
