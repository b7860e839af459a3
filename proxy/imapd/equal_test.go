package imapd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"postern/internal/testing/dovecottest"
	"postern/proxy/access"
)

// Each script is played with Dovecot directly and through the door. What the client hears must be the same, but for the
// capabilities that the door hides and the words of refusals.
//
//	1: a NOOP       client 1 says a line, and listens up to the answer to its tag
//	1> a IDLE       client 1 says a line
//	1! a NOOP\r\n   client 1 sends these octets
//	1< +            client 1 listens up to a line that begins so
//
// \r, \n and \xHH stand for octets.
func TestEqualToDovecot(t *testing.T) {
	v := dovecottest.Start(t, dovecottest.Options{})
	d := open(t, access.Backend{Address: v.IMAP, TLS: access.TLSNone}, nil)
	files, err := filepath.Glob("testdata/equal/*.txt")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d scripts: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name := strings.TrimSuffix(filepath.Base(file), ".txt")
			play := func(user, address string) []string {
				fill(t, v, user)
				return sameWords(perform(t, address, user, string(script)))
			}
			direct, through := play(name+"-direct", v.IMAP), play(name+"-through", d.address)
			for i := range max(len(direct), len(through)) {
				if i >= len(direct) || i >= len(through) || direct[i] != through[i] {
					t.Fatalf("step %d differs\ndirect:  %s\nthrough: %s", i, strings.Join(direct[min(i, len(direct)):min(i+1, len(direct))], ""), strings.Join(through[min(i, len(through)):min(i+1, len(through))], ""))
				}
			}
		})
	}
}

// fill gives a user five messages.
func fill(t testing.TB, v *dovecottest.Server, user string) {
	t.Helper()
	c := dial(t, v.IMAP, nil)
	c.login(user, dovecottest.Password)
	for n := 1; n <= 3; n++ {
		appendMessage(c, "INBOX", fmt.Sprintf("From: a@b.test\r\nTo: c@d.test\r\nSubject: message %d\r\nDate: Mon, 0%d Jan 2024 10:00:00 +0000\r\nMessage-ID: <%d@b.test>\r\n\r\nSome text number %d\r\nand more of it.\r\n", n, n, n, n))
	}
	appendMessage(c, "INBOX", "From: a@b.test\r\nSubject: parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\npreamble\r\n--x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nH=C3=A4llo there=\r\n, all of you\r\n--x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"+strings.Repeat("SGVsbG8sIHRoaXMgaXMgYSBmaWxlIHdpdGggb2N0ZXRzLCBubyBtb3Jl\r\n", 20)+"--x--\r\nepilogue\r\n")
	appendMessage(c, "INBOX", "From: a@b.test\r\nSubject: within\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\nplain\r\n--y\r\nContent-Type: message/rfc822\r\n\r\nFrom: e@f.test\r\nSubject: inner\r\n\r\ninner text\r\n--y--\r\n")
	c.do("z", "LOGOUT")
}

func perform(t *testing.T, address, user, script string) []string {
	t.Helper()
	clients := map[byte]*client{}
	var heard []string
	validity := "1"
	for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		c := clients[line[0]]
		if c == nil {
			c = dial(t, address, nil)
			c.login(user, dovecottest.Password)
			clients[line[0]] = c
		}
		text := octets(t, strings.ReplaceAll(line[3:], "$UV", validity))
		switch line[1] {
		case ':':
			c.send(text + "\r\n")
			tag, _, _ := strings.Cut(text, " ")
			heard = append(heard, line+"\n"+c.until(tag+" "))
		case '>':
			c.send(text + "\r\n")
		case '!':
			c.send(text)
		case '<':
			heard = append(heard, line+"\n"+c.until(text))
		}
		if len(heard) > 0 {
			if m := regexp.MustCompile(`\[UIDVALIDITY (\d+)\]`).FindStringSubmatch(heard[len(heard)-1]); m != nil {
				validity = m[1]
			}
		}
	}
	for _, c := range clients {
		_ = c.conn.Close()
	}
	return heard
}

func octets(t *testing.T, text string) string {
	t.Helper()
	return regexp.MustCompile(`\\r|\\n|\\x[0-9a-f]{2}`).ReplaceAllStringFunc(text, func(s string) string {
		out, err := strconv.Unquote(`"` + s + `"`)
		if err != nil {
			t.Fatal(err)
		}
		return out
	})
}

// sameWords takes out what differs from run to run, and what may differ.
func sameWords(heard []string) []string {
	replace := []struct{ from, to string }{
		{` \(\d+\.\d+ \+ \d+\.\d+( \+ \d+\.\d+)? secs\)`, ""},
		{`(UIDVALIDITY|APPENDUID|COPYUID|QRESYNC \() ?\d+`, "$1 V"},
		{`"[ \d]\d-\w{3}-\d{4} \d\d:\d\d:\d\d [+-]\d{4}"`, "DATE"},
		{`(?m)^(\S+) BAD .*$`, "$1 BAD"},
		{`-(direct|through)`, ""},
		{`(MODSEQ|HIGHESTMODSEQ) \(?\d+\)?`, "$1 M"},
		{`RIGHTS=\w+`, "RIGHTS"},
	}
	out := make([]string, len(heard))
	for i, text := range heard {
		for _, r := range replace {
			text = regexp.MustCompile(r.from).ReplaceAllString(text, r.to)
		}
		if lines := strings.Split(text, "\r\n"); lines[0][1] == '<' || strings.Contains(lines[0], "< ") { // several commands at once: their answers come in any order
			slices.Sort(lines)
			text = strings.Join(lines, "\r\n")
		}
		out[i] = regexp.MustCompile(`CAPABILITY [^\]\r]*`).ReplaceAllStringFunc(text, func(list string) string {
			all := slices.DeleteFunc(strings.Fields(list), func(c string) bool {
				return slices.Contains([]string{"LOGIN-REFERRALS", "URL-PARTIAL", "NOTIFY", "LITERAL+", "COMPRESS=DEFLATE", "URLAUTH", "URLAUTH=BINARY"}, c)
			})
			slices.Sort(all)
			return strings.Join(all, " ")
		})
	}
	return out
}
