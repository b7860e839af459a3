package app_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// A user who suddenly writes to many strangers is stopped, and the admin is alerted at once; once thawed, the user is
// no trouble any more.
func TestAFrozenUserIsTold(t *testing.T) {
	t.Parallel()
	w := newWatched(t, "[filters.correspondents]\nstrangers = 3\nlearning = \"0s\"\n")
	var said string
	for n := range 8 {
		c := w.login("staff")
		c.say("MAIL FROM:<ben@ours.test>", 250)
		said = c.say(fmt.Sprintf("RCPT TO:<stranger%d@far%d.example>", n, n), 0)
		if strings.HasPrefix(said, "250 ") {
			c.say("DATA", 354)
			said = c.say("From: ben@ours.test\r\nSubject: hello\r\nDate: Mon, 30 Nov 2026 12:00:00 +0000\r\nMessage-ID: <"+fmt.Sprint(n)+"@ours.test>\r\n\r\nhello\r\n.", 0)
		}
		c.conn.Close()
	}
	if strings.HasPrefix(said, "250 ") {
		t.Fatalf("he was not stopped: %s", said)
	}
	w.soon("the webhook hears of it", func() bool { return w.told.told("frozen", false) })
	health := get(t, "http://"+w.metrics+"/healthz")
	if !strings.Contains(health, `"degraded"`) || !strings.Contains(health, "ben@ours.test") || !strings.Contains(health, "postern frozen thaw") {
		t.Error(health)
	}
	if !w.metric(`postern_troubles{kind="frozen"} 1`) {
		t.Error("there is no metric")
	}

	_, rows := w.control(http.MethodGet, "correspondents", url.Values{"most": {"10"}})
	if len(rows) != 1 {
		t.Fatalf("%+v", rows)
	}
	if code, _ := w.control(http.MethodPost, "correspondents/thaw", url.Values{"key": {rows[0].Key}}); code/100 != 2 {
		t.Fatal(code)
	}
	w.soon("the webhook hears that it is over", func() bool { return w.told.told("frozen", true) })
	if health := get(t, "http://"+w.metrics+"/healthz"); strings.Contains(health, "frozen") {
		t.Error(health)
	}
}
