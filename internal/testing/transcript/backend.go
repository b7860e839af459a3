package transcript

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"time"
)

// backend does a step of the server behind the door.
func (d *dialogue) backend(s step) {
	d.t.Helper()
	if d.back == nil {
		d.accept(s)
	}

	switch s.kind {
	case "B:":
		d.say(s, []byte(s.text+"\r\n"))
	case "B!":
		d.say(s, raw(d.t, s))
	case "B>":
		d.backendLine(s)
	case "B=":
		want := raw(d.t, s)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(d.backIn, got); err != nil || string(got) != string(want) {
			d.t.Fatalf("line %d: the server behind the door wants %q, it got %q (%v)", s.line, want, got, err)
		}
	case "B$":
		rest, err := io.ReadAll(d.backIn)
		if len(rest) > 0 || err != nil && strings.Contains(err.Error(), "timeout") {
			d.t.Fatalf("line %d: want the connection to the server behind the door closed, got %q (%v)", s.line, rest, err)
		}
		d.back = nil // another may come
	case "BTLS":
		t := tls.Server(d.back, d.door.BackendTLS)
		if err := t.Handshake(); err != nil {
			d.t.Fatalf("line %d: handshake behind the door: %v", s.line, err)
		}
		d.back, d.backIn = t, bufio.NewReader(t)
	}
}

// backendLine wants a line from the door.
func (d *dialogue) backendLine(s step) {
	d.t.Helper()
	line, err := d.backIn.ReadString('\n')
	d.tag, _, _ = strings.Cut(line, " ")
	if err != nil || !strings.HasSuffix(line, "\r\n") || !fits(s.text, strings.TrimSuffix(line, "\r\n")) {
		d.t.Fatalf("line %d: the server behind the door wants %q, it got %q (%v)", s.line, s.text, line, err)
	}
}

func (d *dialogue) say(s step, p []byte) {
	d.t.Helper()
	p = bytes.ReplaceAll(p, []byte("$TAG"), []byte(d.tag))
	if _, err := d.back.Write(p); err != nil && s.kind == "B:" {
		d.t.Fatalf("line %d: %v", s.line, err)
	}
}

// accept waits for the door to connect.
func (d *dialogue) accept(s step) {
	d.t.Helper()
	if l, ok := d.door.Backend.(*net.TCPListener); ok {
		if err := l.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			d.t.Fatal(err)
		}
	}
	c, err := d.door.Backend.Accept()
	if err != nil {
		d.t.Fatalf("line %d: the door does not connect to the server behind it: %v", s.line, err)
	}
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = c.Close() })
	d.back, d.backIn = c, bufio.NewReader(c)
}
