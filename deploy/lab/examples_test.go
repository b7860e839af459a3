package lab_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"

	"postern/internal/testing/hoptest"
	"postern/internal/testing/lab"
)

const plainMessage = "From: Anna <anna@friend.example>\r\nTo: ben@example.com\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n" +
	"Message-ID: <1@friend.example>\r\nSubject: lunch\r\n\r\nAt noon?\r\n"

// Every example configuration starts, with its addresses replaced by free ones, and mail goes through it.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../examples/*.toml")
	if err != nil || len(files) < 6 {
		t.Fatal("examples are missing", files, err)
	}
	certificate, caFile := hoptest.Certificate(t, time.Hour, "127.0.0.1")
	t.Setenv("SSL_CERT_FILE", caFile) // who vouches for the IMAP server and the smart host
	imap := startIMAP(t, certificate)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".toml")
		t.Run(name, func(t *testing.T) {
			hop := hoptest.New(t, hoptest.Options{LMTP: name == "dovecot-lmtp" || name == "submission"})
			smart := hoptest.New(t, hoptest.Options{TLS: certificate, Users: map[string]string{"example": "s3cret"}})
			text, doors := atFreePorts(t, file, hop.Addr(), smart.Addr(), imap)
			p := lab.NewPostern(t, program, text)
			if err := os.WriteFile(filepath.Join(filepath.Dir(p.Config), "smarthost.password"), []byte("s3cret\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			p.Run(t, "config", "check")
			p.Start(t)
			header := ""
			if name == "behind-haproxy" {
				header = "PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\r\n"
			}
			sendPlain(t, doors[0], header, "anna@friend.example", "ben@example.com")
			taken := onlyMessage(t, hop)
			if header != "" && !bytes.Contains(taken.Data, []byte("[192.0.2.7]")) {
				t.Errorf("the client that the proxy told of is not in Received: %s", taken.Data)
			}
			if name == "mail-access" {
				readByIMAP(t, doors[1])
			}
			if name == "submission" {
				submit(t, doors[1], smart, false)
				submit(t, doors[2], smart, true)
			}
		})
	}
}

// atFreePorts replaces what can't be had here: ports, the servers behind and their names.
func atFreePorts(t *testing.T, file, hop, smart, imap string) (text string, doors []string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`(?m)^listen = .*$`).ReplaceAllStringFunc(string(raw), func(string) string {
		doors = append(doors, lab.FreePort(t))
		return fmt.Sprintf("listen = %q", doors[len(doors)-1])
	})
	inside, outside, found := strings.Cut(text, "[outbound]")
	addresses := regexp.MustCompile(`(?m)^addresses = .*$`)
	text = addresses.ReplaceAllString(inside, fmt.Sprintf("addresses = [%q]", hop))
	if found {
		text += "[outbound]" + addresses.ReplaceAllString(outside, fmt.Sprintf("addresses = [%q]", smart))
	}
	text = regexp.MustCompile(`(?m)^auth_address = .*$`).ReplaceAllString(text, fmt.Sprintf("auth_address = %q", imap))
	// the server of the test has no port for TLS from the first octet on
	text = strings.ReplaceAll(text, `imap = ["exchange.internal:993"]`, fmt.Sprintf("imap = [%q]\ntls = \"starttls\"", imap))
	text = strings.ReplaceAll(text, `proxy_networks = ["10.0.0.5", "10.0.0.6"]`, `proxy_networks = ["127.0.0.1"]`)
	return "data_dir = \"%DATA%\"\n" + text + "\n[dns]\nservers = [\"127.0.0.1:9\"]\ntimeout = \"200ms\"\n", doors
}

