package imapd_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/testing/dovecottest"
	"postern/internal/testing/lab"
	"postern/proxy/access"
	"postern/proxy/frame"
	"postern/proxy/imapd"
)

// Measurements, run if POSTERN_MEASURE is set.

// What a session with TLS on both sides may take, in KiB: at rest, where the aim is 32, and at rest after a large fetch.
const (
	freshKiB = 40
	bulkKiB  = 96
)

// idleSessions is how many are measured.
const idleSessions = 5000

// TestIdleMemory measures idle sessions, before and after each fetched 300 KB.
func TestIdleMemory(t *testing.T) {
	if os.Getenv("POSTERN_MEASURE") == "" {
		t.Skip("POSTERN_MEASURE is not set")
	}
	backend := bulkBackend(t)
	address, pid := process(t, backend, "implicit")
	resident := func() float64 {
		time.Sleep(5 * time.Second) // a collection of garbage comes in between
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), "VmRSS:")
		n, _ := strconv.Atoi(strings.Fields(rest)[0])
		return float64(n)
	}
	var all []*client
	open := func(n int) {
		for range n {
			c := dial(t, address, &tls.Config{InsecureSkipVerify: true})
			_ = c.conn.SetDeadline(time.Now().Add(10 * time.Minute))
			c.login("bob", dovecottest.Password)
			all = append(all, c)
		}
	}
	open(50) // what the first ones need for all
	before := resident()
	open(idleSessions)
	fresh := (resident() - before) / idleSessions
	for _, c := range all {
		c.do("b", "FETCH 1 BODY[]")
		c.in = nil
	}
	bulk := (resident() - before) / idleSessions
	t.Logf("%d idle sessions with TLS on both sides: %.1f KiB resident each, %.1f after 300 KB each", idleSessions, fresh, bulk)
	if fresh > freshKiB || bulk > bulkKiB {
		t.Errorf("at most %d and %d", freshKiB, bulkKiB)
	}
}

// bulkBackend is a server with TLS that takes every login and has one message of 300 KB.
func bulkBackend(t *testing.T) string {
	t.Helper()
	cert, _ := dovecottest.Certificate(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	body := "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 300_000/72)
	speak := func(c io.ReadWriteCloser) {
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, "* OK [CAPABILITY IMAP4rev1] ready\r\n")
		for lines := bufio.NewScanner(c); lines.Scan(); {
			tag, command, _ := strings.Cut(lines.Text(), " ")
			if strings.HasPrefix(command, "FETCH") {
				_, _ = fmt.Fprintf(c, "* 1 FETCH (BODY[] {%d}\r\n%s)\r\n", len(body), body)
			}
			_, _ = io.WriteString(c, tag+" OK [CAPABILITY IMAP4rev1] done\r\n")
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go speak(c)
		}
	}()
	return l.Addr().String()
}

// TestMeasuredDoor is the door in a process of its own, until its input ends.
func TestMeasuredDoor(t *testing.T) {
	backend := os.Getenv("POSTERN_MEASURED_DOOR")
	if backend == "" {
		t.Skip("it is part of others")
	}
	cert, _ := dovecottest.Certificate(t)
	d := open(t, access.Backend{Address: backend, TLS: access.TLSMode(os.Getenv("POSTERN_MEASURED_TLS")), Trust: &tls.Config{InsecureSkipVerify: true}},
		func(o *imapd.Options, gate *access.Options, _ *frame.Options) {
			o.TLS, o.Implicit, gate.MaxSessions = &tls.Config{Certificates: []tls.Certificate{cert}}, true, 10000
			gate.Log, o.Log = nil, nil
		})
	go func() {
		for range time.Tick(time.Second) {
			debug.FreeOSMemory()
		}
	}()
	fmt.Println("door at " + d.address)
	_, _ = io.ReadAll(os.Stdin)
}

// process starts the door as a process of its own in front of an address, and gives its address and its id.
func process(t *testing.T, backend, mode string) (address string, pid int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestMeasuredDoor$", "-test.v")
	cmd.Env = append(os.Environ(), "POSTERN_MEASURED_DOOR="+backend, "POSTERN_MEASURED_TLS="+mode)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	for address == "" && lines.Scan() {
		_, address, _ = strings.Cut(lines.Text(), "door at ")
	}
	return address, cmd.Process.Pid
}

