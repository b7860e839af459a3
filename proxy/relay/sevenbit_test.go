package relay_test

import (
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/testing/hoptest"
	"postern/proxy/relay"
)

// RFC 6152 section 3: what was taken with BODY=8BITMIME goes to a server without it in 7 bits, or not at all.
func TestAHopThatTakesNoEightBits(t *testing.T) {
	const fields = "From: anna@friend.example\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
	const text = "Gr\xc3\xbc\xc3\x9fe aus K\xc3\xb6ln, wo die Sonne scheint und alle am Fluss sitzen.\r\n"
	const refused, later = "554 5.6.3", "451 4.6.3"
	for name, c := range map[string]struct{ raw, smartHost, inside, want string }{
		"8-bit text":     {fields + "\r\n" + text, "250", "250", "Gr=C3=BC=C3=9Fe aus K=C3=B6ln"},
		"7-bit text":     {fields + "\r\nplain\r\n", "250", "250", fields + "\r\nplain\r\n"},
		"signed":         {"DKIM-Signature: v=1; d=friend.example\r\n" + fields + "\r\n" + text, refused, later, ""},
		"in the subject": {"Subject: Gr\xc3\xbc\xc3\x9fe\r\n" + fields + "\r\n" + text, refused, later, ""},
	} {
		for _, inbound := range []bool{true, false} {
			hop := hoptest.New(t, hoptest.Options{Extensions: []string{"PIPELINING", "SIZE 10000000"}})
			route := hops(hop.Addr())
			route.Inbound = inbound
			r := newRelay(t, relay.Timeouts{}, route)
			e := envelope(t)
			e.Params = mail.Params{Body: "8BITMIME"}
			e.Size = int64(len(c.raw))
			asked, sent := pass(t, r, e, mail.Copy{Message: mail.NewMessage([]byte(c.raw))}, "bob@corp.example")
			wantReply(t, asked[0], "250")
			if r.TakesEightBit(mail.RouteTo("in")) {
				t.Error("the hop is said to take 8-bit text")
			}
			want := c.smartHost
			if inbound {
				want = c.inside
			}
			wantReply(t, sent[0], want)
			got := hop.Messages()
			if want != "250" {
				if len(got) > 0 {
					t.Errorf("%s: the hop was given\n%s", name, got[0].Data)
				}
				continue
			}
			if len(got) != 1 || !strings.Contains(string(got[0].Data), c.want) || strings.ContainsFunc(string(got[0].Data), func(r rune) bool { return r > '~' }) {
				t.Errorf("%s: the hop was given %v", name, got)
				continue
			}
			// RFC 6152 section 2, RFC 1870 section 5: neither BODY nor a size that will not be true
			if strings.Contains(got[0].MailLine, "BODY") || strings.Contains(got[0].MailLine, "SIZE") {
				t.Errorf("%s: %s", name, got[0].MailLine)
			}
		}
	}
}
