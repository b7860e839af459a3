package pop3d_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"postern/internal/testing/dovecottest"
	"postern/proxy/access"
	"postern/proxy/pop3d"
)

// store puts messages into a mailbox by IMAP.
func store(t *testing.T, server *dovecottest.Server, user string, messages []string) {
	t.Helper()
	conn, in := dialLine(t, server.IMAP)
	ask := func(command string) {
		t.Helper()
		if _, err := fmt.Fprintf(conn, "t %s\r\n", command); err != nil {
			t.Fatal(err)
		}
		for {
			line, err := in.ReadString('\n')
			if err != nil || strings.HasPrefix(line, "t NO") || strings.HasPrefix(line, "t BAD") {
				t.Fatal(line, err)
			}
			if strings.HasPrefix(line, "t OK") {
				return
			}
		}
	}
	ask("LOGIN " + user + " " + dovecottest.Password)
	for _, m := range messages {
		ask(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(m), m))
	}
	ask("LOGOUT")
}

func dialLine(t testing.TB, address string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

// pop is a POP3 client that reads answers as they come.
type pop struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func dialPOP(t *testing.T, address, user string) *pop {
	t.Helper()
	p := &pop{t: t}
	p.conn, p.in = dialLine(t, address)
	p.line()
	if got := p.ask("USER " + user); !strings.HasPrefix(got, "+OK") {
		t.Fatal(got)
	}
	if got := p.ask("PASS " + dovecottest.Password); !strings.HasPrefix(got, "+OK") {
		t.Fatal(got)
	}
	return p
}

func (p *pop) line() string {
	p.t.Helper()
	line, err := p.in.ReadString('\n')
	if err != nil {
		p.t.Fatalf("%v after %q", err, line)
	}
	return line
}

// ask sends commands in one go and gives all answers.
func (p *pop) ask(commands ...string) string {
	p.t.Helper()
	if _, err := p.conn.Write([]byte(strings.Join(commands, "\r\n") + "\r\n")); err != nil {
		p.t.Fatal(err)
	}
	var all strings.Builder
	for _, c := range commands {
		line := p.line()
		all.WriteString(line)
		words := strings.Fields(c)
		several := words[0] == "RETR" || words[0] == "TOP" || (words[0] == "LIST" || words[0] == "UIDL") && len(words) == 1
		for several && strings.HasPrefix(line, "+OK") {
			next := p.line()
			all.WriteString(next)
			if next == ".\r\n" {
				break
			}
		}
	}
	return all.String()
}

// letter makes a message; a bad one holds the marker in each of its parts.
func letter(r *rand.Rand, bad bool) string {
	word := "hello"
	if bad {
		word = "evil"
	}
	lines := func() string {
		var b strings.Builder
		for range 1 + r.IntN(200) {
			switch r.IntN(8) {
			case 0:
				b.WriteString(".\r\n")
			case 1:
				fmt.Fprintf(&b, "..%s\r\n", word)
			case 2:
				b.WriteString("\r\n")
			default:
				fmt.Fprintf(&b, "%s %s %x\r\n", word, strings.Repeat("words ", r.IntN(12)), r.Uint32())
			}
		}
		return b.String() + word
	}
	header := fmt.Sprintf("From: a@b.example\r\nTo: c@d.example\r\nSubject: letter %x\r\nMessage-ID: <%x@b.example>\r\nMIME-Version: 1.0\r\n", r.Uint32(), r.Uint64())
	switch r.IntN(3) {
	case 0:
		return header + "\r\n" + lines() + "\r\n"
	case 1:
		return header + "Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + lines() + "=20\r\n"
	}
	return header + "Content-Type: multipart/mixed; boundary=\"=_x\"\r\n\r\n" + word + "\r\n--=_x\r\nContent-Type: text/plain\r\n\r\n" + lines() +
		"\r\n--=_x\r\nContent-Type: text/html\r\n\r\n" + lines() + strings.Repeat("<p>"+word+strings.Repeat(" long", 20)+"\r\n", r.IntN(9000)) + "\r\n--=_x--\r\n"
}

// Whatever a client asks, in whatever order and however it is pipelined: sizes, listings and ids are those of the server,
// clean messages come octet by octet as they do from the server itself, and of a masked one nothing is left but its header
// and its length.
func TestDovecotThroughTheDoor(t *testing.T) {
	server := dovecottest.Start(t, dovecottest.Options{Performance: true})
	h := newHouse(t, access.Backend{Address: server.POP3, Forward: true}, nil)
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 3))
		user := fmt.Sprintf("user%d", seed)
		bad := map[int]bool{}
		var messages []string
		for n := range 12 {
			bad[n+1] = r.IntN(2) == 0
			messages = append(messages, letter(r, bad[n+1]))
		}
		store(t, server, user, messages)
		direct, door := dialPOP(t, server.POP3, user), (*pop)(nil)
		answers := map[string]string{}
		fromServer := func(c string) string {
			if _, ok := answers[c]; !ok {
				answers[c] = direct.ask(c)
			}
			return answers[c]
		}
		for round := range 60 {
			if round%20 == 0 { // another session: what was known by session must be known by place now
				direct.ask("QUIT")
				if door != nil {
					door.ask("QUIT")
				}
				door = dialPOP(t, h.address, user)
				direct = dialPOP(t, server.POP3, user)
			}
			compare(t, r, door, fromServer, bad)
		}
	}
	if !strings.Contains(server.Text(), "session=<"+h.records(t, 1)[0].ID+">") {
		t.Error("the server's log does not know our session's id")
	}
}

