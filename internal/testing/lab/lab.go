// Package lab starts real servers from Debian for the tests: as child processes, on high ports of 127.0.0.1, with
// folders of their own. It installs what is missing and starts no service.
package lab

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"postern/internal/testing/port"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Need makes sure that a program is there, from the Debian package that holds it. Where that can't be, a test is skipped
// with a reason, but not in CI.
func Need(t testing.TB, program, pkg string) string {
	t.Helper()
	if path := find(program); path != "" {
		return path
	}
	if err := install(pkg); err != nil {
		Missing(t, fmt.Sprintf("%s is not here and %s can't be installed: %v", program, pkg, err))
	}
	path := find(program)
	if path == "" {
		Missing(t, fmt.Sprintf("%s is not in %s", program, pkg))
	}
	return path
}

// Missing ends a test for want of what it needs: a failure in CI, elsewhere a skip with the reason.
func Missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func find(program string) string {
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/usr/lib/postfix/sbin", "/usr/lib/dovecot"} {
		if _, err := os.Stat(filepath.Join(dir, program)); err == nil {
			return filepath.Join(dir, program)
		}
	}
	return ""
}

// install installs a Debian package without letting it start anything.
func install(pkg string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("that takes root")
	}
	script := `set -e
export DEBIAN_FRONTEND=noninteractive
made=no
if [ ! -e /usr/sbin/policy-rc.d ]; then printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; made=yes; fi
trap 'if [ $made = yes ]; then rm -f /usr/sbin/policy-rc.d; fi' EXIT
echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
apt-get install -y -o DPkg::Lock::Timeout=600 --no-install-recommends "$1" || { apt-get update -o DPkg::Lock::Timeout=600; apt-get install -y -o DPkg::Lock::Timeout=600 --no-install-recommends "$1"; }`
	out, err := exec.Command("bash", "-c", script, "install", pkg).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, tail(string(out)))
	}
	return nil
}

func tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], " / ")
}

// Dir makes a folder that other users, such as postfix, may read; tests' own folders are closed to them.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "postern-lab-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// FreePort finds a port of 127.0.0.1 that nobody listens at.
func FreePort(t testing.TB) string {
	t.Helper()

	return fmt.Sprint("127.0.0.1:", port.Free(t))
}

// Start runs a program until the test ends and waits until the address answers.
func Start(t testing.TB, address string, name string, args ...string) *exec.Cmd {
	t.Helper()
	log, err := os.CreateTemp("", "postern-lab-log-")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // it may have ended
		done := make(chan struct{})
		go func() { _ = cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-done
		}
		_ = log.Close()
		_ = os.Remove(log.Name())
	})
	WaitPort(t, address, func() string { text, _ := os.ReadFile(log.Name()); return string(text) })
	return cmd
}

// WaitPort waits until an address answers; why says what the server printed if it does not.
func WaitPort(t testing.TB, address string, why func() string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = c.Close()
			return
		}
	}
	t.Fatalf("nobody answers at %s: %s", address, why())
}
