package lab_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/internal/testing/dovecottest"
	"postern/internal/testing/lab"
)

// deleters are mail programs that delete on the server what they have fetched. The first command fetches; those that
// need a second one delete by it. An end with an error is theirs to decide: what counts is where the messages are.
func deleters() []mailClient {
	swap := func(c []string, file, old, text string) []string {
		raw, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(file, []byte(strings.Replace(string(raw), old, text, 1)), 0o600)
		}
		if err != nil {
			return []string{"false"}
		}
		return c
	}
	return []mailClient{
		{name: "fetchmail-imap", program: "fetchmail", fetch: func(v *visit) []string {
			// it waits for more behind a NO until its time is over
			return swap(swap(fetchmail(v, "imap"), filepath.Join(v.dir, "fetchmailrc"), " keep ", " nokeep "), filepath.Join(v.dir, "fetchmailrc"), " auth password", " timeout 8 auth password")
		}},
		{name: "fetchmail-pop3", program: "fetchmail", pop: true, fetch: func(v *visit) []string {
			return swap(fetchmail(v, "pop3"), filepath.Join(v.dir, "fetchmailrc"), " keep ", " nokeep ")
		}},
		{name: "getmail-imap", program: "getmail", fetch: func(v *visit) []string {
			c := swap(getmail(v, "IMAP"), filepath.Join(v.dir, "getmailrc"), "delete = false", "delete = true")
			return c
		}},
		{name: "getmail-pop3", program: "getmail", pop: true, fetch: func(v *visit) []string {
			return swap(getmail(v, "POP3"), filepath.Join(v.dir, "getmailrc"), "delete = false", "delete = true")
		}},
		{name: "mpop", program: "mpop", pop: true, fetch: func(v *visit) []string {
			c := mailClients()[7].fetch(v)
			return swap(c, filepath.Join(v.dir, "mpoprc"), "keep on", "keep off")
		}},
		{name: "mutt", program: "mutt", fetch: func(v *visit) []string {
			c := mailClients()[5].fetch(v)
			c[2] = strings.Replace(c[2], "copy-message", "save-message", 1)
			return swap(c, filepath.Join(v.dir, "muttrc"), "set delete=no", "set delete=yes")
		}},
		{name: "mbsync", program: "mbsync", fetch: func(v *visit) []string {
			c := mailClients()[0].fetch(v)
			c = swap(c, filepath.Join(v.dir, "mbsyncrc"), "Sync Pull", "Sync All\nExpunge Both")
			return []string{"sh", "-c", strings.Join(c, " ") + "; cd " + v.out + "/INBOX && for f in cur/* new/*; do [ -f $f ] && cp $f ../kept.$(basename $f | tr -dc a-zA-Z0-9.) && mv $f cur/$(basename $f | sed 's/:.*//'):2,ST; done; " + strings.Join(c, " ")}
		}},
		{name: "offlineimap", program: "offlineimap", fetch: func(v *visit) []string {
			c := swap(mailClients()[6].fetch(v), filepath.Join(v.dir, "offlineimaprc"), "readonly = true", "readonly = false")
			return []string{"sh", "-c", strings.Join(c, " ") + "; cd " + v.out + "/INBOX && mkdir -p ../../kept && cp cur/* new/* ../../kept/; rm -f cur/* new/*; " + strings.Join(c, " ")}
		}},
		{name: "imaplib", program: "python3", fetch: func(v *visit) []string {
			return []string{"python3", "-c", fmt.Sprintf(`
import imaplib
m = imaplib.IMAP4(%q, %s)
m.login(%q, %q)
for i in range(1, int(m.select("INBOX")[1][0]) + 1):
    typ, r = m.fetch(str(i), "(RFC822)")
    if typ == "OK":
        open(%q + "/%%d.eml" %% i, "wb").write(r[0][1])
        m.store(str(i), "+FLAGS", "\\Deleted")
m.expunge()
m.logout()
`, v.host, v.port, v.user, dovecottest.Password, v.out)}
		}},
		{name: "poplib", program: "python3", pop: true, fetch: func(v *visit) []string {
			return []string{"python3", "-c", fmt.Sprintf(`
import poplib
m = poplib.POP3(%q, %s)
m.user(%q); m.pass_(%q)
for i in range(1, m.stat()[0] + 1):
    try:
        open(%q + "/%%d.eml" %% i, "wb").write(b"\r\n".join(m.retr(i)[1]))
        m.dele(i)
    except poplib.error_proto as e:
        assert b"SYS/TEMP" in e.args[0], e
m.quit()
`, v.host, v.port, v.user, dovecottest.Password, v.out)}
		}},
	}
}

