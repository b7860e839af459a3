package lab_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/testing/dovecottest"
	"postern/internal/testing/lab"
)

// reader is an open session at a door. It fetches the message in one way, again and again.
type reader struct {
	t     *testing.T
	conn  net.Conn
	in    *bufio.Reader
	fetch string
	n     int
}

func openReader(t *testing.T, address, user, mailbox, fetch string) *reader {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	r := &reader{t: t, conn: conn, in: bufio.NewReader(conn), fetch: fetch}
	if r.pop() {
		r.say("")
		r.say("USER " + user)
		r.say("PASS " + dovecottest.Password)
		return r
	}
	_, err = r.in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	r.ask("LOGIN " + user + " " + dovecottest.Password)
	r.ask("SELECT " + mailbox)
	return r
}

func (r *reader) pop() bool {
	return strings.HasPrefix(r.fetch, "RETR") || strings.HasPrefix(r.fetch, "TOP")
}

// say sends a line and reads the status of POP3.
func (r *reader) say(line string) {
	r.t.Helper()
	if line != "" {
		_, _ = io.WriteString(r.conn, line+"\r\n") // the answer tells
	}
	if status, err := r.in.ReadString('\n'); err != nil || !strings.HasPrefix(status, "+OK") {
		r.t.Fatalf("%s: %q %v", line, status, err)
	}
}

// ask sends a command of IMAP and gives what is said to it.
func (r *reader) ask(command string) string {
	r.t.Helper()
	r.n++
	tag := fmt.Sprintf("tag%d ", r.n)
	_, _ = io.WriteString(r.conn, tag+command+"\r\n") // the answer tells
	return r.until(command, func(line string) bool { return strings.HasPrefix(line, tag) })
}

func (r *reader) until(command string, last func(string) bool) string {
	r.t.Helper()
	var all strings.Builder
	for {
		line, err := r.in.ReadString('\n')
		if err != nil {
			r.t.Fatalf("%s: %v after %s", command, err, all.String())
		}
		all.WriteString(line)
		if last(line) {
			return all.String()
		}
	}
}

// read fetches the message.
func (r *reader) read() string {
	r.t.Helper()
	if !r.pop() {
		return r.ask(r.fetch)
	}
	_, _ = io.WriteString(r.conn, r.fetch+"\r\n") // the answer tells
	return r.until(r.fetch, func(line string) bool { return line == ".\r\n" || strings.HasPrefix(line, "-ERR") })
}

