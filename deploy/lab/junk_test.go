package lab_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/filters/classify/classifier"
	"postern/filters/classify/lessonlog"
	"postern/internal/testing/dovecottest"
	"postern/internal/testing/lab"
	"postern/policy/records/lessons"
)

// taughtGateway is a gateway in front of a Dovecot, as a user sees it who teaches it.
type taughtGateway struct {
	t      *testing.T
	p      *lab.Postern
	server *dovecottest.Server
	dir    string
	door   string
}

// lessonsOf waits until a user has given as many lessons, and gives them without their ids.
func (g *taughtGateway) lessonsOf(user string, want ...string) {
	g.t.Helper()
	slices.Sort(want)
	var got []string
	for range 100 {
		got = nil
		for line := range strings.Lines(g.p.Run(g.t, "learn", "list", "--json", "--limit", "1000", "--user", user)) {
			var l lessons.Lesson
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				g.t.Fatal(err)
			}
			text := fmt.Sprintf("%s %s %s %s", map[bool]string{true: "spam", false: "ham"}[l.Spam], l.How, l.Place, l.MessageID)
			if !l.Undone.IsZero() {
				text += ", taken back by " + l.UndoneBy
			}
			got = append(got, text)
		}
		slices.Sort(got)
		if slices.Equal(got, want) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	g.t.Errorf("%s: lessons %q, want %q", user, got, want)
}

// told waits until the classifier was told so much by a user.
func (g *taughtGateway) told(user string, want ...string) {
	g.t.Helper()
	var got []string
	for range 100 {
		got = nil
		for line := range strings.Lines(g.p.Run(g.t, "learn", "log", "--json", "--limit", "1000")) {
			var e lessonlog.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				g.t.Fatal(err)
			}
			if e.By == user && e.Kind == lessonlog.Taught {
				got = append(got, fmt.Sprintf("%s %s %s", e.Kind, map[bool]string{true: "spam", false: "ham"}[e.Spam], e.Way))
			} else if e.By == user {
				got = append(got, string(e.Kind))
			}
		}
		if slices.Equal(got, want) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	g.t.Errorf("%s: the classifier was told %q, want %q", user, got, want)
}

// python runs a script with m logged in as the user.
func (g *taughtGateway) python(user, script string) {
	g.t.Helper()
	host, port, _ := strings.Cut(g.door, ":")
	out, err := exec.Command("python3", "-c", fmt.Sprintf(`
import imaplib, time
def good(r):
    assert r[0] == "OK", r
    return r
m = imaplib.IMAP4(%q, %s)
m.login(%q, %q)
def n(*ids): # Dovecot does not say in which order it finds files of the same second
    return ",".join(good(m.uid("SEARCH", "HEADER", "Message-ID", "<%%d." %% i))[1][0].decode() for i in ids)
good(m.select("INBOX"))
%s
m.logout()
`, host, port, user, dovecottest.Password, script)).CombinedOutput()
	if err != nil {
		g.t.Errorf("%s: %v\n%s", user, err, out)
	}
}

// mbsync synchronises INBOX and Junk both ways.
func (g *taughtGateway) mbsync(v *visit) {
	g.t.Helper()
	rc := v.write("mbsyncrc", fmt.Sprintf("IMAPAccount a\nHost %s\nPort %s\nUser %s\nPass %s\nSSLType None\nAuthMechs LOGIN\n\nIMAPStore far\nAccount a\n\n"+
		"MaildirStore near\nPath %s/\nInbox %s/INBOX\nSubFolders Verbatim\n\nChannel c\nFar :far:\nNear :near:\nPatterns INBOX Junk\nCreate Both\nExpunge Both\nSync All\nSyncState *\n",
		v.host, v.port, v.user, dovecottest.Password, v.out, v.out))
	run := exec.Command("mbsync", "-c", rc, "c")
	run.Env = append(os.Environ(), "HOME="+v.dir)
	if out, err := run.CombinedOutput(); err != nil {
		g.t.Errorf("mbsync: %v\n%s", err, out)
	}
}

