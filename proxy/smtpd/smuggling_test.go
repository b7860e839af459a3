package smtpd_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"postern/policy/records/ledger"
	"slices"
	"strings"
	"testing"
	"time"
)

// Smuggling: whatever stands where an end of data might be seen, in clear and under TLS, whole and octet by octet, by
// DATA and by BDAT, refused or normalised: the next hop has exactly the messages we said we accepted, none of them with
// a bare CR, bare LF, NUL or an undoubled dot. CVE-2023-51764, -51765, -51766; SEC Consult 2023.
func TestNoSmuggling(t *testing.T) {
	t.Parallel()
	for _, settings := range []map[string]string{{}, {"normalise": "yes"}} {
		for _, way := range []string{"data", "bdat", "data tls", "data slow"} {
			t.Run(fmt.Sprintf("%s %v", way, settings), func(t *testing.T) {
				t.Parallel()
				b := newBench(t, settings)
				address := b.listen(t)
				accepted, refused := 0, 0
				for _, sequence := range sequences(strings.HasSuffix(way, "slow")) {
					got := smuggle(t, address, way, sequence)
					if got == 250 {
						accepted++
					} else {
						refused++
					}
				}
				checkHop(t, b, accepted)
				if accepted == 0 || len(settings) == 0 && refused == 0 {
					t.Fatalf("accepted %d, refused %d: the test sent nothing of one kind", accepted, refused)
				}
			})
		}
	}
}

func checkHop(t *testing.T, b *bench, accepted int) {
	t.Helper()
	messages := b.hop.Messages()
	if len(messages) != accepted {
		t.Fatalf("said 250 to %d messages, the next hop has %d", accepted, len(messages))
	}
	for _, m := range messages {
		if len(m.Defects) > 0 {
			t.Fatalf("the next hop got %v in %q", m.Defects, m.Raw)
		}
		if m.From != "<bob@example.org>" || len(m.To) != 1 || m.To[0] != "<alice@corp.test>" {
			t.Fatalf("envelope %s to %v", m.From, m.To)
		}
	}
}

func sequences(few bool) []string {
	parts := []string{"", "\r", "\n", "\r\n", "\x00", " ", "\t", "\v", "x", "\r\r\n", "\n\r"}
	var all []string
	for _, before := range parts {
		for _, dots := range []string{".", ".."} {
			for _, after := range parts {
				all = append(all, before+dots+after)
			}
		}
	}
	if few {
		return []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r\n.\r\r\n", "\r\n\x00.\r\n", "x.x"}
	}
	return all
}

// smuggle sends one message with the sequence in it and gives the code of the answer to it. Where the sequence ends the
// data for good, the commands behind it are real ones, and the count is the test.
func smuggle(t *testing.T, address, way, sequence string) int {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	say := func(want int, line string) int {
		t.Helper()
		if line != "" {
			fmt.Fprint(conn, line)
		}
		code := readCode(in)
		if want != 0 && code != want {
			t.Fatalf("%s %q: %.60q: got %d, want %d", way, sequence, line, code, want)
		}
		return code
	}
	say(220, "")
	if strings.HasSuffix(way, "tls") {
		say(250, "EHLO mail.example.org\r\n")
		say(220, "STARTTLS\r\n")
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		in = bufio.NewReader(conn)
	}
	say(250, "EHLO mail.example.org\r\n")
	say(250, "MAIL FROM:<bob@example.org>\r\n")
	say(250, "RCPT TO:<alice@corp.test>\r\n")
	inner := "MAIL FROM:<bob@example.org>\r\nRCPT TO:<alice@corp.test>\r\nRSET\r\n"
	message := "From: Bob <bob@example.org>\r\n\r\nline" + sequence + inner + "\r\n"
	if strings.HasPrefix(way, "bdat") {
		return say(0, fmt.Sprintf("BDAT %d LAST\r\n%s", len(message), message))
	}
	say(354, "DATA\r\n")
	if strings.HasSuffix(way, "slow") {
		for _, c := range []byte(message) {
			fmt.Fprintf(conn, "%c", c)
		}
		message = ""
	}
	return say(0, message+".\r\n")
}

func readCode(in *bufio.Reader) int {
	for {
		line, err := in.ReadString('\n')
		if err != nil || len(line) < 4 {
			return -1
		}
		var code int
		if _, err := fmt.Sscanf(line[:3], "%d", &code); err != nil {
			return -1
		}
		if line[3] == ' ' {
			return code
		}
	}
}

// A dribble of one octet now and then is bounded by the rate it brings, not only by the wait for the next octet. SL-02.
func TestSlowClientIsBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t, map[string]string{"message-time": "300ms"})
	conn, err := net.Dial("tcp", b.listen(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "HELO mail.example.org\r\n")
	in := bufio.NewReader(conn)
	readCode(in)
	readCode(in)
	for _, line := range []string{"MAIL FROM:<bob@example.org>\r\n", "RCPT TO:<alice@corp.test>\r\n", "DATA\r\n"} {
		fmt.Fprint(conn, line)
		readCode(in)
	}
	stop := time.AfterFunc(20*time.Second, func() { _ = conn.Close() })
	defer stop.Stop()
	go func() {
		for {
			if _, err := conn.Write([]byte("x")); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	if code := readCode(in); code != 421 {
		t.Fatalf("got %d, want 421 although octets keep coming", code)
	}
	if n := len(b.hop.Messages()); n != 0 {
		t.Fatalf("the next hop has %d messages", n)
	}
}

// Every connection leaves one record under the id that its client saw, and every recipient's fate stands in it.
func TestEveryConnectionLeavesOneRecord(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	address := b.listen(t)
	if code := smuggle(t, address, "data", "x"); code != 250 {
		t.Fatalf("got %d", code)
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var answer bytes.Buffer
	fmt.Fprint(conn, "HELO x.example\r\n")
	in := bufio.NewReader(conn)
	readCode(in)
	readCode(in)
	fmt.Fprint(conn, "MAIL FROM:<bob@example.org>\r\nRCPT TO:<nobody@corp.test>\r\nQUIT\r\n")
	if _, err := answer.ReadFrom(in); err != nil {
		t.Fatal(err)
	}
	b.ledger.mu.Lock()
	defer b.ledger.mu.Unlock()
	for range 100 {
		if len(b.ledger.connections) == 2 {
			break
		}
		b.ledger.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		b.ledger.mu.Lock()
	}
	if len(b.ledger.connections) != 2 || len(b.ledger.transactions) != 2 {
		t.Fatalf("%d connections, %d transactions", len(b.ledger.connections), len(b.ledger.transactions))
	}
	last := b.ledger.transactions[1]
	// the first connection may be recorded after the second one: its client was gone at once
	ofIt := func(c ledger.Connection) bool { return strings.HasPrefix(last.ID, c.ID+".") }
	if !strings.Contains(answer.String(), "("+last.ID+")") || !slices.ContainsFunc(b.ledger.connections, ofIt) {
		t.Fatalf("record %s is of none of %+v, the client saw %q", last.ID, b.ledger.connections, answer.String())
	}
	if r := last.Recipients; len(r) != 1 || r[0].Fate != "refused" || !strings.HasPrefix(r[0].Reply, "550") {
		t.Fatalf("recipients %+v", r)
	}
}
