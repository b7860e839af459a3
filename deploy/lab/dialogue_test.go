package lab_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// dialogue speaks with a door word by word.
type dialogue struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

func newDialogue(t testing.TB, conn net.Conn) *dialogue {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &dialogue{t, conn, bufio.NewReader(conn)}
}

// say sends a line, none if it is empty, and wants a reply that begins so; it gives the whole reply.
func (d *dialogue) say(line, want string) string {
	d.t.Helper()
	if line != "" {
		d.send(line + "\r\n")
	}
	got := d.reply()
	if !strings.HasPrefix(got, want) {
		d.t.Fatalf("%.200q: got %q, want %s", line, got, want)
	}
	return got
}

// send sends octets; a connection that the door has closed is no failure here.
func (d *dialogue) send(octets string) { _, _ = io.WriteString(d.conn, octets) }

// reply reads a whole reply, "" if the connection is closed.
func (d *dialogue) reply() string {
	all := ""
	for {
		line, err := d.in.ReadString('\n')
		all += line
		if err != nil || len(line) < 4 || line[3] == ' ' {
			return strings.TrimRight(all, "\r\n")
		}
	}
}
