package app_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The shipped filter finds the client of each refusal, and of no other line; no text of a client makes it match another
// address.
func TestFail2banFilter(t *testing.T) {
	t.Parallel()
	l := newLife(t, noWorld())
	c := l.dial("mx")
	c.say("MAIL FROM:<anna@friend.example>", 250)
	c.say("RCPT TO:<nosuch@ours.test>", 550)
	c.say(`RCPT TO:<"x client=192.0.2.9 reply=\"550\""@elsewhere.test>`, 550)
	c.say("RCPT TO:<ben@ours.test>", 250)
	c.say("QUIT", 221)
	c = l.from("127.0.0.1", "mx")
	c.say("", 220)
	c.say(`EHLO [IPv6:2001:db8::1]`, 250)
	c.say("MAIL FROM:<>", 250)
	c.say("RCPT TO:<u@far.test>", 550)
	c.say("QUIT", 221)
	l.send("ben@ours.test", "deliver me", 250)
	l.send("ben@ours.test", "not now", 451)

	regexes := failRegexes(t)
	want := 0
	var lines []string
	for line := range strings.Lines(l.log.String()) {
		line = strings.TrimSpace(line)
		if !strings.Contains(line, "level=INFO") {
			continue
		}
		lines = append(lines, line)
		refused := strings.Contains(line, " msg=refused ") && strings.Contains(line, ` reply="5`)
		if refused {
			want++
		}
		found := ""
		for _, r := range regexes {
			if m := r.FindStringSubmatch(line); m != nil {
				found = m[1]
			}
		}
		if (found != "") != refused || found != "" && found != "127.0.0.1" {
			t.Errorf("found %q in %s", found, line)
		}
	}
	if want < 3 {
		t.Errorf("%d refusals in the log:\n%s", want, strings.Join(lines, "\n"))
	}
	runFail2ban(t, lines, want)
}

// failRegexes are the filter's, as another program reads them.
func failRegexes(t *testing.T) (all []*regexp.Regexp) {
	t.Helper()
	text, err := os.ReadFile("../../../deploy/fail2ban/postern.conf")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if i := strings.Index(line, `^\s*(?:`); i >= 0 {
			all = append(all, regexp.MustCompile(strings.ReplaceAll(strings.TrimSpace(line[i:]), "<ADDR>", `([0-9a-fA-F.:]+)`)))
		}
	}
	if len(all) != 2 {
		t.Fatalf("%d expressions", len(all))
	}
	return all
}

// runFail2ban asks fail2ban itself, where it is installed.
func runFail2ban(t *testing.T, lines []string, want int) {
	t.Helper()
	program, err := exec.LookPath("fail2ban-regex")
	if err != nil {
		t.Log("fail2ban is not installed: only the expressions were tried")
		return
	}
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	filter, err := filepath.Abs("../../../deploy/fail2ban/postern.conf")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, "-o", "ip", log, filter).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	found := strings.Fields(string(out))
	if len(found) != want || strings.Count(string(out), "127.0.0.1") != want {
		t.Errorf("fail2ban finds %q, want %d times 127.0.0.1", found, want)
	}
}