// Every open session that had a message in the clear shows nothing of it within five seconds of its recall, whichever way it
// fetches.
func TestARecallReachesEveryOpenSession(t *testing.T) {
	t.Parallel()
	server := dovecottest.Start(t, dovecottest.Options{Performance: true})
	dir := lab.Dir(t)
	imap, pop3 := lab.FreePort(t), lab.FreePort(t)
	p := lab.NewPostern(t, program, accessSettings(t, server, dir, [4]string{imap, lab.FreePort(t), pop3, lab.FreePort(t)}, ""))
	p.Start(t)
	const secret = "The-plan-in-the-clear"
	var all []*reader
	for i, fetch := range []string{"FETCH 1 BODY.PEEK[]", "UID FETCH 1:* (UID BODY.PEEK[])", "FETCH 1 RFC822", "FETCH 1 BODY.PEEK[TEXT]", "FETCH 1 BODY.PEEK[1]",
		"FETCH 1 BODY.PEEK[1]<0.200>", "FETCH 1 BINARY.PEEK[1]", "RETR 1", "TOP 1 50"} {
		user := fmt.Sprintf("reader%d", i)
		deliver(t, server, user, "From: Ann <ann@example.org>\r\nSubject: plan\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <plan@example.org>\r\n"+
			"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n"+secret+"\r\n")
		all = append(all, openReader(t, map[bool]string{true: pop3, false: imap}[i > 6], user, "INBOX", fetch))
	}
	for _, r := range all {
		for range 5 {
			if text := r.read(); !strings.Contains(text, secret) {
				t.Fatalf("%s: %s", r.fetch, text)
			}
		}
	}
	p.Run(t, "recall", "add", "--message-id", "<plan@example.org>", "--why", "it was bad")
	begun := time.Now()
	for _, r := range all {
		for strings.Contains(r.read(), secret) {
			if time.Since(begun) > 5*time.Second {
				t.Fatalf("%s: in the clear %v after the recall", r.fetch, time.Since(begun))
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	t.Logf("%d sessions, all masked %v after the recall", len(all), time.Since(begun).Round(time.Millisecond))
	for range 3 {
		for _, r := range all {
			if text := r.read(); strings.Contains(text, secret) {
				t.Errorf("%s: in the clear again: %s", r.fetch, text)
			}
		}
	}
}

// Two who read one mailbox see each what his own policy says, whoever reads first.
func TestReadersOfOneMailboxHaveTheirOwnVerdicts(t *testing.T) {
	t.Parallel()
	const mailbox = "Public.Team"
	server := dovecottest.Start(t, dovecottest.Options{Performance: true, Extra: "\nnamespace public {\n  type = public\n  separator = .\n  prefix = Public.\n  location = maildir:%h/../public\n  subscriptions = no\n}\n"})
	dir := lab.Dir(t)
	file := filepath.Join(dir, "policy.toml")
	policy := "[[rule]]\nname = \"BETWEEN\"\nto = [\"ann\"]\nwhen = 'subject.contains(\"between\")'\naction = \"quarantine\"\n[who.\"ann\"]\naddresses = [\"ann@corp.test\"]\n"
	if err := os.WriteFile(file, []byte(policy), 0o644); err != nil { //nolint:gosec // nothing secret
		t.Fatal(err)
	}
	imap := lab.FreePort(t)
	p := lab.NewPostern(t, program, accessSettings(t, server, dir, [4]string{imap, lab.FreePort(t), lab.FreePort(t), lab.FreePort(t)}, fmt.Sprintf("[policy]\nfile = %q\n", file)))
	p.Start(t)
	team := filepath.Join("public", ".Team")
	for i, subject := range []string{"between the two", "between them"} {
		deliver(t, server, team, fmt.Sprintf("From: Ann <ann@example.org>\r\nSubject: %s\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <%d@example.org>\r\n"+
			"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nThe-text-in-the-clear\r\n", subject, i))
	}
	acl := filepath.Join(server.Dir, "mail", team, "dovecot-acl")
	if err := os.WriteFile(acl, []byte("anyone lrwstipe\n"), 0o644); err != nil { //nolint:gosec // Dovecot's user reads it
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(server.Dir, "mail", "public"), 8, 8); err != nil {
		t.Fatal(err)
	}
	sees := func(user, fetch string, clear bool) {
		t.Helper()
		if text := openReader(t, imap, user, mailbox, fetch).read(); strings.Contains(text, "The-text-in-the-clear") != clear || !strings.Contains(text, "FETCH (") {
			t.Errorf("%s, %s, clear is to be %v: %s", user, fetch, clear, text)
		}
	}
	for n, first := range []string{"ann@corp.test", "bob@corp.test"} {
		for range 2 {
			for _, item := range []string{"BODY.PEEK[]", "BODY.PEEK[1]", "BODY.PEEK[TEXT]<0.30>"} {
				fetch := fmt.Sprintf("FETCH %d %s", n+1, item)
				sees(first, fetch, first[0] == 'b')
				sees("ann@corp.test", fetch, false)
				sees("bob@corp.test", fetch, true)
			}
		}
	}
	if held := p.Run(t, "quarantine", "list", "--category", "all"); strings.Contains(held, "bob@corp.test") || !strings.Contains(held, "ann@corp.test") {
		t.Errorf("originals are kept for who sees them masked only: %s", held)
	}
}