// move moves a message from one local folder of mbsync to another one, as a mail program does.
func (g *taughtGateway) move(v *visit, id, from, to string) {
	g.t.Helper()
	for _, sub := range []string{"cur", "new"} {
		files, err := filepath.Glob(filepath.Join(v.out, from, sub, "*"))
		if err != nil {
			g.t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil || !strings.Contains(string(text), id) {
				continue
			}
			name, _, _ := strings.Cut(filepath.Base(file), ",U=") // another folder gives another UID
			if err := os.Rename(file, filepath.Join(v.out, to, "cur", name+":2,S")); err != nil {
				g.t.Fatal(err)
			}
			return
		}
	}
	g.t.Fatalf("%s is not in %s", id, from)
}

// Users teach the gateway with the mail programs that they have, and take it back.
func TestLessonsFromJunk(t *testing.T) {
	t.Parallel()
	server := dovecottest.Start(t, dovecottest.Options{Performance: true})
	dir := lab.Dir(t)
	imap := lab.FreePort(t)
	p := lab.NewPostern(t, program, accessSettings(t, server, dir, [4]string{imap, lab.FreePort(t), lab.FreePort(t), lab.FreePort(t)}, ""))
	p.Start(t)
	for program, pkg := range map[string]string{"python3": "python3", "mbsync": "isync", "mutt": "mutt", "script": "bsdutils"} {
		lab.Need(t, program, pkg)
	}
	g := &taughtGateway{t, p, server, dir, imap}
	visitor := func(user string) *visit {
		v := &visit{t: t, user: user, cert: filepath.Join(dir, "cert.pem"), dir: filepath.Join(dir, user)}
		v.out = filepath.Join(v.dir, "out")
		if err := os.MkdirAll(v.out, 0o755); err != nil { //nolint:gosec // other users' programs write there
			t.Fatal(err)
		}
		v.host, v.port, _ = strings.Cut(imap, ":")
		return v
	}
	t.Run("move", func(t *testing.T) {
		fill(t, server, "mover", "")
		g.python("mover", `good(m.uid("MOVE", n(1, 2), "Junk"))`)
		g.lessonsOf("mover", "spam move Junk <1.mover@example.org>", "spam move Junk <2.mover@example.org>")
		g.python("mover", `good(m.select("Junk")); good(m.uid("MOVE", n(2), "INBOX")); good(m.uid("MOVE", n(1), "Trash"))`)
		g.lessonsOf("mover", "spam move Junk <1.mover@example.org>", "spam move Junk <2.mover@example.org>, taken back by mover")
		g.told("mover", "taught spam move", "taught spam move", "forgotten")
	})
	t.Run("two users who say the same", func(t *testing.T) {
		for _, user := range []string{"first", "second"} {
			deliver(t, server, user, "From: Eva <eva@shop.example>\r\nTo: <all@corp.test>\r\nSubject: pills for everybody\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <pills@shop.example>\r\n\r\nCheap pills without a doctor, delivered overnight to your door.\r\n")
			g.python(user, `good(m.uid("MOVE", "1:*", "Junk"))`)
			g.told(user, "taught spam move")
		}
		var s struct{ Classifier classifier.Status }
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) { // what was taken back before has it learn all anew, which nobody waits for
			err := json.Unmarshal([]byte(p.Run(t, "learn", "status", "--json")), &s)
			if err == nil && s.Classifier.Spam == 1 {
				break
			}
			if err != nil || time.Now().After(end) {
				t.Fatalf("%+v %v", s, err)
			}
		}
	})
	t.Run("copy and expunge", func(t *testing.T) {
		fill(t, server, "copier", "")
		g.python("copier", `good(m.uid("COPY", n(3), "Junk")); good(m.uid("STORE", n(3), "+FLAGS", "(\\Deleted)")); good(m.expunge()); good(m.copy("1", "Trash"))`)
		g.lessonsOf("copier", "spam copy Junk <3.copier@example.org>")
	})
	t.Run("flags", func(t *testing.T) {
		fill(t, server, "flagger", "")
		g.python("flagger", `good(m.uid("STORE", n(1, 2), "+FLAGS", "($Junk)")); good(m.uid("STORE", n(2), "-FLAGS", "($Junk)")); good(m.uid("STORE", n(4), "+FLAGS", "(NonJunk)")); good(m.uid("STORE", n(5), "+FLAGS", "(\\Seen $Junk $NotJunk)"))`)
		g.lessonsOf("flagger", "spam flag INBOX <1.flagger@example.org>", "spam flag INBOX <2.flagger@example.org>, taken back by flagger", "ham flag INBOX <4.flagger@example.org>")
	})
	t.Run("a masked message", func(t *testing.T) {
		fill(t, server, "wisher", "masked")
		g.python("wisher", `good(m.uid("MOVE", "1:5", "Junk"))`)
		for line := range strings.Lines(p.Run(t, "learn", "list", "--user", "wisher")) {
			p.Run(t, "learn", "undo", strings.Fields(line)[0])
		}
		g.python("wisher", `good(m.select("Junk")); good(m.uid("MOVE", n(3, 4), "INBOX"))`)
		by := ", taken back by root"
		g.lessonsOf("wisher", "spam move Junk <1.wisher@example.org>"+by, "spam move Junk <2.wisher@example.org>"+by, "spam move Junk <3.wisher@example.org>"+by,
			"spam move Junk <4.wisher@example.org>"+by, "spam move Junk <5.wisher@example.org>"+by, "ham release wanted INBOX <3.wisher@example.org>", "ham move INBOX <4.wisher@example.org>")
	})
	t.Run("mbsync", func(t *testing.T) {
		v := visitor("syncer")
		fill(t, server, v.user, "")
		g.mbsync(v)
		g.move(v, "<2.syncer@", "INBOX", "Junk")
		g.mbsync(v)
		g.lessonsOf(v.user, "spam append Junk <2.syncer@example.org>")
		g.move(v, "<2.syncer@", "Junk", "INBOX")
		g.mbsync(v)
		g.lessonsOf(v.user, "spam append Junk <2.syncer@example.org>, taken back by syncer")
	})
	t.Run("mutt", func(t *testing.T) {
		v := visitor("saver")
		fill(t, server, v.user, "")
		rc := v.write("muttrc", fmt.Sprintf("set folder=imap://%s/\nset imap_user=%s\nset imap_pass=%s\nset ssl_starttls=no\nset ssl_force_tls=no\nset delete=yes\nset mark_old=no\nset quit=yes\n"+
			"set confirmcreate=no\nset confirmappend=no\nset wait_key=no\nset imap_authenticators=login\nset sort=mailbox-order\n", imap, v.user, dovecottest.Password))
		run := exec.Command("script", "-qec", fmt.Sprintf("mutt -F %s -f imap://%s/INBOX -e 'push \"<limit>~i4.saver<enter><save-message>=Junk<enter><quit>\"'", rc, imap), "/dev/null")
		run.Env = append(os.Environ(), "HOME="+v.dir, "TERM=vt100")
		if out, err := run.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		g.lessonsOf(v.user, "spam copy Junk <4.saver@example.org>")
	})
	t.Run("a thousand", func(t *testing.T) {
		for range 200 {
			fill(t, server, "mass", "")
		}
		g.python("mass", `
begun = time.time()
good(m.uid("MOVE", "1:*", "Junk"))
assert time.time() - begun < 15, time.time() - begun
assert int(m.select("Junk")[1][0]) == 1000
`)
		var s lessons.Status
		for range 100 {
			if err := json.Unmarshal([]byte(p.Run(t, "learn", "status", "--json")), &s); err != nil {
				t.Fatal(err)
			}
			if s.Bulk == 950 {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if s.Bulk != 950 {
			t.Errorf("%+v", s)
		}
	})
	if log := p.Log(); strings.Contains(log, "panick") || strings.Contains(log, "level=ERROR") {
		t.Error(log)
	}
}
