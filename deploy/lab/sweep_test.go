package lab_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/testing/dovecottest"
	"postern/internal/testing/lab"
	"postern/proxy/retrieval/sweep"
)

// What an admin called back is moved out of the mailboxes of those who have it, of nobody else, and nothing else.
func TestSweep(t *testing.T) {
	t.Parallel()
	server := dovecottest.Start(t, dovecottest.Options{Performance: true, Extra: "\nauth_master_user_separator = *\npassdb {\n  driver = static\n  master = yes\n  args = password=master\n}\nplugin {\n  acl_user = %u\n  master_user = %u\n}\n"})
	dir := lab.Dir(t)
	imap := lab.FreePort(t)
	master := filepath.Join(dir, "master")
	if err := os.WriteFile(master, []byte("master\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := strings.Replace(accessSettings(t, server, dir, [4]string{imap, lab.FreePort(t), lab.FreePort(t), lab.FreePort(t)}, ""),
		"forward_client = true", "forward_client = true\nmaster_user = \"gw\"\nmaster_separator = \"*\"\nmaster_password_file = "+`"`+master+`"`, 1)
	p := lab.NewPostern(t, program, settings)
	p.Start(t)
	lab.Need(t, "python3", "python3")
	g := &taughtGateway{t, p, server, dir, imap}
	raw := "From: a@example.org\r\nSubject: x\r\nMessage-ID: <bad@example.org>\r\n\r\nRun this.\r\n"
	for _, user := range []string{"ann", "bob", "eve"} {
		fill(t, server, user, "")
		if user != "eve" {
			deliver(t, server, user, raw)
		}
		deliver(t, server, user, strings.Replace(raw, "<bad@", "<not-bad@", 1))
		deliver(t, server, user, strings.Replace(raw, "<bad@", "<twice@", 1))
		g.python(user, `good(m.uid("COPY", n(1), "Trash"))`) // so that the ledger knows him
	}
	p.Run(t, "recall", "add", "--message-id", "<bad@example.org>")
	p.Run(t, "recall", "add", "--message-id", "<1.ann@example.org>")
	twice := sha256.Sum256([]byte(strings.Replace(raw, "<bad@", "<twice@", 1) + "another"))
	p.Run(t, "recall", "add", "--message-id", "<twice@example.org>", "--sha256", hex.EncodeToString(twice[:]))
	reports := func(args ...string) map[string]sweep.Report {
		t.Helper()
		out, err := exec.Command(p.Program, append([]string{"sweep", "--backend", "default", "--json", "-c", p.Config}, args...)...).Output()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		all := map[string]sweep.Report{}
		for line := range strings.Lines(string(out)) {
			var r sweep.Report
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			all[r.User] = r
		}
		return all
	}
	found := map[string]int{"ann": 3, "bob": 1, "eve": 0}
	for name, args := range map[string][]string{"dry run": {"--dry-run"}, "one": {"--user", "bob"}, "all": nil} {
		if name == "all" {
			continue // the last one
		}
		for user, r := range reports(args...) {
			if r.Found != found[user] || name == "dry run" && r.Moved != 0 || r.Error != "" || r.Mailboxes < 3 {
				t.Errorf("%s: %+v", name, r)
			}
		}
	}
	all := reports()
	if len(all) != 3 || all["ann"].Moved != 3 || all["eve"].Found != 0 || all["ann"].Others != 1 {
		t.Errorf("%+v", all)
	}
	for user, n := range map[string]string{"ann": "[b'3']", "bob": "[b'1']"} {
		g.python(user, `
r = good(m.select("Quarantine"))
assert str(r[1]) == "`+n+`", r
good(m.select("INBOX"))
assert good(m.search(None, "HEADER", "Message-ID", "<bad@"))[1] == [b""]
assert good(m.search(None, "HEADER", "Message-ID", "<not-bad@"))[1] != [b""]
assert good(m.search(None, "HEADER", "Message-ID", "<twice@"))[1] != [b""]
`)
	}
	if out, err := exec.Command(p.Program, "sweep", "--backend", "nobody", "-c", p.Config).CombinedOutput(); err == nil || !strings.Contains(string(out), "nobody") {
		t.Errorf("%v: %s", err, out)
	}
}
