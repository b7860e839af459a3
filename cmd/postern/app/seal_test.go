package app_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/filters/arc"
	"postern/internal/dns"
	"postern/internal/mail"
	"postern/proxy/outbound"
)

// Inbound mail is sealed where the settings ask for it, and what the server behind gets validates: RFC 8617.
func TestInboundMailIsSealed(t *testing.T) {
	t.Parallel()
	pem, record, err := outbound.Keygen("ed25519")
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "seal.pem")
	if err := os.WriteFile(key, []byte(pem), 0o600); err != nil {
		t.Fatal(err)
	}
	resolver, err := dns.NewZoneResolver("s1._domainkey.ours.test TXT \"" + record + "\"\n")
	if err != nil {
		t.Fatal(err)
	}
	g := newGateIn(t, resolver, "[dkim.\"ours.test\"]\nkeys = { s1 = \""+key+"\" }", "[arc]\ndomain = \"ours.test\"\nseal = \"all\"")
	c := g.dial("mx")
	c.say("MAIL FROM:<anna@friend.example>", 250)
	c.say("RCPT TO:<ben@ours.test>", 250)
	c.say("DATA", 354)
	c.send("From: Anna <anna@friend.example>\r\nTo: ben@ours.test\r\nSubject: sealed\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@friend.example>\r\n\r\nhello\r\n")
	c.say(".", 250)
	got := g.inside.Messages()
	if len(got) != 1 || !bytes.HasPrefix(got[0].Data, []byte("ARC-Seal: ")) {
		t.Fatalf("delivered %+v", got)
	}
	out, err := arc.Validator{DNS: resolver, Now: time.Now, MaxLookups: 10}.Validate(t.Context(), mail.NewMessage(got[0].Data))
	if err != nil || out.Result != "pass" {
		t.Fatalf("%+v %v", out, err)
	}
	if !strings.Contains(string(got[0].Data), "ARC-Authentication-Results: i=1; gw.test") {
		t.Errorf("%s", got[0].Data)
	}
}
