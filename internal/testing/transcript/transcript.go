// Package transcript runs tests that read like the dialogues of the RFCs.
//
//	# A clean message passes and keeps its bytes. RFC 5321 appendix D.1.
//	door: submission            settings of the test, before the first step
//
//	S: 220 gw.test *            the server must say this; * stands for any text
//	C: EHLO mail.example.org    the client says this, CRLF is added
//	S: ...                      skip lines until the next S: fits
//	S: 250 *
//	C! "raw\r\nbytes"           the client sends these octets, a Go string
//	C! "x" * 5000               and this often
//	TLS                         the client does its handshake
//	S! closed                   the server must close, and say nothing more
//	N: RCPT => 550 5.1.1 gone   what the next hop shall answer to commands that begin so, from now on
//	>: RCPT TO:<b@corp.test>    the next hop must have received this line, in this order
//	=: 1                        so many messages the next hop has taken
//	@ login.txt                 the steps of another file come here
//	B: * OK ready               the server behind the door says this, CRLF is added; the first such step waits for the door;
//	                            $TAG stands for the first word of the last line that it received by B>
//	B! "raw\r\nbytes"           it sends these octets; may be repeated as above
//	B> LOGIN *                  it must receive this line
//	B= "raw\r\nbytes"           it must receive these octets
//	BTLS                        it does its handshake
//	B$ closed                   the door must close the connection to it, and say nothing more
package transcript

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Hop is what stands behind the door.
type Hop interface {
	// Reply makes the hop answer commands that begin with prefix; "" takes it back.
	Reply(prefix, text string)
	// Lines are all lines received so far: the commands, then the lines of the messages as they came over the wire.
	Lines() []string
	// Count is how many messages were taken.
	Count() int
}

// Door is what a transcript speaks with.
type Door struct {
	Address string
	TLS     *tls.Config
	Hop     Hop
	// Backend is where the server behind the door listens whose words the transcript says, BackendTLS is for its handshake.
	Backend    net.Listener
	BackendTLS *tls.Config
}

// RunAll runs every transcript that fits the pattern. open makes a fresh door with the settings of each.
func RunAll(t *testing.T, pattern string, open func(t *testing.T, settings map[string]string) Door) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts at %s: %v", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			settings, steps := parse(t, filepath.Dir(file), string(text))
			door := open(t, settings)
			d := dial(t, door)
			for _, s := range steps {
				d.step(s)
			}
			_ = d.conn.Close() // the test is over
		})
	}
}

type step struct {
	line int
	kind string
	text string
}

func parse(t *testing.T, dir, text string) (map[string]string, []step) {
	t.Helper()
	settings := map[string]string{}
	var steps []step
	for i, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		kind, rest, _ := strings.Cut(line, " ")
		switch kind {
		case "@":
			part, err := os.ReadFile(filepath.Join(dir, rest))
			if err != nil {
				t.Fatal(err)
			}
			_, more := parse(t, dir, string(part))
			steps = append(steps, more...)
		case "C:", "S:", "C!", "S!", "N:", ">:", "=:", "TLS", "B:", "B!", "B>", "B=", "B$", "BTLS":
			steps = append(steps, step{i + 1, kind, rest})
		default:
			if len(steps) > 0 || !strings.HasSuffix(kind, ":") {
				t.Fatalf("line %d: what is %q?", i+1, line)
			}
			settings[strings.TrimSuffix(kind, ":")] = strings.TrimSpace(rest)
		}
	}
	return settings, steps
}

type dialogue struct {
	t    *testing.T
	door Door
	conn net.Conn
	in   *bufio.Reader
	skip bool
	seen int // lines of the hop that >: has passed

	back   net.Conn // to the server behind the door
	backIn *bufio.Reader
	tag    string // the first word of the last line it received by B>
}

func dial(t *testing.T, door Door) *dialogue {
	t.Helper()
	conn, err := net.Dial("tcp", door.Address)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &dialogue{t: t, door: door, conn: conn, in: bufio.NewReader(conn)}
}

func (d *dialogue) step(s step) {
	d.t.Helper()
	switch s.kind {
	case "C:":
		d.send(s, []byte(s.text+"\r\n"))
	case "C!":
		d.send(s, raw(d.t, s))
	case "S:":
		d.expect(s)
	case "S!":
		d.closed(s)
	case "TLS":
		t := tls.Client(d.conn, d.door.TLS)
		if err := t.Handshake(); err != nil {
			d.t.Fatalf("line %d: handshake: %v", s.line, err)
		}
		d.conn, d.in = t, bufio.NewReader(t)
	case "N:":
		prefix, reply, _ := strings.Cut(s.text, " => ")
		d.door.Hop.Reply(prefix, strings.ReplaceAll(reply, `\n`, "\n"))
	case ">:":
		d.received(s)
	case "B:", "B!", "B>", "B=", "B$", "BTLS":
		d.backend(s)
	case "=:":
		if want, got := s.text, strconv.Itoa(d.door.Hop.Count()); want != got {
			d.t.Fatalf("line %d: the next hop has %s messages, want %s", s.line, got, want)
		}
	}
}

func (d *dialogue) send(s step, p []byte) {
	d.t.Helper()
	if _, err := d.conn.Write(p); err != nil && s.kind == "C:" {
		d.t.Fatalf("line %d: %v", s.line, err)
	}
}

func raw(t *testing.T, s step) []byte {
	t.Helper()
	quoted, times, repeated := s.text, "1", false
	if i := strings.LastIndex(s.text, `" * `); i > 0 {
		quoted, times, repeated = s.text[:i+1], s.text[i+4:], true
	}
	text, err := strconv.Unquote(quoted)
	n, err2 := strconv.Atoi(times)
	if err != nil || repeated && err2 != nil {
		t.Fatalf("line %d: %s is no Go string", s.line, s.text)
	}
	return bytes.Repeat([]byte(text), n)
}

func (d *dialogue) expect(s step) {
	d.t.Helper()
	if s.text == "..." {
		d.skip = true
		return
	}
	for {
		line, err := d.in.ReadString('\n')
		if err != nil {
			d.t.Fatalf("line %d: want %q, the server said %q and then: %v", s.line, s.text, line, err)
		}
		if !strings.HasSuffix(line, "\r\n") {
			d.t.Fatalf("line %d: reply not ended by CRLF: %q", s.line, line)
		}
		if fits(s.text, strings.TrimSuffix(line, "\r\n")) {
			d.skip = false
			return
		}
		if !d.skip {
			d.t.Fatalf("line %d: want %q, got %q", s.line, s.text, line)
		}
	}
}

func fits(pattern, line string) bool {
	parts := strings.Split(pattern, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(line)
}

func (d *dialogue) closed(s step) {
	d.t.Helper()
	rest, err := io.ReadAll(d.in)
	if len(rest) > 0 {
		d.t.Fatalf("line %d: want the connection closed, got %q", s.line, rest)
	}
	if err != nil && strings.Contains(err.Error(), "timeout") {
		d.t.Fatalf("line %d: want the connection closed, it stands: %v", s.line, err)
	}
}

func (d *dialogue) received(s step) {
	d.t.Helper()
	lines := d.door.Hop.Lines()
	for i := d.seen; i < len(lines); i++ {
		if fits(s.text, lines[i]) {
			d.seen = i + 1
			return
		}
	}
	d.t.Fatalf("line %d: the next hop did not receive %q; it has\n%s", s.line, s.text, fmt.Sprintf("%q", lines))
}