// originals says which of the messages of a user stand unmasked below folders, by what is in their bodies.
func originals(t *testing.T, user string, dirs ...string) map[int]bool {
	t.Helper()
	found := map[int]bool{}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil //nolint:nilerr // files come and go
			}
			text, err := os.ReadFile(path)
			for i := 1; i <= 3; i++ {
				if strings.Contains(string(text), fmt.Sprintf("ORIGINAL-%d-%s.", i, user)) {
					found[i] = true
				}
			}
			return nil //nolint:nilerr // the same
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// losses is a gateway in front of which mail programs fetch and delete.
type losses struct {
	t               *testing.T
	server          *dovecottest.Server
	p               *lab.Postern
	dir, imap, pop3 string
}

// held is where originals are kept.
func (l *losses) held() string { return filepath.Join(l.p.DataDir, "quarantine") }

// run lets all mail programs fetch and delete, each for a user of its own, whose mailbox gets three messages unless they
// wait there already.
func (l *losses) run(mode string, wait bool) map[string]*visit {
	visits := map[string]*visit{}
	var all sync.WaitGroup
	room := make(chan struct{}, 6)
	for _, c := range deleters() {
		v := &visit{t: l.t, cert: filepath.Join(l.dir, "cert.pem"), user: fmt.Sprintf("del-%s-%s", c.name, mode), host: "localhost"}
		v.dir = filepath.Join(l.dir, v.user)
		v.out = filepath.Join(v.dir, "out")
		_, v.port, _ = strings.Cut(map[bool]string{false: l.imap, true: l.pop3}[c.pop], ":")
		if err := os.MkdirAll(v.out, 0o755); err != nil { //nolint:gosec // other users' programs write there
			l.t.Fatal(err)
		}
		visits[c.name] = v
		if !wait {
			v.fillThree(l.server)
		}
		all.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			v.once(c)
		})
	}
	all.Wait()
	return visits
}

// stands wants that every original stands somewhere: with want "later" all in the mailbox, with "masked" the bad one not
// with the program.
func (l *losses) stands(mode string, visits map[string]*visit, want string) {
	t := l.t
	t.Helper()
	for name, v := range visits {
		everywhere := originals(t, v.user, v.dir, filepath.Join(l.server.Dir, "mail", v.user), l.held(), filepath.Join(l.p.DataDir, "queue"))
		if len(everywhere) != 3 {
			t.Errorf("%s, %s: of three originals %v are left", mode, name, everywhere)
		}
		with, there := originals(t, v.user, v.dir), originals(t, v.user, filepath.Join(l.server.Dir, "mail", v.user))
		bad := with[2]
		// mbsync never asks again for a message that it heard NO for: it stays in the mailbox
		t.Logf("%s, %s: with the program %v, in the mailbox %v", mode, name, with, there)
		if want == "later" && (!there[1] || !there[2] || !there[3]) || want == "masked" && (bad || !with[1] || !with[3]) && (name != "mbsync" || !there[1] || !there[3]) {
			t.Errorf("%s, %s: with the program %v, in the mailbox %v", mode, name, with, there)
		}
	}
}

