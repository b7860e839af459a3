package pop3d

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"postern/proxy/line"
)

// octets is a connection that only gives what is in it, and keeps what is written to it.
type octets struct {
	in  io.Reader
	out bytes.Buffer
}

func (o *octets) Read(p []byte) (int, error)       { return o.in.Read(p) }
func (o *octets) Write(p []byte) (int, error)      { return o.out.Write(p) }
func (o *octets) Close() error                     { return nil }
func (o *octets) LocalAddr() net.Addr              { return nil }
func (o *octets) RemoteAddr() net.Addr             { return nil }
func (o *octets) SetDeadline(time.Time) error      { return nil }
func (o *octets) SetReadDeadline(time.Time) error  { return nil }
func (o *octets) SetWriteDeadline(time.Time) error { return nil }

// FuzzResponse reads a response of a backend. What is taken for it must be one response for every reader, and what is
// written anew of it must be the same.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{"hello\r\n.\r\n", ".\r\n", "..a\r\n.b\r\n.\r\n+OK\r\n", "a\n.\r\nb\r\n.\r\n", "a\r\n.\nb\r\n.\r\n", "\r.\r\n.\r\n",
		strings.Repeat("x", 70000) + "\r\n.\r\n", "a\r\r\n.\r\n", "."} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var buffers line.Buffers
		conn := &octets{in: bytes.NewReader(text)}
		r := response{in: line.NewReader(conn, &buffers), limit: 1 << 30}
		w := stuffer{out: line.NewWriter(conn, &buffers)}
		for {
			p, more, err := r.text()
			if err != nil {
				return
			}
			if !more {
				break
			}
			w.write(p)
		}
		w.end()
		if err := w.out.Flush(); err != nil {
			t.Fatal(err)
		}
		again := conn.out.Bytes()
		i := bytes.Index(append([]byte("\r\n"), text...), []byte("\r\n.\r\n"))
		if i < 0 {
			t.Fatalf("%q has no end, and one was found: %q", text, again)
		}
		if bytes.Contains(text[:i], []byte("\n.\n")) || bytes.HasPrefix(text, []byte(".\n")) || bytes.Contains(text[:i], []byte("\n.\r\n")) {
			t.Fatalf("%q ends earlier for some", text)
		}
		if j := bytes.Index(append([]byte("\r\n"), again...), []byte("\r\n.\r\n")); j+3 != len(again) {
			t.Fatalf("%q was written as %q", text, again)
		}
	})
}

// FuzzParse reads a command. What goes to the backend is one line of a few known forms, whatever came.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"RETR 1", "TOP 1 99999999", "LIST", "uidl 3", "LANG *", "LANG de-CH", "XTND XMIT", "RETR 1 2", "RETR -1", "QUIT", "TOP 4294967296 1", "LANG a b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		c := (&session{}).parse(line)
		if (c.line == "") == (c.reply == "") {
			t.Fatalf("%q: %+v", line, c)
		}
		if strings.ContainsAny(c.line, "\r\n\x00") || len(c.line) > 80 || strings.Count(c.line, " ") > 2 {
			t.Fatalf("%q goes on as %q", line, c.line)
		}
		if c.line != "" && (&session{}).parse(c.line).line != c.line {
			t.Fatalf("%q goes on as %q, and that as another", line, c.line)
		}
	})
}
