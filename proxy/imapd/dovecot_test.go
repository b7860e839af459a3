package imapd_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"postern/internal/testing/dovecottest"
	"postern/proxy/access"
)

func appendMessage(c *client, mailbox, text string) {
	c.t.Helper()
	c.send(fmt.Sprintf("ap APPEND %s {%d+}\r\n%s\r\n", mailbox, len(text), text))
	if got := c.until("ap "); !strings.Contains(got, "ap OK") {
		c.t.Fatalf("APPEND: %q", got)
	}
}

// compound is a message with parts of all kinds, each full of the word.
func compound(word string, masked bool) string {
	mark := ""
	if masked {
		mark = "X-Mask: yes\r\n"
	}
	text := strings.Repeat(strings.Repeat(word, 15)+"\r\n", 5)
	coded := ""
	for rest := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(word, 300))); rest != ""; {
		n := min(len(rest), 76)
		coded, rest = coded+rest[:n]+"\r\n", rest[n:]
	}
	return mark + "From: a@b.test\r\nSubject: compound\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" + text +
		"--x\r\nContent-Type: multipart/alternative; boundary=y\r\n\r\n--y\r\nContent-Type: text/plain\r\n\r\n" + text +
		"--y\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>=3D=\r\n" + text + "--y--\r\n" +
		"--x\r\nContent-Type: application/octet-stream; name=a.exe\r\nContent-Transfer-Encoding: base64\r\n\r\n" + coded +
		"--x\r\nContent-Type: message/rfc822\r\n\r\nFrom: c@d.test\r\nSubject: inner\r\n\r\n" + text + "--x--\r\n" + text
}

// traces are what octets of the marker look like, in clear and in base64.
func traces() []string {
	all := []string{marker}
	cycle := strings.Repeat(base64.StdEncoding.EncodeToString([]byte(marker+marker+marker)), 2)
	for i := range len(cycle) / 2 {
		all = append(all, cycle[i:i+8])
	}
	return all
}

// Whatever a client asks for, not an octet of the content of a masked message comes through by any way, and all that comes
// of others is what the server said.
func TestMaskedContentNeverComesThrough(t *testing.T) {
	v := dovecottest.Start(t, dovecottest.Options{})
	owner := dial(t, v.IMAP, nil)
	owner.login("bob", dovecottest.Password)
	masked := map[int]bool{2: true, 3: true, 6: true}
	for n := 1; n <= 7; n++ {
		word := "GOOD"
		if masked[n] {
			word = marker
		}
		if n >= 6 { // no parts
			text := strings.Repeat(word+" ", 30) + "\r\n"
			appendMessage(owner, "INBOX", map[bool]string{true: "X-Mask: yes\r\n"}[masked[n]]+"From: a@b.test\r\nSubject: flat\r\n\r\n"+text)
			continue
		}
		appendMessage(owner, "INBOX", compound(word, masked[n]))
	}
	owner.do("o", "SELECT INBOX")
	owner.do("p", "FETCH 1:* (PREVIEW)") // it is remembered from now on, so that LAZY gives it as well
	for seed := range uint64(25) {
		r := rand.New(rand.NewPCG(seed, 7))
		d := open(t, access.Backend{Address: v.IMAP, TLS: access.TLSNone}, nil)
		c := dial(t, d.address, nil)
		c.login("bob", dovecottest.Password)
		c.do("e", "EXAMINE INBOX")
		direct := dial(t, v.IMAP, nil)
		direct.login("bob", dovecottest.Password)
		direct.do("e", "EXAMINE INBOX")
		for range 12 {
			lines := ""
			n := 1 + r.IntN(3)
			for i := range n {
				lines += fmt.Sprintf("x%d %s\r\n", i, randomFetch(r))
			}
			// as many rounds as commands, so that the order of completions does not matter
			direct.send(lines)
			c.send(lines)
			want, got := "", ""
			want, got = direct.all(n), c.all(n)
			compare(t, seed, lines, want, got)
		}
		c.do("z", "LOGOUT")
	}
}

