package defaultrules

import (
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/rules"
)

// installed are the folders of SpamAssassin on Debian.
func installed(t *testing.T) []string {
	t.Helper()
	folders := []string{"/usr/share/spamassassin", "/etc/spamassassin"}
	for _, dir := range folders {
		if _, err := os.Stat(dir); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal("SpamAssassin is not installed (make tools does it): ", err)
			}
			t.Skip("SpamAssassin is not installed: ", err)
		}
	}
	return folders
}

// The installed rules are loaded again while two goroutines judge mail by the set that is in force: each message is judged
// by one set, whole. What counts is the processor time of who loads: how long others keep him waiting is theirs.
func TestInstalledRulesAreLoadedUnderLoad(t *testing.T) {
	site := t.TempDir()
	mark := func(names ...string) {
		text := ""
		for _, n := range names {
			text += "body " + n + " /letter/\nscore " + n + " 1\n"
		}
		if err := os.WriteFile(filepath.Join(site, "local.cf"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	from := Folders{SpamAssassin: []string{site}}
	if !raced { // the detector makes a minute of a second
		from.SpamAssassin = append(installed(t), site)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var inForce atomic.Pointer[Loaded]
	load := func() time.Duration {
		start := threadTime()
		l, err := LoadAgain(from, nil, inForce.Load())
		if err != nil {
			t.Fatal(err)
		}
		inForce.Store(l)
		return threadTime() - start
	}
	mark("OLD_FIRST", "OLD_LAST")
	t.Log("cold:", load())

	done, judged := make(chan struct{}), [2]atomic.Int64{}
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() {
			message := []byte("From: Ann <ann@example.org>\r\nSubject: x\r\n\r\nA letter.\r\n")
			for {
				select {
				case <-done:
					return
				default:
				}
				switch marks := marksOf(inForce.Load().Set, message); marks {
				case "OLD_FIRST OLD_LAST ":
					judged[0].Add(1)
				case "NEW_FIRST NEW_LAST ":
					judged[1].Add(1)
				default:
					t.Errorf("judged by half a set: %q", marks)
					return
				}
			}
		})
	}
	for _, names := range [][]string{{"NEW_FIRST", "NEW_LAST"}, {"OLD_FIRST", "OLD_LAST"}} {
		mark(names...)
		changed, same := load(), load()
		t.Logf("changed: %v, unchanged: %v", changed, same)
		if !raced && (changed > 2*time.Second || same > 100*time.Millisecond) {
			t.Errorf("a change takes %v and nothing %v, want 2 s and 100 ms", changed, same)
		}
		time.Sleep(100 * time.Millisecond) // mail by the set that is new now
	}
	close(done)
	wait.Wait()
	t.Logf("%d messages by the one set, %d by the other", judged[0].Load(), judged[1].Load())
	if judged[0].Load() == 0 || judged[1].Load() == 0 {
		t.Error("one of the sets judged nothing")
	}
}

// marksOf are the rules of the site that a message hits.
func marksOf(set *rules.Set, message []byte) (marks string) {
	view := mimeview.New(mail.NewMessage(message), mimeview.Options{})
	defer view.Close()
	for _, h := range set.Match(rules.Input{View: view}) {
		switch h.Rule {
		case "OLD_FIRST", "OLD_LAST", "NEW_FIRST", "NEW_LAST":
			marks += h.Rule + " "
		}
	}
	return marks
}
