package lab_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/testing/dovecottest"
	"postern/internal/testing/hoptest"
	"postern/internal/testing/lab"
)

// pupil is a gateway that is taught in every way that there is, by real programs and a real Dovecot.
type pupil struct {
	*taughtGateway
	smtp string
}

// letter is a message about something, which no other is about.
func (p *pupil) letter(about string) string {
	return fmt.Sprintf("From: Eva <eva@%s.example>\r\nTo: <ann@corp.test>\r\nSubject: all about %s\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <%s@shop.example>\r\n\r\n"+
		"The %s that everybody talks of: order %s now, %sly cheap and %sless forever.\r\n", about, about, about, about, about, about, about)
}

func (p *pupil) file(name, text string) string {
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}

	return path
}

var told = regexp.MustCompile(`probability of spam (over |under )?([0-9.]+) %`)

// chance is how probable the gateway thinks it that a letter is spam, in per cent: 50 if it says nothing.
func (p *pupil) chance(about string) float64 {
	p.t.Helper()
	out, _ := exec.Command(p.p.Program, "check", "--json", "-c", p.p.Config, p.file("asked.eml", p.letter(about))).Output() // it fails for bad mail
	m := told.FindSubmatch(out)
	if m == nil {
		return 50
	}
	c, err := strconv.ParseFloat(string(m[2]), 64)
	if err != nil {
		p.t.Fatal(err)
	}

	return c
}

// taught judges a letter, has it taught, and judges it again.
func (p *pupil) taught(about string, spam bool, teach func()) {
	p.t.Helper()
	before := p.chance(about)
	teach()
	after := before
	for range 100 {
		if after = p.chance(about); spam && after > before+5 || !spam && after < before-5 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	p.t.Errorf("%s: %.1f %% before, %.1f %% afterwards, taught as spam %v", about, before, after, spam)
}

func (p *pupil) swaks(args ...string) {
	p.t.Helper()
	host, port, _ := strings.Cut(p.smtp, ":")
	if out, err := exec.Command("swaks", append([]string{"--server", host, "--port", port, "--helo", "client.test"}, args...)...).CombinedOutput(); err != nil {
		p.t.Errorf("swaks %v: %v\n%s", args, err, out)
	}
}

// held sends a letter from outside, which policy holds, and gives its id.
func (p *pupil) held(about string) string {
	p.t.Helper()
	p.swaks("--local-interface", "127.0.0.9", "--from", "eva@"+about+".example", "--to", "ann@corp.test", "--data", "@"+p.file("held.eml", p.letter(about)))
	id := strings.TrimSpace(p.p.Run(p.t, "quarantine", "list", "--ids"))
	if id == "" || strings.Contains(id, "\n") {
		p.t.Fatalf("held are %q, want one message", id)
	}

	return id
}

// The same message is judged before and after it is taught: by the command line, a release and a deletion, a report of a user, a mailbox
// that the gateway reads, and a move into Junk.
func TestTaughtInEveryWay(t *testing.T) {
	t.Parallel()
	lab.Need(t, "swaks", "swaks")
	lab.Need(t, "python3", "python3")
	server := dovecottest.Start(t, dovecottest.Options{})
	dir := lab.Dir(t)
	imap, smtp := lab.FreePort(t), lab.FreePort(t)
	hop := hoptest.New(t, hoptest.Options{})
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(dovecottest.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rules := filepath.Join(dir, "policy.toml")
	if err := os.WriteFile(rules, []byte("[[rule]]\nname = \"all of Eva's\"\nwhen = 'subject.startsWith(\"all about\")'\ndirection = \"in\"\naction = \"quarantine\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := accessSettings(t, server, dir, [4]string{imap, lab.FreePort(t), lab.FreePort(t), lab.FreePort(t)}, fmt.Sprintf(`
[[door]]
name = "mx"
listen = %q
[filters.classify]
ham = 1
spam = 1
sure = 2
quorum = 1
[report_addresses]
spam = ["spam@corp.test"]
ham = ["ham@corp.test"]
[policy]
file = %q
[[learn_folder]]
user = "public"
password_file = %q
folder = "INBOX"
label = "spam"
every = "1h"
`, smtp, rules, password))
	settings = "trusted_networks = [\"127.0.0.1\"]\n" + strings.Replace(settings, `addresses = ["127.0.0.1:9"]`, fmt.Sprintf("addresses = [%q]\ntls = \"none\"", hop.Addr()), 1)
	p := &pupil{&taughtGateway{t, lab.NewPostern(t, program, settings), server, dir, imap}, smtp}
	p.p.Start(t)

	p.p.Run(t, "learn", "ham", p.file("m.eml", p.letter("meadows"))) // it says nothing before it knows both kinds
	p.p.Run(t, "learn", "spam", p.file("m.eml", p.letter("prizes")))
	p.taught("gardens", false, func() { p.p.Run(t, "learn", "ham", p.file("g.eml", p.letter("gardens"))) })
	p.taught("pills", true, func() { p.p.Run(t, "learn", "spam", p.file("p.eml", p.letter("pills"))) })
	p.taught("watches", true, func() {
		report := "From: ann@corp.test\r\nTo: spam@corp.test\r\nSubject: FW\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n" +
			"--b\r\nContent-Type: message/rfc822\r\nContent-Disposition: attachment; filename=\"watches.eml\"\r\n\r\n" + p.letter("watches") + "\r\n--b--\r\n"
		p.swaks("--from", "ann@corp.test", "--to", "spam@corp.test", "--data", "@"+p.file("report.eml", report))
	})
	p.taught("loans", true, func() {
		deliver(t, server, "public", p.letter("loans"))
		var reports []struct{ Messages int }
		if err := json.Unmarshal([]byte(p.p.Run(t, "learn", "folders", "--json")), &reports); err != nil || len(reports) != 1 || reports[0].Messages != 1 {
			t.Errorf("learn folders: %+v, %v; want one message", reports, err)
		}
		if again := p.p.Run(t, "learn", "folders"); !strings.Contains(again, "0 new messages") {
			t.Errorf("learn folders once more: %s", again)
		}
	})
	p.taught("casinos", true, func() {
		deliver(t, server, "ann", p.letter("casinos"))
		p.python("ann", `good(m.uid("MOVE", "1:*", "Junk"))`)
	})
	p.taught("orchids", false, func() { p.p.Run(t, "quarantine", "release", "--learn", p.held("orchids")) })
	p.taught("lottery", true, func() { p.p.Run(t, "quarantine", "delete", "--learn", p.held("lottery")) })
}