// all reads up to the completion of n commands x0, x1, ….
func (c *client) all(n int) string {
	c.t.Helper()
	text, done := "", 0
	for done < n {
		text += c.until("x")
		done++
	}
	return text
}

func compare(t *testing.T, seed uint64, lines, want, got string) {
	t.Helper()
	for _, trace := range traces() {
		if i := strings.Index(got, trace); i >= 0 {
			t.Fatalf("seed %d: %q lets %q through: %q", seed, lines, trace, got[max(0, i-200):min(len(got), i+100)])
		}
	}
	plain := func(s string) string {
		return regexp.MustCompile(` \(\d+\.\d+ \+ .* secs\)`).ReplaceAllString(s, "")
	}
	want, got = plain(want), plain(got)
	if len(want) != len(got) {
		t.Fatalf("seed %d: %q: %d octets, the server sent %d%s", seed, lines, len(got), len(want), difference(want, got))
	}
	for _, word := range []string{"GOOD", "R09PREdPT0RHT09E", "FETCH", "BODY", "boundary", "Subject"} {
		if a, b := strings.Count(want, word), strings.Count(got, word); a != b && word != "boundary" {
			t.Fatalf("seed %d: %q: %d times %s, the server sent it %d times%s", seed, lines, b, word, a, difference(want, got))
		}
	}
	if strings.Count(lines, "\r\n") == 1 && !containsAny(want, []string{"* 2 FETCH", "* 3 FETCH", "* 6 FETCH"}) && want != got {
		t.Fatalf("seed %d: %q: clean content differs%s", seed, lines, difference(want, got))
	}
}

func containsAny(s string, all []string) bool {
	for _, one := range all {
		if strings.Contains(s, one) {
			return true
		}
	}
	return false
}

func randomFetch(r *rand.Rand) string {
	pick := func(all ...string) string { return all[r.IntN(len(all))] }
	set := pick("1", "2", "3", "4", "5", "6", "7", "1:3", "2,6", "*", "5:*", "1:*", "7:2", "4,1,3")
	uid := pick("", "UID ")
	if r.IntN(6) == 0 {
		return pick("SEARCH BODY EVIL", "UID SEARCH TEXT GOOD", "SEARCH RETURN (SAVE) BODY EVIL", "NOOP", "FETCH $ (UID BODY.PEEK[TEXT])", "UID FETCH $ BODY.PEEK[1.1]")
	}
	section := func() string {
		return pick("1", "1.1", "1.2", "2", "3", "3.1", "3.TEXT", "TEXT", "3.HEADER", "1.1.MIME", "2.MIME", "HEADER")
	}
	partial := func() string {
		if r.IntN(2) == 0 {
			return ""
		}
		return fmt.Sprintf("<%d.%d>", r.IntN(400), 1+r.IntN(300))
	}
	var items []string
	for range 1 + r.IntN(3) {
		switch r.IntN(9) {
		case 0:
			items = append(items, "BODY.PEEK[]"+partial())
		case 1, 2, 3:
			items = append(items, "BODY.PEEK["+section()+"]"+partial())
		case 4:
			items = append(items, "BINARY.PEEK["+pick("1.1", "1.2", "2", "3.1")+"]"+partial())
		case 5:
			items = append(items, pick("RFC822", "RFC822.TEXT", "RFC822.HEADER"))
		case 6:
			items = append(items, pick("PREVIEW", "SNIPPET (LAZY=FUZZY)"))
		case 7:
			items = append(items, pick("UID", "FLAGS", "ENVELOPE", "BODYSTRUCTURE", "RFC822.SIZE", "BINARY.SIZE[2]"))
		case 8:
			items = append(items, "BODY.PEEK[HEADER.FIELDS (Subject From)]")
		}
	}
	return uid + "FETCH " + set + " (" + strings.Join(items, " ") + ")"
}

// difference shows where two texts part.
func difference(want, got string) string {
	i := 0
	for i < len(want) && i < len(got) && want[i] == got[i] {
		i++
	}
	show := func(s string) string { return s[max(0, i-150):min(len(s), i+200)] }
	return fmt.Sprintf("\nwant %q\ngot  %q", show(want), show(got))
}
