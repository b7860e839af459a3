package app_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/mail"

	"postern/internal/testing/hoptest"
)

// ruledGate is a gateway with this policy.
func ruledGate(t *testing.T, policy string) *gate {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.toml")
	if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	return newGate(t, "[policy]\nfile = \""+file+"\"\n[filters.ratelimit]\nenabled = false\n")
}

// texts reads the text parts of a message as a mail program does.
func texts(t *testing.T, raw []byte) (all []string) {
	t.Helper()
	r, err := mail.CreateReader(bytes.NewReader(raw))
	if err != nil && !message.IsUnknownCharset(err) {
		t.Fatal(err)
	}
	for {
		p, err := r.NextPart()
		if err != nil {
			return all
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(p.Body); err != nil {
			t.Fatal(err)
		}
		all = append(all, b.String())
	}
}

func deliveredTo(g *gate, address string) (found []hoptest.Message) {
	for _, hop := range []*hoptest.Hop{g.inside, g.outside} {
		for _, m := range hop.Messages() {
			if slices.ContainsFunc(m.To, func(to string) bool { return strings.Contains(to, address) }) {
				found = append(found, m)
			}
		}
	}
	return found
}

// Rules put a banner and a disclaimer into the text, a field into the header, send a copy, a notice, or the whole
// message to another address; the reader sees the text, in plain and in HTML.
func TestRulesAct(t *testing.T) {
	g := ruledGate(t, `
[[rule]]
name = "external"
when = 'subject.startsWith("banner")'
banner = "This mail comes from outside. Think before you click."
disclaimer = "Ours.test <ltd>"
headers = { X-Seen = "by a rule" }
[[rule]]
name = "archive"
when = 'subject.startsWith("copy")'
copy_to = ["archive@ours.test"]
notify = ["admin@ours.test"]
[[rule]]
name = "away"
when = 'subject.startsWith("redirect") && rcpt == "ben@ours.test"'
redirect_to = "deputy@ours.test"
`)
	send := func(subject, rest string) {
		t.Helper()
		g.inside.Forget()
		c := g.dial("mx")
		if code, said := c.message("anna@friend.example", "ben@ours.test", "From: anna@friend.example\r\nTo: ben@ours.test\r\nMessage-ID: <1@friend.example>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nSubject: "+subject+"\r\n"+rest); code != 250 {
			t.Fatal(code, said)
		}
	}
	send("banner plain", "\r\nHello Ben\r\n")
	raw := deliveredTo(g, "ben@ours.test")[0].Data
	if got := texts(t, raw); len(got) != 1 || !strings.HasPrefix(got[0], "This mail comes from outside.") || !strings.Contains(got[0], "Hello Ben") || !strings.HasSuffix(strings.TrimSpace(got[0]), "Ours.test <ltd>") {
		t.Errorf("%q", got)
	}
	if !bytes.Contains(raw, []byte("X-Seen: by a rule\r\n")) {
		t.Errorf("%s", raw)
	}
	send("banner both", "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe\r\n"+
		"--i\r\nContent-Type: text/html\r\n\r\n<html><body class=x><p>Hi</p></body></html>\r\n--i--\r\n--o\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename=a.txt\r\n\r\nattached\r\n--o--\r\n")
	got := texts(t, deliveredTo(g, "ben@ours.test")[0].Data)
	if len(got) != 3 || !strings.Contains(got[0], "Grüße") || !strings.Contains(got[0], "outside") || !strings.Contains(got[1], "<body class=x><div") || !strings.Contains(got[1], "Ours.test &lt;ltd&gt;") || strings.TrimSpace(got[2]) != "attached" {
		t.Errorf("%q", got)
	}
	send("banner signed", "MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=o; micalg=x; protocol=\"application/pgp-signature\"\r\n\r\n--o\r\nContent-Type: text/plain\r\n\r\nsigned\r\n--o\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--o--\r\n")
	if raw := deliveredTo(g, "ben@ours.test")[0].Data; bytes.Contains(raw, []byte("outside")) {
		t.Errorf("a signed message was changed: %s", raw)
	}
	send("copy", "\r\nHello\r\n")
	until(t, "the copy and the notice", func() bool {
		return len(deliveredTo(g, "archive@ours.test")) == 1 && len(deliveredTo(g, "admin@ours.test")) == 1
	})
	if len(deliveredTo(g, "ben@ours.test")) != 1 || deliveredTo(g, "admin@ours.test")[0].From != "<>" {
		t.Error("the recipient's own copy, or the notice's sender")
	}
	send("redirect", "\r\nHello\r\n")
	until(t, "the deputy has it", func() bool { return len(deliveredTo(g, "deputy@ours.test")) == 1 })
	if n := len(deliveredTo(g, "ben@ours.test")); n != 0 {
		t.Errorf("the recipient has it, too: %d", n)
	}
}

// From 2 to 50 recipients with different policies: each gets exactly its own, each distinct copy is one transaction at
// the next hop, and 5xx is only given when all refuse.
func TestManyRecipientsManyPolicies(t *testing.T) {
	policy := "[[rule]]\nname = \"hold\"\nwhen = 'rcpt.startsWith(\"hold\")'\naction = \"quarantine\"\n" +
		"[[rule]]\nname = \"refuse\"\nwhen = 'rcpt.startsWith(\"refuse\")'\naction = \"reject\"\n" +
		"[[rule]]\nname = \"tag\"\nwhen = 'rcpt.startsWith(\"tag\")'\naction = \"tag\"\n" +
		"[[rule]]\nname = \"mark\"\nwhen = 'rcpt.startsWith(\"mark\")'\nheaders = { X-Mark = \"yes\" }\n"
	g := ruledGate(t, policy)
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 12 {
		g.inside.Forget()
		n := []int{2, 3, 5, 50}[round%4]
		want, distinct := map[string]string{}, map[string]bool{}
		c := g.dial("mx")
		c.say("MAIL FROM:<anna@friend.example>", 250)
		for i := range n {
			kind := []string{"plain", "tag", "mark", "hold", "refuse"}[random.IntN(5)]
			if round >= 10 {
				kind = "refuse"
			}
			address := fmt.Sprintf("%s%d-%d@ours.test", kind, round, i)
			want[address] = kind
			if kind != "hold" && kind != "refuse" {
				distinct[kind] = true
			}
			c.say("RCPT TO:<"+address+">", 250)
		}
		c.say("DATA", 354)
		c.send("From: anna@friend.example\r\nMessage-ID: <1@friend.example>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nSubject: all\r\n\r\nhello\r\n.\r\n")
		code, said := c.reply()
		all := round >= 10
		if all && code != 550 || !all && code != 250 {
			t.Fatalf("round %d: %d %s", round, code, said)
		}
		if got := len(g.inside.Messages()); got != len(distinct) {
			t.Errorf("round %d: %d transactions for %d distinct copies", round, got, len(distinct))
		}
		if got := len(g.outside.Messages()); got != 0 {
			t.Errorf("round %d: %d bounces", round, got)
		}
		for address, kind := range want {
			got := deliveredTo(g, address)
			inside := kind == "plain" || kind == "tag" || kind == "mark"
			if inside != (len(got) == 1) || len(got) > 1 {
				t.Errorf("round %d: %s has %d", round, address, len(got))
				continue
			}
			if inside && (bytes.Contains(got[0].Data, []byte("X-Spam-Flag: YES")) != (kind == "tag") || bytes.Contains(got[0].Data, []byte("X-Mark: yes")) != (kind == "mark")) {
				t.Errorf("round %d: %s has somebody else's copy", round, address)
			}
		}
	}
}