// readByIMAP logs in at an IMAP door, with a wrong password and with the right one.
func readByIMAP(t *testing.T, door string) {
	t.Helper()
	conn, err := tls.Dial("tcp", door, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the gateway's own certificate
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	in := bufio.NewScanner(conn)
	for _, step := range [][2]string{{"", "* OK"}, {"a LOGIN ben@example.com wrong", "a NO [AUTHENTICATIONFAILED]"}, {"b LOGIN ben@example.com secret-ben", "b OK"}, {"c NOOP", "c OK"}, {"d LOGOUT", "d OK"}} {
		if step[0] != "" {
			fmt.Fprintf(conn, "%s\r\n", step[0])
		}
		for in.Scan() && !strings.HasPrefix(in.Text(), step[1]) {
			if strings.HasPrefix(in.Text(), step[0][:min(2, len(step[0]))]) && step[0] != "" {
				t.Fatalf("%s: %s", step[0], in.Text())
			}
		}
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
}

func sendPlain(t *testing.T, door, header, from, to string) {
	t.Helper()
	conn, err := net.Dial("tcp", door)
	if err != nil {
		t.Fatal(err)
	}
	d := newDialogue(t, conn)
	fmt.Fprint(conn, header)
	d.say("", "220")
	d.say("EHLO mail.friend.example", "250")
	d.say("MAIL FROM:<"+from+">", "250")
	d.say("RCPT TO:<"+to+">", "250")
	d.say("DATA", "354")
	d.say(plainMessage+".", "250")
	d.say("MAIL FROM:<"+from+">", "250")
	d.say("RCPT TO:<someone@far.example>", "550 5.7.1")
	d.say("QUIT", "221")
}

// submit sends a message as a user, after a login that fails and one that does not.
func submit(t *testing.T, door string, smart *hoptest.Hop, implicit bool) {
	t.Helper()
	before := len(smart.Messages())
	conn, err := net.Dial("tcp", door)
	if err != nil {
		t.Fatal(err)
	}
	trusting := &tls.Config{InsecureSkipVerify: true}
	if implicit {
		conn = tls.Client(conn, trusting)
	}
	d := newDialogue(t, conn)
	d.say("", "220")
	if !implicit {
		d.say("EHLO laptop.example.com", "250")
		d.say("AUTH PLAIN "+plainLogin("ben@example.com", "secret-ben"), "538")
		d.say("STARTTLS", "220")
		d = newDialogue(t, tls.Client(conn, trusting))
	}
	d.say("EHLO laptop.example.com", "250")
	d.say("MAIL FROM:<ben@example.com>", "530")
	d.say("AUTH PLAIN "+plainLogin("ben@example.com", "wrong"), "535")
	d.say("AUTH PLAIN "+plainLogin("ben@example.com", "secret-ben"), "235")
	d.say("MAIL FROM:<ben@example.com>", "250")
	d.say("RCPT TO:<someone@far.example>", "250")
	d.say("DATA", "354")
	d.say(strings.Replace(plainMessage, "anna@friend.example", "ben@example.com", 1)+".", "250")
	d.say("QUIT", "221")
	if n := len(smart.Messages()); n != before+1 {
		t.Fatalf("the smart host has %d new messages, want 1", n-before)
	}
}

func plainLogin(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}

func onlyMessage(t *testing.T, hop *hoptest.Hop) hoptest.Message {
	t.Helper()
	all := hop.Messages()
	if len(all) != 1 || len(all[0].Defects) > 0 || !bytes.HasSuffix(all[0].Data, []byte(plainMessage)) {
		t.Fatalf("the next hop has %d messages: %+v", len(all), all)
	}
	return all[0]
}

func startIMAP(t *testing.T, certificate *tls.Config) string {
	t.Helper()
	users := imapmemserver.New()
	users.AddUser(imapmemserver.NewUser("ben@example.com", "secret-ben"))
	server := imapserver.New(&imapserver.Options{TLSConfig: certificate,
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return users.NewSession(), nil, nil
		}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }() // ends with Close
	t.Cleanup(func() { _ = server.Close() })
	return l.Addr().String()
}

// The unit that is shipped is one that systemd understands.
func TestUnitFile(t *testing.T) {
	analyze := lab.Need(t, "systemd-analyze", "systemd")
	text, err := os.ReadFile("../postern.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := strings.ReplaceAll(string(text), "/usr/bin/postern", program)
	unit = regexp.MustCompile(`(?m)^(User|Group)=.*$`).ReplaceAllString(unit, "$1=root") // the user is made on installation
	unit = regexp.MustCompile(`(?m)^Documentation=.*$`).ReplaceAllString(unit, "")
	file := filepath.Join(lab.Dir(t), "postern.service")
	if err := os.WriteFile(file, []byte(unit), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(analyze, "verify", "--man=no", file)
	cmd.Env = append(os.Environ(), "SYSTEMD_LOG_LEVEL=warning")
	if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("postern.service:")) {
		t.Fatalf("systemd-analyze verify: %v: %s", err, out)
	}
}
