package lab

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Build builds the program once for a test binary. Call it from TestMain.
func Build(dir string) (string, error) {
	program := filepath.Join(dir, "postern")
	cmd := exec.Command("go", "build", "-trimpath", "-o", program, "postern/cmd/postern") // as in make build
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
	killed                   bool
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
	t.Cleanup(func() {
		p.Stop()
		p.complete(t, settings)
	})
	return p
}

// complete wants that every connection at every door has left exactly one record, under the id that stands in the log: in
// every test in which the program was not killed, and whose ledger is a file.
func (p *Postern) complete(t testing.TB, settings string) {
	t.Helper()
	if p.killed || t.Failed() || strings.Contains(settings, "postgres") || strings.Contains(settings, "level =") {
		return
	}
	accepted := 0
	for _, m := range regexp.MustCompile(`msg="door closed" door=\S+ accepted=(\d+)`).FindAllStringSubmatch(p.Log(), -1) {
		n, _ := strconv.Atoi(m[1]) // digits
		accepted += n
	}
	const limit = 10_000 // that one search gives
	if accepted == 0 || accepted > limit {
		return
	}
	records := map[string]int{}
	out, err := exec.Command(p.Program, "ledger", "connections", "--json", "--limit", strconv.Itoa(limit), "-c", p.Config).Output()
	if err != nil {
		t.Errorf("ledger connections: %v: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		var record struct{ ID string }
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		records[record.ID]++
	}
	if len(records) != accepted {
		t.Errorf("%d connections came, %d left a record", accepted, len(records))
	}
	for _, m := range regexp.MustCompile(`msg=connection id=(\S+)`).FindAllStringSubmatch(p.Log(), -1) {
		if records[m[1]] != 1 {
			t.Errorf("connection %s has %d records", m[1], records[m[1]])
		}
	}
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
		p.killed = true
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
