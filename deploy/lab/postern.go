package lab

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Build builds the program once for a test binary. Call it from TestMain.
func Build(dir string) (string, error) {
	program := filepath.Join(dir, "postern")
	cmd := exec.Command("go", "build", "-o", program, "postern/cmd/postern")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return program, nil
}

// Postern is the real program at work.
type Postern struct {
	Program, Config, DataDir string
	cmd                      *exec.Cmd
	log                      string
}

// NewPostern writes the configuration; %DATA% in it is the data folder. Start starts it.
func NewPostern(t testing.TB, program, settings string) *Postern {
	t.Helper()
	dir := Dir(t)
	p := &Postern{Program: program, Config: filepath.Join(dir, "postern.toml"), DataDir: filepath.Join(dir, "data"), log: filepath.Join(dir, "log")}
	settings = strings.ReplaceAll(settings, "%DATA%", p.DataDir)
	if err := os.WriteFile(p.Config, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop() })
	return p
}

// Start starts it and waits for "postern: ready".
func (p *Postern) Start(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command(p.Program, "serve", "-c", p.Config)
	p.cmd.Stderr = log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "postern: ready" {
		p.Kill()
		t.Fatalf("serve said %q, %v: %s", line, err, p.Log())
	}
}

// Pid is that of the running program.
func (p *Postern) Pid() int { return p.cmd.Process.Pid }

// Kill ends it without a word: kill -9.
func (p *Postern) Kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill() // it may have ended
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

// Stop asks it to end, and waits.
func (p *Postern) Stop() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	done := make(chan struct{})
	go func() { _ = p.cmd.Wait(); close(done) }()
	select {
	case <-done:
		p.cmd = nil
	case <-time.After(40 * time.Second):
		p.Kill()
	}
}

// Log is what it logged.
func (p *Postern) Log() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Run runs another command of the program with the same configuration and gives what it printed.
func (p *Postern) Run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(p.Program, append(args, "-c", p.Config)...).CombinedOutput()
	if err != nil {
		t.Fatalf("postern %v: %v: %s", args, err, out)
	}
	return string(out)
}
