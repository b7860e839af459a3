package rules

import (
	"net/netip"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/rules/mapfile"
)

// Rules look places of a message up in maps, and say which entry fits.
func TestRulesAskMaps(t *testing.T) {
	const raw = "Received: from mail.bank.example (mail.bank.example [198.51.100.7]) by mx.corp.example; Mon, 30 Nov 2026 10:00:00 +0000\r\n" +
		"From: Anna <anna@bank.example>\r\nReply-To: <other@mail.example>\r\nSubject: Invoice 12\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\n\r\nsee http://www.shop.com/x\r\n--b\r\nContent-Type: application/pdf; name=\"a.pdf\"\r\n\r\nx\r\n--b--\r\n"
	for where, entry := range map[string]string{
		"from": "anna@bank.example", "envelope_from": "*@envelope.example", "client": "198.51.100.0/24", "helo": "mail.bank.example", "rdns": ".bank.example", "host": ".shop.com",
		"uri": `/shop\.com\/x$/`, "attachment": `/\.pdf$/i`, "Subject": `/^Invoice \d+$/`, "Reply-To:addr": "mail.example",
	} {
		set, problems := ParseWith(Options{Maps: []string{"m"}}, File{Name: "a.cf", Text: "header HIT eval:check_map('m', '" + where + "')\n"})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		for _, c := range []struct {
			line string
			want bool
		}{{entry, true}, {entry + " expires=2020-01-01", false}, {"nothing.example", false}} {
			in := Input{View: mimeview.Of(mail.NewMessage([]byte(raw))), EnvelopeFrom: "bounce@envelope.example", HasEnvelope: true,
				Maps: mapfile.Set{"m": mapfile.Parse("m", "m.map", mapfile.Any, c.line)}}
			if where == "rdns" || where == "helo" || where == "client" {
				in.Client, in.Helo, in.ReverseName = netip.MustParseAddr("198.51.100.7"), "mail.bank.example", "mail.bank.example"
			}
			hits := set.Match(in)
			if got := len(hits) > 0; got != c.want {
				t.Errorf("%s, %s: %v", where, c.line, hits)
			}
			if c.want && len(hits) > 0 && !strings.Contains(hits[0].Evidence, "(m line 1)") {
				t.Errorf("evidence %q", hits[0].Evidence)
			}
		}
	}
	for call, want := range map[string]string{"check_map('n', 'from')": "there is no map n", "check_map('m')": "wants the name"} {
		_, problems := ParseWith(Options{Maps: []string{"m"}}, File{Name: "a.cf", Text: "header HIT eval:" + call + "\n"})
		if len(problems) != 1 || !strings.Contains(problems[0].Why, want) {
			t.Errorf("%s: %v", call, problems)
		}
	}
}