func compare(t *testing.T, r *rand.Rand, door *pop, fromServer func(string) string, bad map[int]bool) {
	t.Helper()
	var commands []string
	var want []string
	for range 1 + r.IntN(6) {
		c, n := question(r)
		answer := fromServer(c)
		commands = append(commands, c)
		if (strings.HasPrefix(c, "RETR") || strings.HasPrefix(c, "TOP")) && !strings.HasSuffix(c, " 0") && bad[n] {
			answer = "" // masked
		}
		want = append(want, answer)
	}
	got := door.ask(commands...)
	at := 0
	for i, c := range commands {
		original := fromServer(c)
		if want[i] == "" {
			n := maskedAnswer(t, c, got[at:], original)
			at += n
			continue
		}
		if strings.HasPrefix(c, "TOP") { // the status line is ours where the lines were taken from the whole
			at += strings.Index(got[at:], "\r\n") + 2
			original = original[strings.Index(original, "\r\n")+2:]
		}
		if !strings.HasPrefix(got[at:], original) {
			t.Fatalf("%q of %q: got\n%.2000s\nwant\n%.2000s", c, commands, got[at:], original)
		}
		at += len(original)
	}
	if at != len(got) {
		t.Fatalf("%q: %d octets more than expected", commands, len(got)-at)
	}
}

func question(r *rand.Rand) (command string, n int) {
	n = 1 + r.IntN(12)
	switch r.IntN(9) {
	case 0:
		return "STAT", n
	case 1:
		return "LIST", n
	case 2:
		return "UIDL", n
	case 3:
		return fmt.Sprintf("LIST %d", n), n
	case 4:
		return fmt.Sprintf("UIDL %d", n), n
	case 5:
		return fmt.Sprintf("TOP %d %d", n, []int{0, 1, 5, 300, 99999999}[r.IntN(5)]), n
	case 6:
		return "NOOP", n
	}
	return fmt.Sprintf("RETR %d", n), n
}

// maskedAnswer checks an answer that must be masked against the one of the server, and gives its length.
func maskedAnswer(t *testing.T, command, got, original string) int {
	t.Helper()
	end := strings.Index(got, "\r\n.\r\n") + 5
	got = got[:end]
	unstuffed := func(s string) (header, body string) {
		_, s, _ = strings.Cut(s, "\r\n")
		s = strings.ReplaceAll(strings.TrimSuffix(s, ".\r\n"), "\r\n..", "\r\n.")
		header, body, _ = strings.Cut(s, "\r\n\r\n")
		return header, body
	}
	header, body := unstuffed(got)
	wantHeader, wantBody := unstuffed(original)
	switch {
	case strings.Contains(body, "evil"):
		t.Fatalf("%s: the content is there:\n%.3000s", command, got)
	case header != wantHeader:
		t.Fatalf("%s: the header is\n%s\nwant\n%s", command, header, wantHeader)
	case len(body) != len(wantBody) || strings.Count(body, "\r\n") != strings.Count(wantBody, "\r\n"):
		t.Fatalf("%s: %d octets in %d lines, want %d in %d", command, len(body), strings.Count(body, "\r\n"), len(wantBody), strings.Count(wantBody, "\r\n"))
	}
	return end
}