// Mail programs that fetch and delete, while the scanner is away, while nothing can be kept, with a bad message there, and
// once it was released: every original stands somewhere afterwards, in the mailbox, with the program, in the quarantine or
// on its way back.
func TestNoOriginalIsLost(t *testing.T) {
	t.Parallel()
	server := dovecottest.Start(t, dovecottest.Options{Performance: true})
	dir := lab.Dir(t)
	scanner := filepath.Join(dir, "scanner.sh")
	away := filepath.Join(dir, "away")
	if err := os.WriteFile(scanner, []byte("#!/bin/sh\ncat > /dev/null\n[ -e "+away+" ] && exit 77\nexit 0\n"), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	imap, imaps, pop3, pop3s := lab.FreePort(t), lab.FreePort(t), lab.FreePort(t), lab.FreePort(t)
	p := lab.NewPostern(t, program, accessSettings(t, server, dir, [4]string{imap, imaps, pop3, pop3s}, fmt.Sprintf("[filters.command]\nenabled = true\ncommand = [%q]\ntimeout = \"50s\"\nprocesses = 40\n", scanner)))
	p.Start(t)
	for _, c := range deleters() {
		lab.Need(t, c.program, c.program)
	}
	l := &losses{t, server, p, dir, imap, pop3}
	held, run, stands := l.held(), l.run, l.stands
	mark := func(file string, on bool) {
		t.Helper()
		_ = os.Remove(file) // it may not be there
		if on {
			if err := os.WriteFile(file, nil, 0o644); err != nil { //nolint:gosec // a mark
				t.Fatal(err)
			}
		}
	}

	mark(away, true)
	visits := run("scanner-away", false)
	stands("scanner away", visits, "later")
	mark(away, false)
	visits = run("scanner-away", true)
	stands("scanner back", visits, "masked")

	// nothing can be kept: the folder of the quarantine is gone
	if err := os.Rename(held, held+".away"); err != nil {
		t.Fatal(err)
	}
	mark(held, true)
	visits = run("no-room", false)
	for name, v := range visits {
		if there := originals(t, v.user, filepath.Join(server.Dir, "mail", v.user)); !there[2] {
			t.Errorf("nothing can be kept, %s: the bad one is gone", name)
		}
	}
	mark(held, false)
	if err := os.Rename(held+".away", held); err != nil {
		t.Fatal(err)
	}
	stands("nothing can be kept", visits, "")

	visits = run("bad", false)
	stands("a bad one is there", visits, "masked")
	released := 0
	for line := range strings.Lines(p.Run(t, "quarantine", "list", "--json", "--category", "all", "--limit", "1000")) {
		var item struct {
			ID      string
			Fetched struct{ Mailbox, Protocol string }
		}
		if err := json.Unmarshal([]byte(line), &item); err != nil || item.Fetched.Mailbox == "" {
			t.Fatalf("%v: %s", err, line)
		}
		if strings.HasSuffix(item.Fetched.Mailbox, "-bad") {
			p.Run(t, "explain", item.ID)
			p.Run(t, "quarantine", "release", item.ID)
			released++
		}
	}
	if released != len(visits) {
		t.Errorf("%d are kept, want one for each of %d mailboxes", released, len(visits))
	}
	stands("released", visits, "")

	// one that was released lies in the mailbox again, as it was: it is readable
	time.Sleep(1100 * time.Millisecond)
	for _, v := range visits {
		v.fillThree(server)
	}
	visits = run("bad", true)
	for name, v := range visits {
		if with := originals(t, v.user, v.dir); len(with) != 3 {
			t.Errorf("released, %s: readable are %v", name, with)
		}
	}
	if t.Failed() {
		t.Log(p.Log())
	}
}

// fillThree puts three messages into the user's mailbox, of which the second is bad.
func (v *visit) fillThree(s *dovecottest.Server) {
	for i := 1; i <= 3; i++ {
		text := fmt.Sprintf("ORIGINAL-%d-%s. Nothing to see here.\r\n", i, v.user)
		if i == 2 {
			text += gtube + "\r\n"
		}
		deliver(v.t, s, v.user, fmt.Sprintf("From: Ann <ann@example.org>\r\nTo: <%s@corp.test>\r\nSubject: number %d\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n"+
			"Message-ID: <%d.%s@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n%s", v.user, i, i, v.user, text))
	}
}

// once runs a program once. Whether it calls what happened an error is its own affair.
func (v *visit) once(c mailClient) {
	command := c.fetch(v)
	run := exec.Command("timeout", append([]string{"100"}, command...)...)
	run.Env = append(os.Environ(), "HOME="+v.dir, "TERM=vt100")
	out, err := run.CombinedOutput()
	v.t.Logf("%s: %v\n%s", v.user, err, out[max(0, len(out)-400):])
}
