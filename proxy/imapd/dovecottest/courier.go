package dovecottest

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"postern/deploy/lab"
)

// Courier runs a real Courier IMAP server until the test ends, and gives its address. Debian's package conflicts with that
// of Dovecot, so it is not installed but unpacked; logins are taken by a listener of ours, with Password and any name.
func Courier(t testing.TB) (address string) {
	t.Helper()
	dir := lab.Dir(t)
	run := func(folder, program string, args ...string) {
		t.Helper()
		cmd := exec.Command(program, args...)
		cmd.Dir = folder
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Join(dir, "usr/lib"))
		if out, err := cmd.CombinedOutput(); err != nil {
			lab.Missing(t, program+": "+err.Error()+": "+string(out))
		}
	}
	run(dir, "apt-get", "download", "courier-imap", "courier-base", "courier-authlib", "libcourier-unicode4")
	packages, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(packages) != 4 {
		t.Fatalf("%q, %v", packages, err)
	}
	for _, p := range packages {
		run(dir, "dpkg", "-x", p, dir)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	maildirs := func(user string) string {
		home := filepath.Join(dir, "home", filepath.Base(user))
		if _, err := os.Stat(home); err != nil {
			_ = os.MkdirAll(home, 0o700) // the next command says it
			run(home, filepath.Join(dir, "usr/bin/maildirmake.courier"), "Maildir")
		}
		return home
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go courierLogin(c.(*net.TCPConn), dir, maildirs)
		}
	}()
	return l.Addr().String()
}

const courierCapability = "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE"

// courierLogin takes one LOGIN and hands the connection to the server, as Courier's own login program does.
func courierLogin(c *net.TCPConn, dir string, home func(user string) string) {
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte("* OK [CAPABILITY " + courierCapability + "] Courier ready.\r\n")); err != nil {
		return
	}
	line, one := "", make([]byte, 1)
	for !strings.HasSuffix(line, "\r\n") { // not an octet more: they are the server's
		if n, err := c.Read(one); n == 0 || err != nil || len(line) > 1000 {
			return
		}
		line += string(one)
	}
	words := strings.Fields(strings.ReplaceAll(line, `"`, ""))
	if len(words) != 4 || words[1] != "LOGIN" || words[3] != Password {
		_, _ = c.Write([]byte("* BYE LOGIN is all there is\r\n")) // a courtesy
		return
	}
	f, err := c.File()
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	cmd := exec.Command(filepath.Join(dir, "usr/bin/imapd"), "Maildir")
	cmd.Dir, cmd.Stdin = home(words[2]), f
	cmd.Env = []string{"LD_LIBRARY_PATH=" + filepath.Join(dir, "usr/lib"), "IMAP_CAPABILITY=" + courierCapability, "IMAP_KEYWORDS=1", "IMAP_USELOCKS=0",
		"AUTHENTICATED=" + words[2], "AUTHADDR=" + words[2], "MAILDIRPATH=Maildir", "HOME=" + cmd.Dir, "IMAP_TRASHFOLDERNAME=Trash", "PATH=" + os.Getenv("PATH")}
	out, err := cmd.StdoutPipe()
	if err != nil || cmd.Start() != nil {
		return
	}
	said := bufio.NewReader(out)
	if greeting, err := said.ReadString('\n'); err == nil && strings.HasPrefix(greeting, "* PREAUTH") { // it takes him for logged in
		if _, err := c.Write([]byte(words[0] + " OK LOGIN Ok.\r\n")); err == nil {
			_, _ = io.Copy(c, said) // it ends with the connection
		}
	}
	_ = cmd.Wait() // the same
}
