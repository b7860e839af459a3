package app_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"postern/policy/records/ledger"
)

// Users send misjudged mail to an address of the gateway's own, which learns from what is attached and passes nothing on. To
// strangers there is no such address.
func TestReportAddresses(t *testing.T) {
	t.Parallel()
	g := newGate(t, "[report_addresses]\nspam = [\"spam@ours.test\"]\nham = [\"ham@ours.test\"]\n[filters.classify]\nquorum = 1")
	attached, err := os.ReadFile("../../../proxy/reported/testdata/several-from-webmail.eml")
	if err != nil {
		t.Fatal(err)
	}

	stranger := g.dial("mx")
	if code, text := stranger.message("anna@friend.example", "spam@ours.test", string(attached)); code != 550 || !strings.Contains(text, "5.1.1") {
		t.Errorf("a stranger's report: %d %s", code, text)
	}

	ben := g.login("staff")
	report := func(to, text string) (int, string) {
		ben.say("MAIL FROM:<ben@ours.test>", 250)
		ben.say("RCPT TO:<"+to+">", 250)
		ben.say("RCPT TO:<anna@friend.example>", 452)
		ben.say("DATA", 354)
		ben.send(text + ".\r\n")
		return ben.reply()
	}
	if code, text := report("spam@ours.test", string(attached)); code != 250 || !strings.Contains(text, "noted as spam: 2") {
		t.Errorf("%d %s", code, text)
	}
	if code, text := report("ham@ours.test", hello); code != 550 || !strings.Contains(text, "as an attachment") {
		t.Errorf("a report with nothing attached: %d %s", code, text)
	}
	ben.say("MAIL FROM:<ben@ours.test>", 250)
	ben.say("RCPT TO:<anna@friend.example>", 250)
	ben.say("RCPT TO:<spam@ours.test>", 452)
	ben.say("RSET", 250)

	if s, err := g.app.Learning.Status(context.Background()); err != nil || s.Spam != 2 || s.Ham != 0 {
		t.Errorf("learned %+v, %v; want 2 spam", s, err)
	}
	if n := len(g.settle()) + len(g.outside.Messages()); n > 0 {
		t.Errorf("%d messages were passed on", n)
	}
	learned := func() (n int) {
		found, err := g.app.Ledger.Search(t.Context(), ledger.Filter{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range found {
			for _, r := range one.Recipients {
				if r.Address == "spam@ours.test" && r.Fate == ledger.Learned {
					n++
				}
			}
		}

		return n
	}
	for end := time.Now().Add(20 * time.Second); learned() == 0 && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	if n := learned(); n != 1 {
		t.Errorf("%d transactions of the fate learned, want 1", n)
	}
}
