package lab_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"postern/internal/testing/lab"
)

const (
	idleConnections = 5000
	idleKiB         = 20 // at most, for each
)

// Thousands of idle connections cost little, and a new client is still answered. SL-03.
func TestIdleConnections(t *testing.T) {
	raiseFileLimit(t, 3*idleConnections)
	door, hop := lab.FreePort(t), lab.FreePort(t)
	p := lab.NewPostern(t, program, settings(door, hop, "[smtp]\nmax_connections = 20000\nmax_per_network = 20000\n[log]\nlevel = \"error\""))
	p.Start(t)
	before := residentKiB(t, p.Pid())
	conns := make([]net.Conn, 0, idleConnections)
	defer func() {
		for _, c := range conns {
			_ = c.Close() // the test is over
		}
	}()
	for n := range idleConnections {
		c, err := net.Dial("tcp", door)
		if err != nil {
			t.Fatalf("connection %d: %v", n, err)
		}
		conns = append(conns, c)
		if line := firstLine(t, c); !strings.HasPrefix(line, "220 ") {
			t.Fatalf("connection %d: %q", n, line)
		}
	}
	each := float64(residentKiB(t, p.Pid())-before) / idleConnections
	t.Logf("%d idle connections: %.1f KiB each", idleConnections, each)
	if each > idleKiB {
		t.Errorf("%.1f KiB for each idle connection, at most %d", each, idleKiB)
	}
	c, err := lab.DialClient(door, "")
	if err != nil {
		t.Fatalf("a new client is not served: %v", err)
	}
	c.Close()
}

// One network can't take all connections, and all networks together no more than the limit; who is refused hears 421.
func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	door, hop := lab.FreePort(t), lab.FreePort(t)
	p := lab.NewPostern(t, program, settings(door, hop, "[smtp]\nmax_connections = 12\nmax_per_network = 5"))
	p.Start(t)
	open := func(from string) string {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := dialer.Dial("tcp", door)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return firstLine(t, c)[:4]
	}
	answers := ""
	for n := range 8 { // 127.0.1.0/24
		answers += open(fmt.Sprintf("127.0.1.%d", n+1))
	}
	for n := range 10 { // 127.0.2.0/24 to 127.0.11.0/24
		answers += open(fmt.Sprintf("127.0.%d.1", n+2))
	}
	want := strings.Repeat("220 ", 5) + strings.Repeat("421 ", 3) + strings.Repeat("220 ", 7) + strings.Repeat("421 ", 3)
	if answers != want {
		t.Errorf("answers %s, want %s", answers, want)
	}
	p.Stop()
	if refused := strings.Count(p.Log(), "refused: too many connections"); refused != 6 {
		t.Errorf("%d records of refused connections in the log, want 6", refused)
	}
}

func firstLine(t *testing.T, c net.Conn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReaderSize(c, 256).ReadString('\n')
	if err != nil {
		t.Fatalf("no greeting: %q %v", line, err)
	}
	return line
}

func raiseFileLimit(t *testing.T, want uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= want {
		return
	}
	limit.Cur, limit.Max = want, max(limit.Max, want)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		lab.Missing(t, fmt.Sprintf("the limit of open files is too low and can't be raised: %v", err))
	}
}

// residentKiB is the resident memory of a process.
func residentKiB(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
