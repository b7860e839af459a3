package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
)

// script writes a program that anybody may run.
func script(t *testing.T, text string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "postern-command-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "scan")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func inspect(t *testing.T, settings map[string]any) (string, error) {
	t.Helper()
	f, err := Spec.New(config.NewSection("filters.command", settings), filters.Env{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	m := mail.NewMessage([]byte("From: a@b.example\r\nSubject: x\r\n\r\n" + strings.Repeat("hello\r\n", 50_000)))
	found, err := f.Inspect(t.Context(), &mail.Transaction{Session: &mail.Session{}, Message: m})
	var all []string
	for _, one := range found {
		all = append(all, one.Symbol+" "+one.Evidence)
	}
	return strings.Join(all, ", "), err
}

func TestExitCodes(t *testing.T) {
	for text, want := range map[string]string{
		"exit 0": "",
		"grep -q '^Subject: x' && echo seen && exit 1": "COMMAND_HIT seen",
		"echo bad; echo more; exit 2":                  "COMMAND_REFUSE bad",
		"printf 'a\\033[2Jb'; exit 1":                  "COMMAND_HIT a?[2Jb",
		"yes | head -c 1000000; exit 1":                "COMMAND_HIT y",
		"exit 3":                                       "error",
		"kill -9 $$":                                   "error",
		"cat >/dev/null; sleep 20":                     "error",
		"sleep 20 & exit 1":                            "COMMAND_HIT ",
	} {
		start := time.Now()
		got, err := inspect(t, map[string]any{"command": []string{script(t, text)}, "timeout": "2s"})
		if err != nil {
			got = "error"
		}
		if got != want || time.Since(start) > 8*time.Second {
			t.Errorf("%q: %q %v, want %q, took %v", text, got, err, want, time.Since(start))
		}
	}
}

// The program has nothing of ours: no environment, no files, not our user, and no more than its share.
func TestTheProgramIsFenced(t *testing.T) {
	t.Setenv("POSTERN_SECRET", "s3cret")
	for text, want := range map[string]string{
		`[ -z "$POSTERN_SECRET" ] && exit 1; exit 0`:                "COMMAND_HIT ",
		`[ "$(ls -A . | wc -l)" = 0 ] && exit 1; exit 0`:            "COMMAND_HIT ",
		`[ "$(ls /proc/self/fd | wc -l)" -le 7 ] && exit 1; exit 0`: "COMMAND_HIT ",
		`[ "$(ulimit -n)" = 64 ] && exit 1; exit 0`:                 "COMMAND_HIT ",
		`x=a; while :; do x=$x$x; done`:                             "error",
	} {
		got, err := inspect(t, map[string]any{"command": []string{script(t, text)}, "memory": "100MB", "timeout": "5s"})
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %q %v", text, got, err)
		}
	}
	if os.Geteuid() == 0 {
		if got, err := inspect(t, map[string]any{"command": []string{script(t, `[ "$(id -u)" != 0 ] && exit 1; exit 0`)}}); got != "COMMAND_HIT " || err != nil {
			t.Errorf("it runs as root: %q %v", got, err)
		}
	}
}

func TestSettings(t *testing.T) {
	for want, settings := range map[string]map[string]any{
		"command is missing": {}, "not a whole path": {"command": []string{"scan"}}, "not a program": {"command": []string{"/etc/passwd"}},
		"timeout": {"command": []string{"/bin/true"}, "timeout": "2m"},
	} {
		if _, err := Spec.New(config.NewSection("filters.command", settings), filters.Env{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", settings, err)
		}
	}
	got, err := inspect(t, map[string]any{"command": []string{"/bin/true"}, "max_size": "1KB"})
	if err != nil || !strings.HasPrefix(got, "COMMAND_NOT_SCANNED") {
		t.Error(got, err)
	}
}
