package lab_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/internal/testing/dovecottest"
	"postern/internal/testing/lab"
)

// delivered numbers the files of all mailboxes.
var delivered atomic.Int64

// marker is text of the bad message that must not reach any mail program.
const marker = "MARKER-OF-BAD-CONTENT"

// gtube makes a message bad: the content rules know it.
const gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

// mailClient is one mail program: how it fetches all of a mailbox into a folder, twice with the same state.
type mailClient struct {
	name, program, pkg string
	pop                bool
	// fetch gives the command; it may write what it needs into the visit's folder.
	fetch func(v *visit) []string
}

// visit is one user of one program.
type visit struct {
	t                                *testing.T
	dir, out, user, host, port, cert string
	tls                              bool
}

func (v *visit) write(name, text string) string {
	v.t.Helper()
	path := filepath.Join(v.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		v.t.Fatal(err)
	}
	return path
}

// choose gives one word for TLS, another without.
func (v *visit) choose(withTLS, without string) string {
	if v.tls {
		return withTLS
	}
	return without
}

func mailClients() []mailClient {
	return []mailClient{
		{name: "mbsync", program: "mbsync", pkg: "isync", fetch: func(v *visit) []string {
			rc := v.write("mbsyncrc", fmt.Sprintf("IMAPAccount a\nHost %s\nPort %s\nUser %s\nPass %s\nSSLType %s\nCertificateFile %s\nAuthMechs %s\n\n"+
				"IMAPStore far\nAccount a\n\nMaildirStore near\nPath %s/\nInbox %s/INBOX\n\nChannel c\nFar :far:\nNear :near:\nPatterns INBOX\nSync Pull\nSyncState *\n",
				v.host, v.port, v.user, dovecottest.Password, v.choose("IMAPS", "None"), v.cert, v.choose("*", "LOGIN"), v.out, v.out))
			return []string{"mbsync", "-c", rc, "c"}
		}},
		{name: "fetchmail-imap", program: "fetchmail", pkg: "fetchmail", fetch: func(v *visit) []string { return fetchmail(v, "imap") }},
		{name: "fetchmail-pop3", program: "fetchmail", pkg: "fetchmail", pop: true, fetch: func(v *visit) []string { return fetchmail(v, "pop3") }},
		{name: "getmail-imap", program: "getmail", pkg: "getmail6", fetch: func(v *visit) []string { return getmail(v, "IMAP") }},
		{name: "getmail-pop3", program: "getmail", pkg: "getmail6", pop: true, fetch: func(v *visit) []string { return getmail(v, "POP3") }},
		{name: "mutt", program: "mutt", pkg: "mutt", fetch: func(v *visit) []string {
			rc := v.write("muttrc", fmt.Sprintf("set folder=%s\nset imap_user=%s\nset imap_pass=%s\nset ssl_starttls=no\nset ssl_force_tls=no\nset certificate_file=%s\nset ssl_verify_host=no\n"+
				"set confirmcreate=no\nset confirmappend=no\nset mbox_type=Maildir\nset delete=no\nset mark_old=no\nset auto_tag=no\nset quit=yes\nset timeout=5\nset wait_key=no\nset header_cache=%s/hc\nset imap_authenticators=login\n",
				v.dir, v.user, dovecottest.Password, v.cert, v.dir))
			box := fmt.Sprintf("%s://%s:%s/INBOX", v.choose("imaps", "imap"), v.host, v.port)
			return []string{"script", "-qec", fmt.Sprintf("mutt -F %s -f %s -e 'push \"<tag-pattern>.<enter><tag-prefix><copy-message>%s/box<enter><quit>\"'", rc, box, v.out), "/dev/null"}
		}},
		{name: "offlineimap", program: "offlineimap", pkg: "offlineimap3", fetch: func(v *visit) []string {
			rc := v.write("offlineimaprc", fmt.Sprintf("[general]\naccounts = a\nmetadata = %s/meta\nui = basic\nmaxsyncaccounts = 1\n[Account a]\nlocalrepository = l\nremoterepository = r\n"+
				"[Repository l]\ntype = Maildir\nlocalfolders = %s\n[Repository r]\ntype = IMAP\nremotehost = %s\nremoteport = %s\nremoteuser = %s\nremotepass = %s\nssl = %s\nstarttls = no\nsslcacertfile = %s\nauth_mechanisms = PLAIN, LOGIN\nreadonly = true\nfolderfilter = lambda f: f == 'INBOX'\n",
				v.dir, v.out, v.host, v.port, v.user, dovecottest.Password, v.choose("yes", "no"), v.cert))
			return []string{"offlineimap", "-c", rc, "-o"}
		}},
		{name: "mpop", program: "mpop", pkg: "mpop", pop: true, fetch: func(v *visit) []string {
			rc := v.write("mpoprc", fmt.Sprintf("account default\nhost %s\nport %s\nuser %s\npassword %s\ntls %s\ntls_starttls off\ntls_trust_file %s\nkeep on\nauth user\ndelivery mbox %s/box\nuidls_file %s/uidls\n",
				v.host, v.port, v.user, dovecottest.Password, v.choose("on", "off"), v.choose(v.cert, ""), v.out, v.dir))
			return []string{"mpop", "-C", rc}
		}},
		{name: "curl-imap", program: "curl", pkg: "curl", fetch: func(v *visit) []string { return curlAll(v, "imap", "/INBOX;UID=%d") }},
		{name: "curl-pop3", program: "curl", pkg: "curl", pop: true, fetch: func(v *visit) []string { return curlAll(v, "pop3", "/%d") }},
		{name: "imaplib", program: "python3", pkg: "python3", fetch: func(v *visit) []string {
			return []string{"python3", "-c", fmt.Sprintf(`
import imaplib, ssl
c = ssl.create_default_context(cafile=%q)
m = imaplib.IMAP4_SSL(%q, %s, ssl_context=c) if %s else imaplib.IMAP4(%q, %s)
m.login(%q, %q)
n = int(m.select("INBOX", readonly=True)[1][0])
i = 0
for r in m.fetch("1:*", "(RFC822.SIZE BODY.PEEK[])")[1]:
    if isinstance(r, tuple):
        i += 1
        assert b"RFC822.SIZE %%d " %% len(r[1]) in r[0] + b" ", r[0]
        open(%q + "/%%d.eml" %% i, "wb").write(r[1])
for r in m.fetch("1:*", "(BODY.PEEK[1]<5.4000> BODY.PEEK[TEXT] BODYSTRUCTURE)")[1]:
    if isinstance(r, tuple):
        i += 1
        open(%q + "/part%%d" %% i, "wb").write(r[1])
m.logout()
assert n == 5, n
`, v.cert, v.host, v.port, v.choose("True", "False"), v.host, v.port, v.user, dovecottest.Password, v.out, v.out)}
		}},
		{name: "poplib", program: "python3", pkg: "python3", pop: true, fetch: func(v *visit) []string {
			return []string{"python3", "-c", fmt.Sprintf(`
import poplib, ssl
c = ssl.create_default_context(cafile=%q)
m = poplib.POP3_SSL(%q, %s, context=c) if %s else poplib.POP3(%q, %s)
m.user(%q); m.pass_(%q)
n = m.stat()[0]
for i in range(1, n + 1):
    size = int(m.list(i).split()[2])
    raw = b"\r\n".join(m.retr(i)[1]) + b"\r\n"
    assert len(raw) == size, (len(raw), size)
    open(%q + "/%%d.eml" %% i, "wb").write(raw)
    open(%q + "/top%%d" %% i, "wb").write(b"\r\n".join(m.top(i, 99999)[1]))
m.quit()
assert n == 5, n
`, v.cert, v.host, v.port, v.choose("True", "False"), v.host, v.port, v.user, dovecottest.Password, v.out, v.out)}
		}},
	}
}

