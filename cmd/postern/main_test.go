package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"postern/cmd/postern/app"
	"postern/internal/config"
	"postern/internal/testing/hoptest"
)

// TestMain builds the program that the scripts run, as it ships: with the race detector in it each of a thousand commands would
// take a second to start.
func TestMain(m *testing.M) {
	os.Exit(withProgram(m.Run))
}

func withProgram(run func() int) int {
	dir, err := os.MkdirTemp("", "postern-program-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "postern"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	if err == nil {
		err = os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}

	return run()
}

// Every script in testdata is a series of commands with the expected output.
func TestCommands(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOP", hoptest.New(t, hoptest.Options{}).Addr())
			return errors.Join(os.WriteFile(filepath.Join(e.WorkDir, "gtube.eml"), []byte(gtube), 0o600),
				os.WriteFile(filepath.Join(e.WorkDir, "evil.eml"), []byte(evil), 0o600),
				fillIn(filepath.Join(e.WorkDir, "postern.toml"), "$HOP", e.Getenv("HOP")))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": exitCode, "keys": keys, "field": field, "lines": lineCount, "gateway": gateway,
		},
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %s", name)
		},
	})
}

// fillIn puts a value into a file, if there is one.
func fillIn(file, name, value string) error {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, os.WriteFile(file, []byte(strings.ReplaceAll(string(text), name, value)), 0o600))
}

const head = "From: Anna <anna@friend.example>\r\nTo: ben@corp.test\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n"

// gtube is refused by every scanner. It is in the code because scanners would remove a file with that text.
const gtube = head + "Message-ID: <g@friend.example>\r\nSubject: test\r\n\r\nXJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"

// evil has control characters wherever text might get from a message to a terminal.
const evil = "From: \x1b[2J <a\x1b]0;x\x07@friend.example>\r\nDKIM-Signature: v=1; a=rsa-sha256; d=\x1b[2J.example; s=\x1b[31m; h=from; b=AAAA; bh=AAAA\r\n" +
	"Subject: \x1b]0;evil\x07\r\n\r\nhttp://\x1b[31mx.example/ \x7f\x00\r\n"

// exitCode runs a command, which must end with this code: code 2 postern frob.
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command…")
	}
	got := 0
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if want, err := strconv.Atoi(args[0]); err != nil || got != want {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

func objects(ts *testscript.TestScript) []map[string]any {
	var all []map[string]any
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			ts.Fatalf("no JSON object: %v: %s", err, line)
		}
		all = append(all, o)
	}
	if len(all) == 0 {
		ts.Fatalf("no output")
	}
	return all
}

// keys wants each line of the output to be a JSON object with these keys, perhaps among others: keys id file.
func keys(ts *testscript.TestScript, neg bool, args []string) {
	for _, o := range objects(ts) {
		for _, key := range args {
			if _, ok := dig(o, key); ok == neg {
				ts.Fatalf("key %s: %v in %v", key, ok, o)
			}
		}
	}
}

// field wants a value in one line of the output: field 1 auth.dmarc.result none.
func field(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[0])
	all := objects(ts)
	if err != nil || n < 1 || n > len(all) || len(args) != 3 {
		ts.Fatalf("usage: field LINE KEY VALUE; there are %d lines", len(all))
	}
	got, ok := dig(all[n-1], args[1])
	if text := fmt.Sprint(got); !ok || (text == args[2]) == neg {
		ts.Fatalf("%s is %v (%v), want %s", args[1], text, ok, args[2])
	}
}

// dig finds a value by its path: "auth.dkim.0.result".
func dig(value any, path string) (any, bool) {
	for part := range strings.SplitSeq(path, ".") {
		switch v := value.(type) {
		case map[string]any:
			next, ok := v[part]
			if !ok {
				return nil, false
			}
			value = next
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i >= len(v) {
				return nil, false
			}
			value = v[i]
		default:
			return nil, false
		}
	}
	return value, true
}

// lineCount wants so many lines of output: lines 3.
func lineCount(ts *testscript.TestScript, _ bool, args []string) {
	out := ts.ReadFile("stdout")
	if n := strings.Count(out, "\n"); strconv.Itoa(n) != args[0] {
		ts.Fatalf("%d lines, want %s:\n%s", n, args[0], out)
	}
}

// gateway runs a gateway with postern.toml, sends one good message (its id in $CLEAN), one to be held ($HELD), one to be
// refused with an evil subject ($REFUSED), one for a server that is down ($QUEUED), and stops it.
func gateway(ts *testscript.TestScript, _ bool, _ []string) {
	cfg, err := config.Load(ts.MkAbs("postern.toml"))
	ts.Check(err)
	if problems := cfg.Check(app.KnownFilters()); len(problems) > 0 {
		ts.Fatalf("%v", problems)
	}
	h, err := app.Open(cfg, app.Outside{})
	ts.Check(err)
	defer h.Close()
	ts.Check(h.Listen(context.Background()))
	door := h.Addresses()[0].Address
	for _, m := range []struct{ name, to, text string }{
		{"CLEAN", "ben@corp.test", head + "Message-ID: <1@friend.example>\r\nSubject: lunch\r\n\r\nAt noon?\r\n"},
		{"HELD", "ben@corp.test", head + "Message-ID: <2@friend.example>\r\nSubject: URGENT BUSINESS PROPOSAL\r\n\r\nI am Barrister John. The sum of USD 18,500,000.00 " +
			"(eighteen million five hundred thousand United States Dollars) of a late customer who died in a plane crash without next of kin.\r\n" +
			"You get 40 percent of the total sum. Strictly confidential, 100% risk free. Send your bank account.\r\n"},
		{"REFUSED", "ben@corp.test", strings.Replace(gtube, "Subject: test", "Subject: \x1b]0;evil\x07\x1b[2J {{.}} %s", 1)},
		{"QUEUED", "ben@down.test", head + "Message-ID: <3@friend.example>\r\nSubject: wait\r\n\r\nWait for me.\r\n"},
	} {
		ts.Setenv(m.name, deliver(ts, door, m.to, m.text))
	}
}

// deliver sends one message and gives its id, which stands in the record of the door's only transaction.
func deliver(ts *testscript.TestScript, door, to, text string) string {
	conn, err := net.Dial("tcp", door)
	ts.Check(err)
	defer conn.Close()
	ts.Check(conn.SetDeadline(time.Now().Add(time.Minute)))
	c := textproto.NewConn(conn)
	for _, line := range []string{"", "EHLO mail.friend.example", "MAIL FROM:<anna@friend.example>", "RCPT TO:<" + to + ">", "DATA"} {
		if line != "" {
			ts.Check(c.PrintfLine("%s", line))
		}
		code, words, err := c.ReadResponse(0)
		if code >= 400 || err != nil && code == 0 {
			ts.Fatalf("%q: %d %s %v", line, code, words, err)
		}
	}
	ts.Check(c.PrintfLine("%s.", text))
	_, words, _ := c.ReadResponse(0)
	ts.Logf("%s: %s", to, words)
	return idIn(words)
}

// idIn finds the id in a reply, "" if the reply is the next hop's own.
func idIn(reply string) string {
	for _, word := range strings.FieldsFunc(reply, func(r rune) bool { return r == ' ' || r == '(' || r == ')' }) {
		if strings.HasPrefix(word, "01") && strings.Contains(word, ".") {
			return word
		}
	}
	return ""
}
