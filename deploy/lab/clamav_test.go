package lab_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/testing/hoptest"
	"postern/internal/testing/lab"
)

// eicar is the EICAR test file, in two pieces so that no scanner minds this source.
func eicar() string {
	return `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-` + `ANTIVIRUS-TEST-FILE!$H+H*`
}

// startClamd starts a real clamd that knows EICAR and a marker, and nothing else.
func startClamd(t *testing.T) (address string, cmd *exec.Cmd) {
	t.Helper()
	clamd := lab.Need(t, "clamd", "clamav-daemon")
	dir := lab.Dir(t)
	db := filepath.Join(dir, "db")
	if err := os.Mkdir(db, 0o755); err != nil {
		t.Fatal(err)
	}
	// target 0 is any file; the hexadecimal text is what it holds
	write(t, filepath.Join(db, "lab.ndb"), fmt.Sprintf("Lab.Eicar-1:0:*:%x\nLab.Marker-1:0:*:%x\n", eicar()[:40], "lab-marker-of-something-bad"))
	address = lab.FreePort(t)
	_, port, _ := strings.Cut(address, ":")
	conf := filepath.Join(dir, "clamd.conf")
	write(t, conf, fmt.Sprintf("Foreground yes\nTCPSocket %s\nTCPAddr 127.0.0.1\nDatabaseDirectory %s\nTemporaryDirectory %s\nStreamMaxLength 1M\nMaxThreads 4\nUser root\n", port, db, dir))
	return address, lab.Start(t, address, clamd, "-c", conf)
}

func TestClamAVThroughTheDoor(t *testing.T) {
	t.Parallel()
	clamd, process := startClamd(t)
	hop := hoptest.New(t, hoptest.Options{})
	door := lab.FreePort(t)
	dir := lab.Dir(t)
	policy := filepath.Join(dir, "policy.toml")
	// what our own filters say of EICAR must not hide what clamd says
	write(t, policy, "[actions]\nEICAR = \"none\"\nMIME_AMBIGUOUS = \"none\"\n[scores]\nEICAR = 0\n")
	p := lab.NewPostern(t, program, fmt.Sprintf(`hostname = "gw.test"
data_dir = "%%DATA%%"
domains = ["corp.test"]
[[door]]
name = "mx"
listen = %q
[next_hop."default"]
addresses = [%q]
tls = "none"
[dns]
servers = ["127.0.0.1:9"]
timeout = "200ms"
[policy]
file = %q
[filters.clamav]
enabled = true
addresses = [%q]
timeout = "4s"
`, door, hop.Addr(), policy, clamd))
	p.Start(t)
	send := func(raw string) (int, string) {
		t.Helper()
		c, err := lab.DialClient(door, "")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		code, text, err := c.Send("bob@friend.example", "ann@corp.test", []byte(strings.ReplaceAll(raw, "\n", "\r\n")))
		if err != nil {
			t.Fatal(err)
		}
		return code, text
	}
	head := "From: bob@friend.example\nDate: Mon, 02 Mar 2026 12:00:00 +0000\nMessage-ID: <1@friend.example>\nSubject: report\nMIME-Version: 1.0\n"
	b64 := base64.StdEncoding.EncodeToString([]byte(eicar()))
	attached := head + "Content-Type: multipart/mixed; boundary=B\n\n--B\nContent-Type: text/plain\n\nsee the attachment\n--B\nContent-Type: application/octet-stream; name=report.bin\nContent-Transfer-Encoding: base64\n\n"
	for name, raw := range map[string]string{
		"attached":      attached + b64 + "\n--B--\n",
		"one CTE hides": strings.Replace(attached, "Content-Transfer-Encoding: base64", "Content-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64", 1) + b64 + "\n--B--\n",
		"plain":         head + "Content-Type: text/plain\n\n" + eicar() + "\n",
		"by its words":  head + "Content-Type: text/plain\n\nlab-marker-of-something-bad\n",
	} {
		if code, text := send(raw); code != 550 || !strings.Contains(text, "virus") {
			t.Errorf("%s: %d %s", name, code, text)
		}
	}
	if code, text := send(head + "Content-Type: text/plain\n\nhello\n"); code != 250 {
		t.Errorf("a clean one: %d %s", code, text)
	}
	delivered := len(hop.Messages())
	// longer than clamd takes: not clean, so held
	long := attached + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("0123456789abcdef"), 100_000))
	if code, text := send(long + "\n--B--\n"); code != 250 || !strings.Contains(text, "taken as") {
		t.Errorf("one that is too long for clamd: %d %s", code, text)
	}
	// clamd stands still in mid-scan, then it is killed: neither is clean
	if err := process.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	answers := make(chan string, 2)
	for range 2 {
		go func() {
			code, text := send(head + "Content-Type: text/plain\n\nhello again\n")
			answers <- fmt.Sprint(code, " ", text)
		}()
	}
	time.Sleep(500 * time.Millisecond)
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if said := <-answers; !strings.HasPrefix(said, "451 ") {
			t.Errorf("clamd was killed in mid-scan: %s", said)
		}
	}
	if code, text := send(head + "Content-Type: text/plain\n\nhello\n"); code != 451 {
		t.Errorf("clamd is gone: %d %s", code, text)
	}
	if n := len(hop.Messages()); n != delivered {
		t.Errorf("%d messages passed without a scan", n-delivered)
	}
}
