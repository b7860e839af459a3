package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A rule that adds points to every message with a link, added to the admin's own: it is muted before it has refused or
// held twenty honest messages; messages that it held are released, the admin can see why, and honest mail flows on.
func TestPlantedRuleIsMuted(t *testing.T) {
	for score, refuses := range map[int]bool{25: true, 7: false} {
		t.Run(fmt.Sprint(score), func(t *testing.T) {
			rules := t.TempDir()
			text := fmt.Sprintf("body HAS_LINK /https?:/\nscore HAS_LINK %d\ndescribe HAS_LINK has a link\n", score)
			if err := os.WriteFile(filepath.Join(rules, "mine.cf"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			g := newGate(t, "[rules]\ndir = \""+rules+"\"\n[filters.ratelimit]\nenabled = false\n[filters.spf]\nenabled = false\n")
			wrong, taken := 0, 0
			for i := range 60 {
				c := g.dial("mx")
				body := "hello\r\n"
				if i%3 > 0 {
					body = "see https://www.friend.example/page\r\n"
				}
				from := fmt.Sprintf("ann@d%d.friend.example", i)
				code, said := c.message(from, "ben@ours.test", fmt.Sprintf("From: %s\r\nTo: ben@ours.test\r\nSubject: number %d\r\nMessage-ID: <%d@friend.example>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\n%s", from, i, i, body))
				switch code {
				case 250:
					taken++
				case 550:
					wrong++
				default:
					t.Fatal(code, said)
				}
				c.say("QUIT", 221)
			}
			if muted := g.app.Breaker.Muted(); len(muted) != 1 || muted[0].Symbol != "HAS_LINK" {
				t.Fatalf("muted: %+v", muted)
			}
			if wrong >= 20 || refuses && wrong == 0 {
				t.Errorf("%d wrong refusals", wrong)
			}
			until(t, "all that was taken is inside, what was held included", func() bool { return len(g.inside.Messages()) == taken })
			found := false
			for _, trouble := range g.app.Troubles() {
				found = found || trouble.Kind == "muted"
			}
			if !found {
				t.Error("nobody is told")
			}
		})
	}
}