func fetchmail(v *visit, protocol string) []string {
	mda := v.write("deliver", fmt.Sprintf("#!/bin/sh\nexec cat > %s/$$.eml\n", v.out))
	_ = os.Chmod(mda, 0o700)
	rc := v.write("fetchmailrc", fmt.Sprintf("set idfile %s/ids\npoll %s protocol %s service %s auth password uidl\nuser %s password %s keep fetchall %s mda %s\n",
		v.dir, v.host, protocol, v.port, v.user, dovecottest.Password, v.choose("ssl sslcertck sslcertfile "+v.cert, "sslproto ''"), mda))
	if protocol == "imap" {
		text, _ := os.ReadFile(rc)
		rc = v.write("fetchmailrc", strings.Replace(string(text), " uidl\n", "\n", 1))
	}
	return []string{"env", "FETCHMAILHOME=" + v.dir, "fetchmail", "-f", rc, "--nodetach", "--nosyslog", "--pidfile", filepath.Join(v.dir, "pid")}
}

// getmailPatient lets the children of getmail begin a moment later: getmail forks one for each message, and only then begins to
// listen for its end (ForkingBase in getmailcore/baseclasses.py), so that it waits for minutes if the child is the quicker one.
const getmailPatient = `import os, runpy, sys, time
fork = os.fork
def patient():
    pid = fork()
    if pid == 0:
        time.sleep(0.3)
    return pid
os.fork = patient
sys.argv = ["getmail"] + sys.argv[1:]
runpy.run_path("/usr/bin/getmail", run_name="__main__")
`

