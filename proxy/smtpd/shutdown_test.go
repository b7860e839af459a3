package smtpd_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"postern/proxy/frame"
	"postern/proxy/smtpd"
)

func dialDoor(t *testing.T, address string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

// Clients that wait, or have just got a reply, get 421 at once when the server ends: none of them delays it, whatever
// the timing.
func TestShutdownDoesNotWaitForTheIdle(t *testing.T) {
	t.Parallel()
	for range 20 {
		b := newBench(t, nil)
		address := b.listen(t)
		var clients []*bufio.Reader
		for range 20 {
			conn, in := dialDoor(t, address)
			fmt.Fprint(conn, "HELO mail.example.org\r\n")
			if readCode(in) != 220 || readCode(in) != 250 {
				t.Fatal("no greeting")
			}
			fmt.Fprint(conn, "NOOP\r\n")
			clients = append(clients, in)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
		b.shutdown(ctx)
		if ctx.Err() != nil {
			t.Error("somebody was waited for until the time was over")
		}
		cancel()
		for _, in := range clients {
			said, err := io.ReadAll(in)
			if !strings.Contains(string(said), "421 4.3.2 ") {
				t.Errorf("%q, %v", said, err)
			}
		}
	}
}

// A session may put TLS on while the time for it runs out: its connection is closed from outside then. The race detector
// is the judge.
func TestShutdownDuringTheHandshake(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	o := options(t, map[string]string{"tls": "implicit", "greet-delay": "30s"})
	b.server = smtpd.New(o, b.gateway, b.gateway.Log)
	conn, _ := dialDoor(t, b.listen(t))
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	go func() {
		time.Sleep(250 * time.Millisecond)
		_ = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).Handshake()
	}()
	time.Sleep(100 * time.Millisecond) // until the connection is taken
	b.shutdown(ctx)
}

// A client in the middle of its message may finish it: it is delivered and answered, and then hears 421.
func TestShutdownLetsMessagesFinish(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	address := b.listen(t)
	conn, in := dialDoor(t, address)
	say := func(text string, want int) {
		t.Helper()
		fmt.Fprint(conn, text)
		if got := readCode(in); got != want {
			t.Fatalf("%q: got %d, want %d", text, got, want)
		}
	}
	say("", 220)
	say("HELO mail.example.org\r\n", 250)
	say("MAIL FROM:<bob@example.org>\r\n", 250)
	say("RCPT TO:<alice@corp.test>\r\n", 250)
	say("DATA\r\n", 354)
	fmt.Fprint(conn, "From: Bob <bob@example.org>\r\n\r\nhel")
	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
		defer cancel()
		b.shutdown(ctx)
	}()
	for { // until no new client is let in
		late, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		_ = late.Close()
	}
	say("lo\r\n.\r\n", 250)
	say("", 421)
	<-done
	if n := len(b.hop.Messages()); n != 1 {
		t.Errorf("%d messages", n)
	}
}

// RFC 8314 section 3: a client of implicit TLS reads nothing in the clear, a refusal neither.
func TestRefusalInTLS(t *testing.T) {
	b := newBench(t, map[string]string{"tls": "implicit"})
	door, err := frame.New(frame.Options{Address: "127.0.0.1:0", MaxConnections: 1}, b.server)
	if err != nil {
		t.Fatal(err)
	}
	b.doors = append(b.doors, door)
	go door.Run()
	for _, want := range []int{220, 421} {
		conn, _ := dialDoor(t, door.Addr().String())
		if got := readCode(bufio.NewReader(tls.Client(conn, &tls.Config{InsecureSkipVerify: true}))); got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}
}
