package content

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/testing/filtertest"
	"postern/rules"
)

func testRules(t testing.TB) *rules.Set {
	t.Helper()
	set, problems := rules.Parse(rules.File{Name: "test.cf", Text: "body A_WORD /spamword/i\ndescribe A_WORD Has a word\nscore A_WORD 2\nheader FROM_ENV EnvelopeFrom =~ /^mallory\\@/\nbody A_SLOW /(x+x+)+\\1y/\ndescribe A_SLOW Never ends\n"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return set
}

func TestCases(t *testing.T) { filtertest.Run(t, Spec(testRules(t))) }

func FuzzInspect(f *testing.F) { filtertest.Fuzz(f, Spec(testRules(f))) }

// The client's own connection is the first relay, with the name that leads back to it.
func TestTheConnectionIsTheFirstRelay(t *testing.T) {
	set, problems := rules.Parse(rules.File{Name: "stock.cf", Foreign: true, Text: "header NAMED X-Spam-Relays-Untrusted =~ /^\\[ ip=192\\.0\\.2\\.1 rdns=mail\\.a\\.example helo=h\\.example /\n" +
		"header NAMELESS X-Spam-Relays-Untrusted =~ /^\\[ ip=\\S+ rdns= /\nheader UNSURE X-Spam-Relays-Untrusted =~ / rdns=unresolved\\.invalid /\n"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	const zone = "1.2.0.192.in-addr.arpa. PTR mail.a.example.\nmail.a.example. A 192.0.2.1\n2.2.0.192.in-addr.arpa. PTR lies.example.\nlies.example. A 192.0.2.77\n"
	resolver, err := dns.NewZoneResolver(zone)
	if err != nil {
		t.Fatal(err)
	}
	for client, want := range map[string]string{"192.0.2.1": "NAMED", "192.0.2.2": "NAMELESS", "192.0.2.3": "NAMELESS"} {
		f, err := Spec(set).New(config.NewSection("filters.content", nil), filters.Env{DNS: resolver})
		if err != nil {
			t.Fatal(err)
		}
		tx := &mail.Transaction{Session: &mail.Session{Client: netip.MustParseAddr(client), Helo: "h.example"}, Message: mail.NewMessage([]byte("From: a@b.example\r\n\r\nx\r\n"))}
		found, err := f.Inspect(t.Context(), tx)
		if err != nil || len(found) != 1 || found[0].Symbol != want {
			t.Errorf("%s: %v %v, want %s", client, found, err, want)
		}
	}
}

// With lookups, what rules ask the DNS is asked once, side by side, before they run.
func TestLookups(t *testing.T) {
	set, problems := rules.ParseWith(rules.Options{Network: true}, rules.File{Name: "net.cf", Foreign: true, Text: "util_rb_tld example\nheader LISTED eval:check_rbl('a-lastexternal', 'list.example.')\ntflags LISTED net\n" +
		"urirhssub URI_BAD uri.example. A 2\nbody URI_BAD eval:check_uridnsbl('URI_BAD')\ntflags URI_BAD net\nheader DEAD eval:check_dns_sender()\ntflags DEAD net\naskdns TXT_SAYS _SENDERDOMAIN_.txt.example TXT /yes/\n"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	resolver, err := dns.NewZoneResolver("1.2.0.192.list.example. A 127.0.0.2\nevil.example.uri.example. A 127.0.0.2\nnobody.example.txt.example. TXT \"yes\"\n")
	if err != nil {
		t.Fatal(err)
	}
	f, err := Spec(set).New(config.NewSection("filters.content", nil), filters.Env{DNS: resolver})
	if err != nil {
		t.Fatal(err)
	}
	from, _, err := mail.ParsePath("<x@nobody.example>", false)
	if err != nil {
		t.Fatal(err)
	}
	tx := &mail.Transaction{From: from, Session: &mail.Session{Client: netip.MustParseAddr("192.0.2.1"), ClientName: "c.example"}, Message: mail.NewMessage([]byte("From: a@b.example\r\n\r\nhttp://evil.example/\r\n"))}
	found, err := f.Inspect(t.Context(), tx)
	var names []string
	for _, one := range found {
		names = append(names, one.Symbol)
	}
	if got := strings.Join(names, " "); err != nil || got != "LISTED URI_BAD DEAD TXT_SAYS" {
		t.Errorf("%q %v", got, err)
	}
}

// A rule that takes too long on message after message is suspended: the log says so once, each message it would have been
// tried on says so.
func TestSuspension(t *testing.T) {
	var log bytes.Buffer
	f, err := Spec(testRules(t)).New(config.NewSection("filters.content", nil), filters.Env{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		client := netip.AddrFrom4([4]byte{198, 51, byte(i), 7})
		tx := &mail.Transaction{Session: &mail.Session{Client: client}, Message: mail.NewMessage([]byte("From: a@b.example\r\n\r\n" + strings.Repeat("x", 2000) + "\r\n"))}
		found, err := f.Inspect(t.Context(), tx)
		want := "A_SLOW"
		if i >= 10 {
			want = "A_SLOW is suspended"
		}
		if err != nil || len(found) != 1 || found[0].Symbol != exhausted || found[0].Evidence != want {
			t.Errorf("message %d: %v %v, want %s", i, found, err, want)
		}
	}
	if n := strings.Count(log.String(), "rule=A_SLOW"); n != 1 {
		t.Errorf("the log tells %d times of it: %s", n, log.String())
	}
}