// getmail runs as another user: as root it refuses to deliver.
func getmail(v *visit, protocol string) []string {
	rc := v.write("getmailrc", fmt.Sprintf("[retriever]\ntype = Simple%s%sRetriever\nserver = %s\nport = %s\nusername = %s\npassword = %s\n%s\n[destination]\ntype = Maildir\npath = %s/\n[options]\nread_all = true\ndelete = false\n",
		protocol, v.choose("SSL", ""), v.host, v.port, v.user, dovecottest.Password, v.choose("ca_certs = "+v.cert, ""), v.out))
	for _, dir := range []string{"new", "cur", "tmp"} {
		_ = os.Mkdir(filepath.Join(v.out, dir), 0o700) // it may be there from the first run
	}
	if out, err := exec.Command("chown", "-R", "mail:mail", v.dir).CombinedOutput(); err != nil {
		v.t.Errorf("chown: %s", out)
	}
	return []string{"setpriv", "--reuid=mail", "--regid=mail", "--clear-groups", "/usr/bin/python3", "-c", getmailPatient, "--getmaildir", v.dir, "--rcfile", rc}
}

func curlAll(v *visit, scheme, path string) []string {
	script := "set -e\n"
	for i := 1; i <= 5; i++ {
		url := fmt.Sprintf("%s://%s:%s"+path, scheme+v.choose("s", ""), v.host, v.port, i)
		script += fmt.Sprintf("curl -sS --fail --max-time 100 --cacert %s --user %s:%s '%s' -o %s/%d.eml\n", v.cert, v.user, dovecottest.Password, url, v.out, i)
	}
	return []string{"sh", "-c", script}
}

// fill puts five messages into a user's mailbox; the third may be bad or slow to scan.
func fill(t *testing.T, s *dovecottest.Server, user, mode string) {
	t.Helper()
	for i := 1; i <= 5; i++ {
		text := "Nothing to see here.\r\n.leading dot\r\n"
		if i == 3 && mode == "masked" {
			text = gtube + "\r\n" + marker + "\r\n"
		}
		if i == 3 && mode == "slow" {
			text = "PLEASE-SCAN-SLOWLY\r\n"
		}
		raw := fmt.Sprintf("From: Ann <ann@example.org>\r\nTo: <%s@corp.test>\r\nSubject: number %d of %s\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <%d.%s@example.org>\r\n"+
			"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n%s--b\r\nContent-Type: application/octet-stream; name=x.dat\r\nContent-Transfer-Encoding: base64\r\n\r\n%s\r\n--b--\r\n",
			user, i, user, i, user, text, base64.StdEncoding.EncodeToString([]byte(strings.Repeat(marker[:len(marker)*boolInt(mode == "masked" && i == 3)]+" data ", 3))))
		deliver(t, s, user, raw)
	}
}

