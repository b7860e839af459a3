package imapd_test

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"postern/internal/testing/dovecottest"
	"postern/proxy/access"
)

// oddities are messages whose structure servers read with care.
func oddities() map[string]string {
	head := "X-Mask: yes\r\nFrom: =?utf-8?q?=C3=84nn?= <a@b.test>, \"x y\" <x@y.test>\r\nTo: group: c@d.test;\r\nSubject: odd\r\nMessage-ID: <1@b.test>\r\nIn-Reply-To: <0@b.test>\r\nMIME-Version: 1.0\r\n"
	return map[string]string{
		"compound": compound(marker, true),
		"flat":     head + "\r\n" + strings.Repeat(marker+" text\r\n", 30),
		"empty":    head + "\r\n",
		"nested": head + "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: message/rfc822\r\n\r\nFrom: e@f.test\r\nSubject: inner\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
			"--b\r\n\r\n" + marker + "\r\n--b\r\nContent-Type: image/png; name=\"x.png\"\r\nContent-Disposition: attachment; filename=x.png\r\nContent-ID: <i@b.test>\r\nContent-Transfer-Encoding: base64\r\n\r\nRVZJTEVWSUw=\r\n--b--\r\n--a--\r\n" + marker + " behind\r\n",
		"unclosed":     head + "Content-Type: multipart/mixed; boundary=a\r\n\r\n" + marker + " before\r\n--a\r\n\r\n" + marker + "\r\n--a\r\nContent-Type: text/html\r\n\r\n<b>" + marker + "</b>\r\n",
		"no boundary":  head + "Content-Type: multipart/mixed\r\n\r\n--a\r\n\r\n" + marker + "\r\n--a--\r\n",
		"same twice":   head + "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\n" + marker + "\r\n--a--\r\n",
		"front of one": head + "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/mixed; boundary=ab\r\n\r\n--ab\r\n\r\n" + marker + "\r\n--ab--\r\n--a--\r\n",
		"8bit":         head + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + strings.Repeat("Grüße "+marker+"\r\n", 10),
		"qp":           head + "Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=3Cb>" + strings.Repeat(marker+"=20=\r\n", 10) + "\r\n",
		"no base64":    head + "Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\nRVZJ*TEVWSUw\r\n\r\nRVZJTA==RVZJTA==\r\n",
		"one line":     head + "\r\n" + strings.Repeat(marker+" ", 2000) + "\r\n",
	}
}

// What a server says of the structure of a message, and of its sizes and headers, is the same of the masked message: a
// client that asked before it was masked, or another server that got it, is right.
func TestTheStructureOfAMaskedMessageIsItsOwn(t *testing.T) {
	servers := map[string]func(t *testing.T) (address, more string){
		"Dovecot": func(t *testing.T) (string, string) {
			return dovecottest.Start(t, dovecottest.Options{}).IMAP, " BODY.PEEK[1.MIME] BODY.PEEK[2.MIME] BODY.PEEK[1.HEADER]"
		},
		"Courier": func(t *testing.T) (string, string) {
			return dovecottest.Courier(t).IMAP, " BODY.PEEK[1.MIME] BODY.PEEK[1.HEADER]"
		},
	}
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			address, more := start(t)
			d := open(t, access.Backend{Address: address, TLS: access.TLSNone}, nil)
			owner := dial(t, address, nil)
			owner.login("bob", dovecottest.Password)
			door := dial(t, d.address, nil)
			door.login("bob", dovecottest.Password)
			for kind, text := range oddities() {
				t.Run(kind, func(t *testing.T) { compareStructure(t, owner, door, kind, text, more, name == "Dovecot") })
			}
		})
	}
}

func compareStructure(t *testing.T, owner, door *client, kind, text, more string, binary bool) {
	upload(owner, text)
	owner.do("a", "SELECT INBOX")
	door.do("a", "SELECT INBOX")
	whole := door.do("b", "FETCH * (BODY.PEEK[])")
	i := strings.Index(whole, "}\r\n") + 3
	n, good := literalOf([]byte(whole[:i]))
	if !good || n != len(text) {
		t.Fatalf("%d octets of %d: %.200q", n, len(text), whole)
	}
	masked := whole[i : i+n]
	if strings.Contains(masked, marker) || bytes.Count([]byte(masked), []byte("\n")) != strings.Count(text, "\n") {
		t.Fatalf("%.2000q", masked)
	}
	upload(owner, masked)
	door.do("a", "NOOP")
	owner.do("a", "NOOP")
	count := regexp.MustCompile(`(\d+) EXISTS`).FindAllStringSubmatch(owner.do("a", "SELECT INBOX"), -1)
	last := 0
	_, _ = fmt.Sscan(count[len(count)-1][1], &last) // the pattern makes sure
	commands := []string{"RFC822.SIZE", "BODY", "BODYSTRUCTURE", "ENVELOPE", "RFC822.HEADER", "BODY.PEEK[HEADER]", "BODY.PEEK[HEADER.FIELDS (Subject X-Mask)]"}
	commands = append(commands, strings.Split(strings.TrimPrefix(strings.ReplaceAll(more, " BODY", "\tBODY"), "\t"), "\t")...)
	if binary && kind != "no base64" { // Dovecot gives up on that
		commands = append(commands, "BINARY.SIZE[1]", "BINARY.SIZE[2]", "BINARY.SIZE[1.1]")
	}
	for _, items := range commands {
		ask := func(c *client, number int) string {
			got := c.do("f", fmt.Sprintf("FETCH %d (%s)", number, items))
			got = regexp.MustCompile(` \(\d+\.\d+ \+ .* secs\)`).ReplaceAllString(got, "")
			return strings.Replace(got, fmt.Sprintf("* %d FETCH", number), "* N FETCH", 1)
		}
		before, after, through := ask(owner, last-1), ask(owner, last), ask(door, last-1)
		if coded := kind == "qp" || kind == "compound"; coded && strings.HasPrefix(items, "BINARY") || kind == "same twice" {
			// quoted-printable has no length to keep; and where readers see different parts, more is masked than one of
			// them sees: the door says what the server says
			after = before
		}
		if before != through || before != after {
			t.Errorf("%s:\nthe message: %s\nthe masked:  %s\nthrough:     %s", items, before, after, through)
		}
	}
}

// upload uploads a message in a way that each server knows.
func upload(c *client, text string) {
	c.t.Helper()
	c.send(fmt.Sprintf("ap APPEND INBOX {%d}\r\n", len(text)))
	c.until("+")
	c.send(text + "\r\n")
	if got := c.until("ap "); !strings.Contains(got, "ap OK") {
		c.t.Fatalf("APPEND: %q", got)
	}
}