// haproxy starts HAProxy with TLS in front of an address.
func haproxy(t *testing.T, v *dovecottest.Server) string {
	t.Helper()
	program := lab.Need(t, "haproxy", "haproxy")
	dir, address := lab.Dir(t), lab.FreePort(t)
	var chain bytes.Buffer
	for _, name := range []string{"cert.pem", "key.pem"} {
		text, err := os.ReadFile(filepath.Join(v.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		if err := pem.Encode(&chain, block); err != nil {
			t.Fatal(err)
		}
	}
	config := "global\n nbthread 2\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\nfrontend f\n bind " + address + " ssl crt " + dir + "/all.pem\n default_backend b\nbackend b\n server s " + v.IMAP + "\n"
	for name, text := range map[string]string{"all.pem": chain.String(), "haproxy.cfg": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lab.Start(t, address, program, "-db", "-f", dir+"/haproxy.cfg")
	return address
}

// Known messages come through at a speed that is near that of a proxy that looks at nothing.
func TestThroughput(t *testing.T) {
	if os.Getenv("POSTERN_MEASURE") == "" {
		t.Skip("POSTERN_MEASURE is not set")
	}
	v := dovecottest.Start(t, dovecottest.Options{Performance: true})
	owner := dial(t, v.IMAP, nil)
	owner.login("bob", dovecottest.Password)
	const messages, size = 100, 200 << 10
	text := "Subject: x\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", size/72)
	for range messages {
		appendMessage(owner, "INBOX", text)
	}
	door, _ := process(t, v.IMAP, "none")
	speed := map[string]float64{}
	for name, address := range map[string]string{"HAProxy": haproxy(t, v), "the door": door} {
		c := dial(t, address, &tls.Config{InsecureSkipVerify: true})
		c.login("bob", dovecottest.Password)
		c.do("s", "EXAMINE INBOX")
		fetch := func() { // reads without looking
			c.send("f FETCH 1:* (UID BODY.PEEK[])\r\n")
			b := make([]byte, 256<<10)
			for tail := ""; !strings.Contains(tail, "\r\nf OK"); {
				n, err := c.conn.Read(b)
				if err != nil {
					t.Fatal(err)
				}
				tail = tail[max(0, len(tail)-100):] + string(b[max(0, n-100):n])
			}
		}
		fetch()
		begun := time.Now()
		const rounds = 10
		for range rounds {
			fetch()
		}
		speed[name] = rounds * messages * float64(len(text)) / time.Since(begun).Seconds() / (1 << 20)
	}
	t.Logf("FETCH of known messages over TLS: HAProxy %.0f MiB/s, the door %.0f MiB/s (%.0f %%)", speed["HAProxy"], speed["the door"], 100*speed["the door"]/speed["HAProxy"])
	if speed["the door"] < 0.3*speed["HAProxy"] {
		t.Error("too slow")
	}
}

// Logins a second through the door and through HAProxy, which does nothing but TLS.
func TestLoginCost(t *testing.T) {
	if os.Getenv("POSTERN_MEASURE") == "" {
		t.Skip("POSTERN_MEASURE is not set")
	}
	v := dovecottest.Start(t, dovecottest.Options{Performance: true})
	door, pid := process(t, v.IMAP, "none")
	const logins = 500
	cpu := func() float64 {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		f := strings.Fields(string(text[bytes.LastIndexByte(text, ')'):]))
		user, _ := strconv.Atoi(f[12])
		system, _ := strconv.Atoi(f[13])
		return float64(user+system) * 10 // ms, at the usual 100 ticks
	}
	before, begun := cpu(), time.Now()
	for range logins {
		c := dial(t, door, &tls.Config{InsecureSkipVerify: true})
		c.login("bob", dovecottest.Password)
		c.do("z", "LOGOUT")
		_ = c.conn.Close()
	}
	t.Logf("%.2f ms of processor time and %.2f ms in all for a login over TLS", (cpu()-before)/logins, float64(time.Since(begun).Milliseconds())/logins)
}
