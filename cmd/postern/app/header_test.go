package app_test

import (
	"fmt"
	"strings"
	"testing"

	"postern/internal/dns"
)

const rest = "To: ben@ours.test\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@friend.example>\r\nSubject: lunch\r\n\r\nAt noon?\r\n"

// The author must be unambiguous: DMARC is bypassed where two readers see two authors. "Composition Kills", USENIX
// Security 2020; RFC 9989. HD-08 to HD-19, HD-28, HD-29, HD-31.
func TestAuthorBeyondDoubt(t *testing.T) {
	t.Parallel()
	zone, err := dns.NewZoneResolver("_dmarc.legit.example TXT v=DMARC1; p=reject\nattack.example TXT v=spf1 +all\n")
	if err != nil {
		t.Fatal(err)
	}
	g := newGateIn(t, zone)
	const attack, legit = "From: <x@attack.example>\r\n", "From: <admin@legit.example>\r\n"
	for _, m := range []struct{ id, text string }{
		{"HD-08", attack + legit + rest},
		{"HD-08", legit + attack + rest},
		{"HD-08", legit + attack + legit + rest},
		{"HD-08", strings.Repeat(attack, 999) + legit + rest},
		{"HD-08", legit + strings.Replace(rest, "\r\n\r\n", "\r\n"+attack+"\r\n", 1)},
		{"HD-09", " " + attack + legit + rest},
		{"HD-09", "\t" + attack + legit + rest},
		{"HD-10", attack + strings.Replace(legit, "From:", "From :", 1) + rest},
		{"HD-10", strings.Replace(attack, "From:", "From\t:", 1) + legit + rest},
		{"HD-11", "From\r\n : <x@attack.example>\r\n" + legit + rest},
		{"HD-12", "From\r\n : <x@attack.example>\r\nSender: <admin@legit.example>\r\n" + rest},
		{"HD-12", "Sender: <admin@legit.example>\r\n" + rest},
		{"HD-13", "From\r\n : <x@attack.example>\r\nResent-From: <admin@legit.example>\r\n" + rest},
		{"HD-14", "From: <first@attack.example>, <admin@legit.example>\r\nSender: <first@attack.example>\r\n" + rest},
		{"HD-15", "From: =?utf-8?B?PGFkbWluQGxlZ2l0LmV4YW1wbGU+?=, <second@attack.example>\r\n" + rest},
		{"HD-16", "From: <@attack.example,@any.example:admin@legit.example>\r\n" + rest},
		{"HD-17", "From: <admin@legit.example>\\,<second@attack.example>\r\n" + rest},
		{"HD-18", "From: admin@legit.example,<second@attack.example>\r\n" + rest},
		{"HD-19", "From: <any@attack.example>admin@legit.example\r\n" + rest},
		{"HD-22", "From: admin" + strings.Repeat("(", 10_000) + "@attack.example\r\n" + rest},
		{"HD-23", "From: <admin@legit.example\x01@attack.example>\r\n" + rest},
		{"HD-24", "From: <\u202emoc.tigel@\u202dadmin>\r\n" + rest},
		{"HD-28", "From:\r\n" + rest},
		{"HD-28", "From: undisclosed:;\r\n" + rest},
		{"HD-28", "From: g: a@attack.example, b@legit.example;\r\n" + rest},
		{"HD-29", rest},
		{"HD-29", "At noon?\r\n"},
		{"HD-29", ""},
		{"HD-29", "\r\n"},
		{"HD-30", "From: x@attack.example\r\nContent-Type: text/plain\r\nContent-Type: text/html\r\n" + rest},
		{"HD-31", attack + "no colon here\r\n" + legit + rest},
		{"HD-31", ": no name\r\n" + attack + "\r\n" + legit + rest},
		{"HD-31", attack + "N\xc3\xa4me: x\r\n" + legit + rest},
		{"", "From: admin@legit.example <x@attack.example>\r\nFROM: <admin@legit.example>\r\n" + rest},
	} {
		c := g.dial("mx")
		before := g.held()
		code, said := c.message("x@attack.example", "ben@ours.test", m.text)
		if code < 500 && g.held() == before {
			t.Errorf("%s is delivered: %d %s\n%.300q", m.id, code, said, m.text)
		}
		_ = c.conn.Close()
	}
	if all := g.settle(); len(all) > 0 {
		t.Errorf("%d were delivered", len(all))
	}
}

// Odd but unambiguous mail is delivered, octet for octet, and the oddity is recorded. HD-29, HD-30, HD-31.
func TestOddHeadersAreFlagged(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	from := "From: Anna <anna@friend.example>\r\n"
	var want []string
	for _, m := range []struct{ id, text string }{
		{"HD-29 no Date", from + "Message-ID: <1@friend.example>\r\nSubject: x\r\n\r\nx\r\n"},
		{"HD-30 two Subject", from + "Subject: other\r\n" + rest},
		{"HD-30 two Date", from + "Date: Mon, 02 Nov 2026 11:00:00 +0000\r\n" + rest},
		{"HD-30 two Message-ID", from + "Message-ID: <2@friend.example>\r\n" + rest},
		{"HD-31 a name of 2000", from + strings.Repeat("N", 2000) + ": x\r\n" + rest},
	} {
		c := g.dial("mx")
		code, said := c.message("anna@friend.example", "ben@ours.test", m.text)
		if code != 250 {
			t.Errorf("%s: %d %s", m.id, code, said)
			continue
		}
		want = append(want, m.id+"\n"+m.text)
	}
	for i, m := range g.settle() {
		id, text, _ := strings.Cut(want[i], "\n")
		if below(m.Data) != text {
			t.Errorf("%s: got\n%q, want\n%q", id, below(m.Data), text)
		}
		// its own field names a symbol beyond those of every message without DKIM and DNS
		plain := strings.NewReplacer("R_SPF_DNSFAIL", "", "R_DKIM_NA", "", "DMARC_DNSFAIL", "", "\r\n\t", " ")
		_, field, _ := strings.Cut(string(m.Data), "\r\nX-Postern: ")
		field, _, _ = strings.Cut(plain.Replace(field), "\r\n")
		if !strings.ContainsAny(field, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") || !strings.Contains(field, "_") {
			t.Errorf("%s is not flagged: %s", id, field)
		}
	}
}

