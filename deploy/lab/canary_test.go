package lab_test

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/testing/dovecottest"
	"postern/internal/testing/lab"
)

// canaries are the words that must be nowhere: a password that lets in, one that does not, a token.
func canaries() []string {
	return []string{"kanarienvogel-gut", "kanarienvogel-falsch", "kanarienvogel-token"}
}

// loginDialogues are all ways in which a password or a token comes to a door, well formed and not.
func loginDialogues(password string) (imap, pop []string) {
	b := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	plain, bearer := b("\x00ann\x00"+password), b("user=ann\x01auth=Bearer "+password+"\x01\x01")
	oauth := b("n,a=ann,\x01auth=Bearer " + password + "\x01\x01")
	for _, sasl := range []string{"PLAIN " + plain, "PLAIN\r\n" + plain, "PLAIN " + plain + "!", "LOGIN\r\n" + b("ann") + "\r\n" + b(password), "LOGIN " + b("ann") + "\r\n" + b(password),
		"XOAUTH2 " + bearer, "XOAUTH2\r\n" + bearer, "OAUTHBEARER " + oauth, "OAUTHBEARER\r\n" + oauth, "CRAM-MD5\r\n" + b("ann "+password), "SCRAM-SHA-256 " + plain, password + " " + plain} {
		imap = append(imap, "a AUTHENTICATE "+sasl)
		pop = append(pop, "AUTH "+sasl)
	}
	imap = append(imap, "a LOGIN ann "+password, `a LOGIN "ann" "`+password+`"`, fmt.Sprintf("a LOGIN {3+}\r\nann {%d+}\r\n%s", len(password), password),
		"a LOGIN ann "+password+" more", `a LOGIN ann "`+password, "a LOGIN "+password, "a LOGIN ann "+password+"\x00", "a "+password, "a LOGIN ann {5}\r\n"+password)
	pop = append(pop, "USER ann\r\nPASS "+password, "USER ann\r\nPASS "+password+" more", "PASS "+password, "APOP ann "+password, "USER ann\r\nPASS "+password+"\x00", "X "+password)
	return imap, pop
}

// A password is in no log, no trace, no record, no metric and no dump of a crash, whatever way it took, at the most
// talkative level.
func TestPasswordsAreNowhere(t *testing.T) {
	t.Parallel()
	server := dovecottest.Start(t, dovecottest.Options{Performance: true, Extra: "\npassdb {\n  driver = static\n  args = password=" + canaries()[0] + "\n}\n"})
	dir := lab.Dir(t)
	at := [4]string{lab.FreePort(t), lab.FreePort(t), lab.FreePort(t), lab.FreePort(t)}
	metrics := lab.FreePort(t)
	settings := accessSettings(t, server, dir, at, fmt.Sprintf("[log]\nlevel = \"debug\"\n[metrics]\nlisten = %q\n[mail_access]\ntokens = true\nfail_delay = \"10ms\"\n[bans]\nnever = [\"127.0.0.0/8\"]\n", metrics))
	p := lab.NewPostern(t, program, settings)
	p.Start(t)
	heard, good := "", 0
	for _, password := range canaries() {
		imap, pop := loginDialogues(password)
		for door, lines := range map[int][]string{0: imap, 1: imap, 2: pop, 3: pop} {
			for _, line := range lines {
				said := tell(t, at[door], door%2 == 1, line+"\r\n"+map[bool]string{true: "z LOGOUT", false: "QUIT"}[door < 2]+"\r\n")
				heard += said
				if strings.Contains(said, "a OK") || strings.Contains(said, "+OK Logged in") || strings.Contains(said, "\r\n+OK") && strings.Contains(line, "PASS") {
					good++
				}
			}
		}
	}
	if good < 10 {
		t.Errorf("only %d logins succeed: %.3000s", good, heard)
	}
	r, err := http.Get("http://" + metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r.Body)
	if err != nil || !strings.Contains(string(text), "postern_") {
		t.Fatalf("%v: %.200s", err, text)
	}
	everything := map[string]string{"metrics": string(text), "answers": regexp.MustCompile(`(?m)^\S+ BAD`).ReplaceAllString(heard, "BAD")} // a tag is repeated
	// one that is logged in, and one whose login is under way, while the program dies with a dump of all that it does
	last := "a LOGIN ann " + canaries()[0]
	c, err := net.Dial("tcp", at[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, last+"\r\n")
	time.Sleep(time.Second) // what is written is written: the record of a connection comes within it
	_ = syscall.Kill(p.Pid(), syscall.SIGABRT)
	p.Stop()
	everything["log"] = p.Log()
	if !strings.Contains(everything["log"], "SIGABRT") || !strings.Contains(everything["log"], "level=DEBUG") && !strings.Contains(everything["log"], "level=INFO") {
		t.Errorf("no dump, or no log: %.500s", everything["log"])
	}
	err = filepath.WalkDir(p.DataDir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			text, failed := os.ReadFile(path)
			everything[path], err = string(text), failed
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range everything {
		for _, word := range canaries() {
			coded := base64.StdEncoding.EncodeToString([]byte("x" + word))[4:20] // of the SASL messages, one of three
			for _, form := range []string{word, coded, base64.StdEncoding.EncodeToString([]byte(word))[:16], base64.StdEncoding.EncodeToString([]byte("xx" + word))[4:20]} {
				if i := strings.Index(text, form); i >= 0 {
					t.Errorf("%s: %q", where, text[max(0, i-200):min(len(text), i+50)])
				}
			}
		}
	}
}

// tell says something and gives all that is answered.
func tell(t *testing.T, address string, withTLS bool, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if withTLS {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the certificate is not what is tested
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second)) // an answer that does not come is shorter
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	said, _ := io.ReadAll(c) // it may be cut off
	return string(said)
}
