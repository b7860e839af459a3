package smtpd_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/proxy/frame"
	"postern/proxy/smtpd"
)

// A whole session of arbitrary octets ends, without a panic; what the next hop took is what was answered with the next
// hop's own 250, and holds nothing that could be read as the end of a line or of a message by another server.
func FuzzSession(f *testing.F) {
	for _, script := range scripts(f) {
		f.Add(script, false)
		f.Add(script, true)
	}
	b := newBench(f, map[string]string{"max-errors": "50", "idle": "5s"})
	f.Fuzz(func(t *testing.T, octets []byte, whole bool) {
		if len(octets) > 16<<10 {
			return
		}
		b.hop.Forget()
		said := converse(b.server, octets, whole)
		if strings.Contains(said, "421 4.3.0 ") {
			t.Fatalf("the session panicked, the client heard %q", said)
		}
		acknowledged := strings.Count(said, " Ok: queued as HOP")
		messages := b.hop.Messages()
		if len(messages) != acknowledged {
			t.Fatalf("the next hop has %d messages, the client heard %q", len(messages), said)
		}
		for _, m := range messages {
			if len(m.Defects) > 0 {
				t.Fatalf("%v in %q", m.Defects, m.Raw)
			}
			for _, to := range m.To {
				if !strings.HasSuffix(strings.ToLower(to), "@corp.test>") {
					t.Fatalf("delivered to %s", to)
				}
			}
		}
		for line := range strings.Lines(said) {
			if !strings.HasSuffix(line, "\r\n") || len(line) > 514 || strings.ContainsAny(strings.TrimSuffix(line, "\r\n"), "\r\n\x00\x1b") {
				t.Fatalf("a line of a reply: %q", line)
			}
		}
	})
}

// converse lets a session read these octets, whole or line by line, so that each command finds no other behind it. It
// gives all that the session said.
func converse(server *smtpd.Server, octets []byte, whole bool) string {
	c := &tape{parts: [][]byte{octets}}
	if !whole {
		c.parts = bytes.SplitAfter(octets, []byte("\r\n"))
	}
	peer := netip.MustParseAddrPort("192.0.2.7:4711")
	server.Open(context.Background(), &frame.Conn{Conn: c, Peer: peer, Client: peer}).Run()
	return c.said.String()
}

// tape is a connection whose other end has said all that it will say.
type tape struct {
	net.Conn
	parts [][]byte
	said  bytes.Buffer
}

func (c *tape) Read(p []byte) (int, error) {
	for len(c.parts) > 0 && len(c.parts[0]) == 0 {
		c.parts = c.parts[1:]
	}
	if len(c.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.parts[0])
	c.parts[0] = c.parts[0][n:]
	return n, nil
}

func (c *tape) Write(p []byte) (int, error)    { return c.said.Write(p) }
func (*tape) Close() error                     { return nil }
func (*tape) SetDeadline(time.Time) error      { return nil }
func (*tape) SetReadDeadline(time.Time) error  { return nil }
func (*tape) SetWriteDeadline(time.Time) error { return nil }

// scripts are what the clients of the transcripts say.
func scripts(f *testing.F) [][]byte {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	var all [][]byte
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var script []byte
		for line := range strings.Lines(string(text)) {
			line = strings.TrimRight(line, "\n")
			if said, ok := strings.CutPrefix(line, "C: "); ok {
				script = append(script, said+"\r\n"...)
			} else if raw, ok := strings.CutPrefix(line, "C! "); ok {
				if said, err := strconv.Unquote(raw); err == nil {
					script = append(script, said...)
				}
			}
		}
		all = append(all, script)
	}
	return all
}
