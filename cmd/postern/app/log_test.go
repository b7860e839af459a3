package app_test

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/policy/records/ledger"
)

// hostile is text that would end a log record, move a cursor, begin a template or a format.
func hostile() []string {
	return []string{
		"\x1b]0;evil\x07", "\x1b[2J", "a\r\ntime=2026 level=ERROR msg=forged", `","level":"x`, "\xff\xfe", "\u2028forged", "%s%n%x", "${jndi:ldap://x/}",
		"{{.}}", "x from 203.0.113.9 port 22", strings.Repeat("A", 2000), "\u202eevil",
	}
}

// Whatever a client says is logged escaped within one record, and can't forge another. LG-01, LG-02, LG-03, LG-05,
// LG-06.
func TestHostileTextStaysInItsRecord(t *testing.T) {
	t.Parallel()
	g := newGate(t, "[smtp]\nmax_per_network = 200")
	visits := 0
	for _, text := range hostile() {
		word := strings.NewReplacer(" ", "_", "\r\n", "").Replace(text)
		for _, line := range []string{"EHLO " + word, "MAIL FROM:<" + word + "@friend.example>", "RCPT TO:<" + text + "@ours.test>", text} {
			c := g.from("127.0.0.1", "mx")
			visits++
			c.say("", 220)
			c.send("EHLO x.example\r\n")
			c.reply()
			c.send(line + "\r\n")
			c.reply()
			_ = c.conn.Close()
		}
		c := g.dial("mx")
		visits++
		subject := strings.ReplaceAll(text, "\r\n", "\r\n ")
		c.message("anna@friend.example", "ben@ours.test", "Subject: "+subject+"\r\nX-Mailer: "+subject+"\r\n"+hello)
		_ = c.conn.Close()
	}
	g.settle()
	g.app.Close() // now every record is written
	text := g.log.String()
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "time=20") || strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\x1b\x07\r\x00\u2028\u202e") || len(line) > 4000 {
			t.Errorf("a record of the log: %.500q", line)
		}
	}
	if strings.Contains(text, "\ntime=2026 ") || strings.Contains(text, " level=ERROR msg=forged\n") {
		t.Error("a record was forged")
	}
	if n := strings.Count(text, "msg=connection "); n != visits {
		t.Errorf("%d records of connections, want %d", n, visits)
	}
}

// The ledger's records are printed without control characters. LG-02.
func TestHostileTextIsToldEscaped(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	c := g.dial("mx")
	for i, text := range hostile() {
		subject := strings.NewReplacer("\r\n", "\r\n ").Replace(text)
		c.message("anna@friend.example", "ben@ours.test", "Subject: "+subject+"\r\n"+strings.Replace(hello, "<1@", "<"+strconv.Itoa(i)+"@", 1))
	}
	c.say("QUIT", 221)
	g.settle()
	var found []ledger.Transaction
	for end := time.Now().Add(20 * time.Second); len(found) < len(hostile()); time.Sleep(20 * time.Millisecond) { // they are written in groups
		var err error
		if found, err = g.app.Ledger.Search(t.Context(), ledger.Filter{Limit: 100}); err != nil || time.Now().After(end) {
			t.Fatalf("%d records, %v", len(found), err)
		}
	}
	for _, tx := range found {
		record, err := g.app.Ledger.Explain(t.Context(), tx.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, voice := range []ledger.Voice{ledger.Admin, ledger.User, ledger.Sender} {
			var told bytes.Buffer
			if err := ledger.Describe(&told, record, voice); err != nil {
				t.Fatal(err)
			}
			if strings.ContainsAny(told.String(), "\x1b\x07\r\x00\u2028\u202e") {
				t.Errorf("%s is told %q", voice, told.String())
			}
		}
	}
}

// A password is in no log, at whatever level, in no record, no header, no file of ours: right or wrong, by PLAIN or
// LOGIN, as it is or in base64, and when the client mixes up its lines. LG-09.
func TestNoPasswordAnywhere(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	b64 := base64.StdEncoding.EncodeToString
	fresh := func() *client {
		c := g.dial("staff")
		c.say("STARTTLS", 220)
		c = c.overTLS(trusting())
		c.say("EHLO laptop.ours.test", 250)
		return c
	}
	c := g.login("staff")
	if code, text := c.message("ben@ours.test", "ben@ours.test", strings.Replace(hello, "anna@friend.example", "ben@ours.test", 1)); code != 250 {
		t.Fatalf("%d %s", code, text)
	}
	c = fresh()
	c.say("AUTH LOGIN", 334)
	c.say(b64([]byte("ben@ours.test")), 334)
	c.say(b64([]byte("wrong-"+canary)), 535)
	c.say("AUTH PLAIN", 334)
	c.say(plain("eva@ours.test", canary), 535)
	c = fresh()
	for _, mistake := range []string{
		"AUTH PLAIN " + canary, "AUTH PLAIN " + b64([]byte(canary)), "AUTH LOGIN " + b64([]byte("ben@ours.test")), b64([]byte(canary)) + "=",
		"AUTH CRAM-MD5 " + b64([]byte(canary)), b64([]byte(canary)), canary, "PASS " + canary, "MAIL FROM:<ben@ours.test> AUTH=" + canary, "RSET",
	} {
		c.send(mistake + "\r\n")
		if code, text := c.reply(); code == 0 || strings.Contains(text, canary) {
			t.Fatalf("%s: %d %s", mistake, code, text)
		}
	}
	clear := g.dial("staff") // a client that is wrong about TLS
	clear.say("AUTH PLAIN "+plain("ben@ours.test", canary), 538)
	g.settle()
	for _, m := range g.inside.Messages() {
		if strings.Contains(string(m.Data), canary) {
			t.Errorf("delivered: %s", m.Data)
		}
	}
	g.app.Close()
	secrets := []string{canary, b64([]byte(canary)), plain("ben@ours.test", canary), plain("eva@ours.test", canary), b64([]byte("wrong-" + canary))}
	check := func(where, text string) {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				at := strings.Index(text, secret)
				t.Errorf("%s holds a password: %q", where, text[max(0, at-100):at+len(secret)])
			}
		}
	}
	check("the log", g.log.String())
	err := filepath.WalkDir(g.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		check(path, string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