// The way to the server may be TLS, both ways of it; so may that of the client.
func TestDovecotByTLS(t *testing.T) {
	server := dovecottest.Start(t, dovecottest.Options{Performance: true})
	store(t, server, "ann", []string{clean, wrong})
	for mode, address := range map[access.TLSMode]string{access.TLSStartTLS: server.POP3, access.TLSImplicit: server.POP3S} {
		h := newHouse(t, access.Backend{Address: address, TLS: mode, Trust: &tls.Config{RootCAs: server.Roots}, Forward: true},
			func(o *pop3d.Options) { o.Implicit, o.AuthInClear = true, false })
		p := &pop{t: t}
		conn, _ := dialLine(t, h.address)
		secured := tls.Client(conn, h.client)
		p.conn, p.in = secured, bufio.NewReader(secured)
		p.line()
		if got := p.ask("USER ann", "PASS "+dovecottest.Password, "RETR 1"); !strings.HasSuffix(got, "third\r\n.\r\n") {
			t.Errorf("%s: %q", mode, got)
		}
		if got := p.ask("RETR 2"); strings.Contains(got, "evil") || !strings.Contains(got, "This messa") {
			t.Errorf("%s: %q", mode, got)
		}
		if got := p.ask("DELE 2", "RETR 2", "RSET"); strings.Count(got, "+OK") != 2 {
			t.Errorf("%s: %q", mode, got)
		}
	}
	h := newHouse(t, access.Backend{Address: server.POP3S, TLS: access.TLSImplicit}, nil) // nobody vouches for the certificate
	conn, in := dialLine(t, h.address)
	fmt.Fprint(conn, "USER ann\r\nPASS "+dovecottest.Password+"\r\n")
	var said bytes.Buffer
	for range 3 {
		line, _ := in.ReadString('\n')
		said.WriteString(line)
	}
	if !strings.Contains(said.String(), "-ERR [SYS/TEMP]") {
		t.Errorf("a certificate of nobody's: %q", said.String())
	}
}

// What Courier says of sizes and unique-ids is what the door says, and each message has as many octets as were promised,
// masked or not.
func TestCourierThroughTheDoor(t *testing.T) {
	server := dovecottest.Courier(t)
	h := newHouse(t, access.Backend{Address: server.POP3}, nil)
	r := rand.New(rand.NewPCG(1, 3))
	for n := range 10 {
		text := strings.ReplaceAll(letter(r, n%2 == 0), "\r\n", "\n")
		box := filepath.Join(server.Home("ann"), "Maildir", "new", fmt.Sprintf("%d.%d.test", 1700000000+n, n))
		if err := os.WriteFile(box, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	answers := func(address string) map[string]string {
		p, all := dialPOP(t, address, "ann"), map[string]string{} // one after the other: two at once are too many for Courier
		for _, command := range []string{"STAT", "LIST", "UIDL", "LIST 3", "UIDL 3"} {
			all[command] = p.ask(command)
		}
		for n := 1; n <= 10; n++ {
			command := fmt.Sprintf("RETR %d", n)
			got := p.ask(command)
			all[command] = strings.ReplaceAll(got[strings.Index(got, "\n"):], "\r\n..", "\r\n.") // RFC 1939 section 3
		}
		p.ask("QUIT")
		return all
	}
	direct, through, masked := answers(server.POP3), answers(h.address), 0
	for command, want := range direct {
		got := through[command]
		if len(want) != len(got) || strings.Contains(got, "evil") || !strings.HasPrefix(command, "RETR") && want != got {
			t.Errorf("%s: %d octets %.100q, want %d %.100q", command, len(got), got, len(want), want)
		}
		if want != got {
			masked++
		}
	}
	if masked != 5 {
		t.Errorf("%d are masked", masked)
	}
}