// deliver puts a message into a user's Maildir.
func deliver(t *testing.T, s *dovecottest.Server, user, raw string) {
	t.Helper()
	home := filepath.Join(s.Dir, "mail", user)
	for _, dir := range []string{"", "new", "cur", "tmp"} {
		if err := os.MkdirAll(filepath.Join(home, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(home, dir), 8, 8); err != nil {
			t.Fatal(err)
		}
	}
	n := delivered.Add(1)
	path := filepath.Join(home, "new", fmt.Sprintf("%d.%d.test", time.Now().Unix(), n))
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(raw, "\r\n", "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 8, 8); err != nil {
		t.Fatal(err)
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// got counts which of the five messages are in a folder, and looks for the marker in plain and in base64.
func got(t *testing.T, dir, user string) (n int, leaked bool) {
	t.Helper()
	seen := map[string]bool{}
	id := regexp.MustCompile(`<([1-5])\.` + regexp.QuoteMeta(user) + `@example\.org>`)
	coded := base64.StdEncoding.EncodeToString([]byte(marker))[:20]
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range id.FindAllSubmatch(text, -1) {
			seen[string(m[1])] = true
		}
		leaked = leaked || bytes.Contains(text, []byte(marker)) || bytes.Contains(text, []byte(coded))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return len(seen), leaked
}

// Real mail programs fetch a mailbox of five through the doors, of which one is bad, or slow to scan: each ends with all
// five, twice, without an error and without an octet of what is bad.
func TestMailClients(t *testing.T) { // not beside others: it runs sixteen programs at once
	server := dovecottest.Start(t, dovecottest.Options{Performance: true})
	dir := lab.Dir(t)
	slow := filepath.Join(dir, "slow.sh")
	if err := os.WriteFile(slow, []byte("#!/bin/sh\nif grep -q PLEASE-SCAN-SLOWLY; then sleep 25; fi\nexit 0\n"), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	imap, imaps, pop3, pop3s := lab.FreePort(t), lab.FreePort(t), lab.FreePort(t), lab.FreePort(t)
	p := lab.NewPostern(t, program, accessSettings(t, server, dir, [4]string{imap, imaps, pop3, pop3s}, fmt.Sprintf("[filters.command]\nenabled = true\ncommand = [%q]\ntimeout = \"50s\"\nprocesses = 40\n", slow)))
	p.Start(t)
	for _, c := range mailClients() {
		lab.Need(t, c.program, c.pkg)
	}
	var all sync.WaitGroup
	room := make(chan struct{}, 16)
	for _, mode := range []string{"slow", "masked", "clean"} {
		for _, withTLS := range []bool{true, false} {
			for _, c := range mailClients() {
				v := &visit{t: t, tls: withTLS, cert: filepath.Join(dir, "cert.pem"), user: fmt.Sprintf("%s-%s-%t", c.name, mode, withTLS)}
				v.dir = filepath.Join(dir, v.user)
				v.out = filepath.Join(v.dir, "out")
				if err := os.MkdirAll(v.out, 0o755); err != nil { //nolint:gosec // other users' programs write there
					t.Fatal(err)
				}
				address := map[[2]bool]string{{false, false}: imap, {false, true}: imaps, {true, false}: pop3, {true, true}: pop3s}[[2]bool{c.pop, withTLS}]
				_, v.port, _ = strings.Cut(address, ":")
				v.host = "localhost"
				fill(t, server, v.user, mode)
				all.Go(func() {
					room <- struct{}{}
					defer func() { <-room }()
					v.run(c)
				})
			}
		}
	}
	all.Wait()
	if strings.Contains(p.Log(), dovecottest.Password) {
		t.Error("a password is in the log")
	}
	if t.Failed() {
		t.Log(p.Log())
		for _, id := range regexp.MustCompile(`msg=connection id=(\S+) `).FindAllStringSubmatch(p.Log(), -1) {
			t.Log(p.Run(t, "explain", id[1])) // how many octets it was sent, for one that hung
		}
	}
}

func (v *visit) run(c mailClient) {
	command := c.fetch(v)
	once := func() (out []byte, err error) {
		ctx, cancel := context.WithTimeout(context.Background(), 150*time.Second)
		defer cancel()
		run := exec.CommandContext(ctx, command[0], command[1:]...)
		run.Env = append(os.Environ(), "HOME="+v.dir, "TERM=vt100")
		return run.CombinedOutput()
	}
	for i := 1; i <= 2; i++ {
		out, err := once()
		n, leaked := got(v.t, v.out, v.user)
		if err != nil || n != 5 || leaked {
			v.t.Errorf("%s, run %d: %d of 5, leaked %t, %v\n%s", v.user, i, n, leaked, err, out[:min(len(out), 1500)])
		}
	}
}

// accessSettings is a gateway with the four doors for mail programs.
func accessSettings(t *testing.T, server *dovecottest.Server, dir string, at [4]string, more string) string {
	t.Helper()
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Cert.Certificate[0]})
	if err := os.WriteFile(filepath.Join(dir, "cert.pem"), cert, 0o644); err != nil { //nolint:gosec // a certificate is public
		t.Fatal(err)
	}
	doors := ""
	for i, d := range []string{`"imap"`, `"imap"`, `"pop3"`, `"pop3"`} {
		doors += fmt.Sprintf("[[door]]\nname = \"d%d\"\nprotocol = %s\nlisten = %q\nmax_connections = 500\n", i, d, at[i])
		if i%2 == 0 {
			doors += "tls = \"none\"\nrequire_tls_for_auth = false\n"
		} else {
			doors += "tls = \"implicit\"\n"
		}
	}
	return fmt.Sprintf(`hostname = "gw.test"
data_dir = "%%DATA%%"
domains = ["corp.test"]
%s
[tls]
[[tls.certificate]]
cert = %q
key = %q
[next_hop."default"]
addresses = ["127.0.0.1:9"]
[mail_backend."default"]
imap = [%q]
pop3 = [%q]
ca_file = %q
forward_client = true
[dns]
servers = ["127.0.0.1:9"]
timeout = "100ms"
%s`, doors, filepath.Join(server.Dir, "cert.pem"), filepath.Join(server.Dir, "key.pem"), server.IMAPS, server.POP3S, filepath.Join(dir, "cert.pem"), more)
}