// Results of authentication under our own name come from us alone, however they are written; those of others stay as
// they are. RFC 8601 section 5. AR-01 to AR-05.
func TestForgedResultsAreRemoved(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	forged := " dmarc=pass header.from=legit.example FORGED"
	for _, field := range []string{
		"Authentication-Results: gw.test;" + forged, "authentication-RESULTS: GW.Test;" + forged, "Authentication-Results: gw.test 1;" + forged,
		"Authentication-Results: (x) gw.test (y) ;" + forged, "Authentication-Results: gw.test\r\n\t;" + forged, "Authentication-Results:\r\n gw.test;" + forged,
		"Authentication-Results:\tgw.test;" + forged, "Authentication-Results: \"gw.test\";" + forged, "Authentication-Results: gw.test.;" + forged,
		"Authentication-Results: (a (b) c) \"gw\\.test\" 1 ;" + forged, "Authentication-Results:gw.test;" + forged,
		"Authentication-Results: =?utf-8?Q?gw=2Etest?=;" + forged, "Authentication-Results: =?utf-8?B?Z3cudGVzdA==?=;" + forged,
		"Authentication-Results: (x) \"=?utf-8?Q?gw.test?=\" 1;" + forged, "Authentication-Results: gw=?utf-8?Q?.test=3B?=" + forged,
		"Authentication-Results : gw.test;" + forged, "Authentication\r\n -Results: gw.test;" + forged, "Authentication-Results: gw.test" + forged,
		strings.Repeat("Authentication-Results: gw.test;"+forged+"\r\n", 499) + "Authentication-Results: gw.test;" + forged,
		"Authentication-Results: gw.test;" + strings.Repeat(forged+";\r\n", 2000),
		"X-Postern: 01 accept 0.0 FORGED", "x-postern: FORGED", "X-MS-Exchange-Organization-SCL: -1 FORGED", "X-MS-Exchange-Organization-AuthAs: Internal FORGED",
	} {
		c := g.dial("mx")
		code, said := c.message("anna@friend.example", "ben@ours.test", strings.TrimRight(field, "\r\n")+"\r\n"+hello)
		if code == 0 || code >= 400 && code < 500 {
			t.Errorf("%.60q: %d %s", field, code, said)
		}
		_ = c.conn.Close()
	}
	for _, m := range g.settle() {
		if strings.Contains(string(m.Data), "FORGED") {
			t.Errorf("delivered: %.500q", m.Data)
		}
	}
}

func TestResultsOfOthersStay(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	c := g.dial("mx")
	fields := "Authentication-Results: gw.test.attack.example; spf=pass\r\nAuthentication-Results: xgw.test; spf=pass\r\nAuthentication-Results: mx.friend.example; spf=pass\r\n"
	text := fields + head + "Content-Type: message/rfc822\r\n\r\nAuthentication-Results: gw.test; dmarc=pass\r\nFrom: <a@friend.example>\r\n\r\nx\r\n"
	if code, said := c.message("anna@friend.example", "ben@ours.test", text); code != 250 {
		t.Fatalf("%d %s", code, said)
	}
	for _, m := range g.settle() {
		if below(m.Data) != text {
			t.Errorf("delivered %q", below(m.Data))
		}
	}
}

// What a client says of itself can't add to our results. AR-07.
func TestOurResultsCanNotBeWritten(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	for i, said := range [][2]string{
		{"x;spf=pass", "anna@friend.example"}, {"x(", `"; dmarc=pass header.from=legit"@friend.example`}, {"\"x", `"a\"; spf=pass"@friend.example`},
		{"x);dmarc=pass", "a@friend.example"}, {"=?utf-8?Q?=0D=0AX-Bad:?=", "a@friend.example"},
	} {
		c := g.from("127.0.0.1", "mx")
		c.say("", 220)
		c.say("EHLO "+said[0], 0)
		c.say("EHLO mail.friend.example", 250)
		c.say("EHLO "+said[0], 0)
		code, text := c.message(said[1], "ben@ours.test", strings.Replace(hello, "<1@", fmt.Sprintf("<%d@", i+10), 1))
		t.Logf("%q: %d %s", said, code, text)
	}
	for _, m := range g.settle() {
		top, _, _ := strings.Cut(string(m.Data), "From: Anna")
		_, results, _ := strings.Cut(top, "Authentication-Results:")
		results, _, _ = strings.Cut(results, "\r\nX-Postern")
		results = strings.NewReplacer(`\\`, "", `\"`, "").Replace(results)
		outside := ""
		for i, part := range strings.Split(results, `"`) { // quoted text is not read as results
			if i%2 == 0 {
				outside += part
			}
		}
		if strings.Contains(outside, "=pass") || strings.Contains(top, "\r\nX-Bad") || strings.Count(top, "\r\nAuthentication-Results:") != 1 {
			t.Errorf("%s", top)
		}
	}
}
