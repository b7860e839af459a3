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

	"postern/internal/testing/lab"
)

// CourierServer has the addresses of a running Courier.
type CourierServer struct {
	IMAP, POP3 string
	// Home makes a user's folder, in which his Maildir is.
	Home func(user string) string
}

// Courier runs a real Courier with IMAP and POP3 until the test ends. Debian's package conflicts with that
// of Dovecot, so it is not installed but unpacked; logins are taken by a listener of ours, with Password and any name.
func Courier(t testing.TB) CourierServer {
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
	run(dir, "apt-get", "download", "courier-imap", "courier-pop", "courier-base", "courier-authlib", "libcourier-unicode4", "libgamin0")
	packages, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(packages) != 6 {
		t.Fatalf("%q, %v", packages, err)
	}
	for _, p := range packages {
		run(dir, "dpkg", "-x", p, dir)
	}
	home := func(user string) string {
		home := filepath.Join(dir, "home", filepath.Base(user))
		for _, folder := range []string{"tmp", "new", "cur"} {
			_ = os.MkdirAll(filepath.Join(home, "Maildir", folder), 0o700) // the server says it
		}
		return home
	}
	listen := func(login func(c *net.TCPConn, dir string, home func(string) string)) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go login(c.(*net.TCPConn), dir, home)
			}
		}()
		return l.Addr().String()
	}
	return CourierServer{IMAP: listen(courierIMAP), POP3: listen(courierPOP3), Home: home}
}

const courierCapability = "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE"

// courierIMAP takes one LOGIN and hands the connection to the server, as Courier's own login program does.
func courierIMAP(c *net.TCPConn, dir string, home func(user string) string) {
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte("* OK [CAPABILITY " + courierCapability + "] Courier ready.\r\n")); err != nil {
		return
	}
	words := courierWords(c)
	if len(words) != 4 || words[1] != "LOGIN" || words[3] != Password {
		_, _ = c.Write([]byte("* BYE LOGIN is all there is\r\n")) // a courtesy
		return
	}
	courier(c, filepath.Join(dir, "usr/bin/imapd"), dir, home(words[2]), words[2], words[0]+" OK LOGIN Ok.\r\n")
}

// courierPOP3 does the same by USER and PASS.
func courierPOP3(c *net.TCPConn, dir string, home func(user string) string) {
	defer func() { _ = c.Close() }()
	user := ""
	for said := "+OK Courier ready.\r\n"; ; {
		if _, err := c.Write([]byte(said)); err != nil {
			return
		}
		words := append(courierWords(c), "", "")
		switch {
		case words[0] == "CAPA":
			said = "+OK\r\nUSER\r\nTOP\r\nUIDL\r\nPIPELINING\r\n.\r\n"
		case words[0] == "USER":
			user, said = words[1], "+OK\r\n"
		case words[0] == "PASS" && user != "" && words[1] == Password:
			courier(c, filepath.Join(dir, "usr/lib/courier/courier/courierpop3d"), dir, home(user), user, "+OK logged in.\r\n")
			return
		case words[0] == "" || words[0] == "QUIT":
			return
		default:
			said = "-ERR\r\n"
		}
	}
}

// courierWords reads the words of a line.
func courierWords(c *net.TCPConn) []string {
	line, one := "", make([]byte, 1)
	for !strings.HasSuffix(line, "\r\n") { // not an octet more: they are the server's
		if n, err := c.Read(one); n == 0 || err != nil || len(line) > 1000 {
			return nil
		}
		line += string(one)
	}
	return strings.Fields(strings.ReplaceAll(line, `"`, ""))
}

// courierLibraries are the folders of shared libraries in the unpacked packages.
func courierLibraries(dir string) string {
	folders, err := filepath.Glob(filepath.Join(dir, "usr/lib/*-linux-gnu*"))
	if err != nil { // the pattern is a good one
		return ""
	}
	return strings.Join(append(folders, filepath.Join(dir, "usr/lib")), ":")
}

// courier runs a server for a user who is logged in. Its greeting becomes the answer to the login.
func courier(c *net.TCPConn, program, dir, home, user, answer string) {
	f, err := c.File()
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	cmd := exec.Command(program, "Maildir")
	cmd.Dir, cmd.Stdin = home, f
	cmd.Env = []string{"LD_LIBRARY_PATH=" + courierLibraries(dir), "IMAP_CAPABILITY=" + courierCapability, "IMAP_KEYWORDS=1", "IMAP_USELOCKS=0",
		"AUTHENTICATED=" + user, "AUTHADDR=" + user, "MAILDIRPATH=Maildir", "HOME=" + home, "IMAP_TRASHFOLDERNAME=Trash", "PATH=" + os.Getenv("PATH")}
	out, err := cmd.StdoutPipe()
	if err != nil || cmd.Start() != nil {
		return
	}
	said := bufio.NewReader(out)
	if _, err := said.ReadString('\n'); err == nil {
		if _, err := c.Write([]byte(answer)); err == nil {
			_, _ = io.Copy(c, said) // it ends with the connection
		}
	}
	_ = cmd.Wait() // the same
}
