package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/testing/hoptest"
)

const (
	setA = "body A_ONE /noon/i\nscore A_ONE 0.1\nbody A_TWO /noon/i\nscore A_TWO 0.1\n"
	setB = "body B_ONE /noon/i\nscore B_ONE 0.1\nbody B_TWO /noon/i\nscore B_TWO 0.1\n"
)

// writeRules puts a file in place as a whole, as editors and package managers do.
func writeRules(t *testing.T, dir, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "new"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "site.cf")); err != nil {
		t.Fatal(err)
	}
}

// Rules change under load, and the settings are loaded anew: every message comes through, and was judged by the old set or
// by the new one, whole.
func TestRulesChangeUnderLoad(t *testing.T) { // not beside others: its senders use all cores
	dir := t.TempDir()
	writeRules(t, dir, setA)
	g := newGate(t, "[filters]\nratelimit.enabled = false\ncorrespondents.enabled = false\n[smtp]\nmax_per_network = 100\n[rules]\ndir = \""+dir+"\"\n")
	var sent atomic.Int64
	done := make(chan struct{})
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			c := g.from("127.0.0.1", "mx")
			c.say("", 220)
			c.say("EHLO mail.friend.example", 250)
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				if code, said := c.transaction("MAIL FROM:<anna@friend.example>"); code != 250 {
					t.Errorf("%d %s", code, said)
					return
				}
				sent.Add(1)
			}
		})
	}
	for n := range 10 {
		time.Sleep(50 * time.Millisecond)
		writeRules(t, dir, []string{setB, setA}[n%2])
		if err := g.app.Reload(g.config); err != nil {
			t.Error(err)
		}
	}
	close(done)
	wait.Wait()
	got := g.inside.Messages()
	if int64(len(got)) != sent.Load() || len(got) == 0 {
		t.Errorf("%d messages for %d that were taken", len(got), sent.Load())
	}
	old, young := 0, 0
	for _, m := range got {
		marks := fmt.Sprint(has(m, "A_ONE"), has(m, "A_TWO"), has(m, "B_ONE"), has(m, "B_TWO"))
		switch marks {
		case "true true false false":
			old++
		case "false false true true":
			young++
		default:
			t.Fatalf("half a set: %s\n%s", marks, m.Data)
		}
	}
	t.Logf("%d messages, %d by the first set, %d by the second", len(got), old, young)
	if old == 0 || young == 0 {
		t.Error("both sets were in force")
	}
}

func has(m hoptest.Message, symbol string) bool { return strings.Contains(string(m.Data), symbol) }

// A change of the folder is seen without being told; where it can't be read the old rules stay and it is said once.
func TestRulesAreWatched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeRules(t, dir, setA)
	g := newGate(t, "[filters]\nratelimit.enabled = false\n[rules]\ndir = \""+dir+"\"\n")
	judged := func() string {
		g.inside.Forget()
		if code, said := g.dial("mx").message("anna@friend.example", "ben@ours.test", hello); code != 250 {
			t.Fatal(code, said)
		}
		return string(g.inside.Messages()[0].Data)
	}
	if text := judged(); !strings.Contains(text, "A_ONE") {
		t.Fatal(text)
	}
	writeRules(t, dir, setB)
	until(t, "the new rules are in force", func() bool { return strings.Contains(g.log.String(), "rules in force") })
	if text := judged(); !strings.Contains(text, "B_ONE") || strings.Contains(text, "A_ONE") {
		t.Error(text)
	}
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	until(t, "it is said", func() bool { return strings.Contains(g.log.String(), "the old ones stay") })
	if text := judged(); !strings.Contains(text, "B_ONE") {
		t.Error(text)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	time.Sleep(8 * time.Second) // two looks
	if n := strings.Count(g.log.String(), "the old ones stay"); n != 1 {
		t.Errorf("said %d times", n)
	}
}
