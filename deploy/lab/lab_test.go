package lab_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"postern/internal/testing/lab"
)

// program is the path of the built program, set once before the tests.
var program string

func TestMain(m *testing.M) {
	if addresses := os.Getenv("POSTERN_LAB_PEER"); addresses != "" {
		peer(addresses)
	}
	dir, err := os.MkdirTemp("", "postern-build-")
	if err != nil {
		panic(err)
	}
	if program, err = lab.Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// settings is a gateway for corp.test in front of a server, with a resolver that nobody answers at.
func settings(door, hop string, more ...string) string {
	return fmt.Sprintf(`hostname = "gw.test"
data_dir = "%%DATA%%"
domains = ["corp.test"]
%s
[[door]]
name = "edge"
listen = "%s"
tls = "starttls"
xclient_networks = ["127.0.0.0/8"]
[next_hop."default"]
addresses = ["%s"]
tls = "none"
[dns]
servers = ["127.0.0.1:9"]
timeout = "200ms"
`, strings.Join(more, "\n"), door, hop)
}

// A message sent by swaks stands in Postfix' mailbox once, unchanged below our fields, and Postfix' own queue id comes
// back to swaks.
func TestSwaksThroughToPostfix(t *testing.T) {
	t.Parallel()
	swaks := lab.Need(t, "swaks", "swaks")
	postfix := lab.StartPostfix(t)
	door := lab.FreePort(t)
	p := lab.NewPostern(t, program, settings(door, postfix.Addr))
	p.Start(t)
	body := "Hello Ben,\n\n.a line with a dot\n..and one with two\n"
	out, err := exec.Command(swaks, "--server", door, "--from", "anna@friend.example", "--to", "ben@corp.test", "--tls-optional",
		"--header", "Subject: by swaks", "--body", body).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("250 2.0.0 Ok: queued as ")) {
		t.Fatalf("swaks: %v\n%s\n%s", err, out, p.Log())
	}
	stored := only(t, postfix)
	_, below, found := strings.Cut(stored, "X-Postern: ")
	if !found || !strings.Contains(below, "Subject: by swaks\n") || !strings.HasSuffix(strings.TrimRight(below, "\n"), strings.TrimRight(body, "\n")) {
		t.Fatalf("delivered:\n%s", stored)
	}
	id := strings.Fields(below)[0]
	p.Stop()
	explained := p.Run(t, "explain", id)
	for _, want := range []string{"anna@friend.example", "ben@corp.test", "queued as"} {
		if !strings.Contains(explained, want) {
			t.Errorf("explain %s says nothing of %q:\n%s", id, want, explained)
		}
	}
}

func only(t *testing.T, p *lab.Postfix) string {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		for _, raw := range p.Messages(t) {
			return string(raw)
		}
	}
	t.Fatalf("nothing was delivered: %s", p.Log())
	return ""
}

// scam is a text that the default policy holds.
const scam = "I am Barrister John. The sum of USD 18,500,000.00 (eighteen million five hundred thousand United States Dollars) " +
	"of a late customer who died in a plane crash without next of kin.\r\nYou get 40 percent of the total sum. Strictly confidential, 100% risk free. Send your bank account.\r\n"

// A held message is released by the CLI while the gateway runs: it is delivered once, however often it is asked for.
func TestReleaseDeliversOnce(t *testing.T) {
	t.Parallel()
	postfix := lab.StartPostfix(t)
	door := lab.FreePort(t)
	p := lab.NewPostern(t, program, settings(door, postfix.Addr))
	p.Start(t)
	raw := "From: A <a@friend.example>\r\nTo: ben@corp.test\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@friend.example>\r\n" +
		"Subject: URGENT BUSINESS PROPOSAL\r\n\r\n" + scam
	c, err := lab.DialClient(door, "")
	if err != nil {
		t.Fatal(err)
	}
	code, text, err := c.Send("a@friend.example", "ben@corp.test", []byte(raw))
	c.Close()
	if err != nil || code != 250 {
		t.Fatalf("%d %s %v", code, text, err)
	}
	list := strings.Fields(p.Run(t, "quarantine", "list", "--ids"))
	if len(list) != 1 {
		t.Fatalf("held: %v after %d %s", list, code, text)
	}
	done := make(chan []byte)
	for range 4 {
		go func() {
			out, _ := exec.Command(program, "quarantine", "release", list[0], "-c", p.Config).CombinedOutput() // all but one say it was released
			done <- out
		}()
	}
	for range 4 {
		<-done
	}
	delivered := only(t, postfix)
	time.Sleep(3 * time.Second) // time for a second copy, if there were one
	if n := len(postfix.Messages(t)); n != 1 {
		t.Fatalf("delivered %d times", n)
	}
	below := delivered[strings.Index(delivered, "From: A <a@friend"):]
	if below != strings.ReplaceAll(raw, "\r\n", "\n") || !strings.Contains(delivered, "Received: from load.example.org") {
		t.Fatalf("delivered:\n%s", delivered)
	}
}
