package line_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"postern/proxy/line"
)

// script is a connection that says what it has, in pieces of a size, and keeps what it hears.
type script struct {
	net.Conn
	rest  []byte
	piece int
	heard bytes.Buffer
	until time.Time
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.rest[:min(len(s.rest), max(1, s.piece))])
	s.rest = s.rest[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error)        { return s.heard.Write(p) }
func (s *script) SetReadDeadline(t time.Time) error  { s.until = t; return nil }
func (s *script) SetWriteDeadline(_ time.Time) error { return nil }

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 40<<10)
	strict, crlf, lenient := line.Rules{Limit: 10}, line.Rules{Limit: 10, Ends: line.CRLF, Skip: 100 << 10}, line.Rules{Limit: 10, Ends: line.Lenient, Skip: 100 << 10}
	extended := line.Rules{Limit: 10, Extend: func(p []byte) int { return map[byte]int{'l': 100}[p[0]] }}
	for _, c := range []struct {
		name, text string
		rules      line.Rules
		want       string // of all lines, "!" for one over the limit
		err        error  // behind them
	}{
		{"two", "one\r\ntwo\r\n", strict, "one|two|", io.EOF},
		{"at the limit", "0123456789\r\n", strict, "0123456789|", io.EOF},
		{"over the limit", "0123456789a\r\n", strict, "", line.ErrLimit},
		{"without an end", "0123456789abc", strict, "", line.ErrLimit},
		{"extended", "l123456789abc\r\n", extended, "l123456789abc|", io.EOF},
		{"not extended", "k123456789abc\r\n", extended, "", line.ErrLimit},
		{"bare LF", "one\ntwo\r\n", strict, "", line.ErrBare},
		{"bare CR", "one\rtwo\r\n", strict, "", line.ErrBare},
		{"NUL", "one\x00\r\n", strict, "", line.ErrBare},
		{"what an SMTP line may hold", "o\rn\x00e\r\n", crlf, "o\rn\x00e|", io.EOF},
		{"bare LF in SMTP", "one\ntwo\r\n", crlf, "", line.ErrBare},
		{"mended", "one\ntwo\r\n\n", lenient, "one|two||", io.EOF},
		{"skipped", "a\r\n" + long + "\r\nb\r\n", crlf, "a|!b|", io.EOF},
		{"skipped within the buffer", "a\r\n0123456789a\r\nb\r\n", crlf, "a|!b|", io.EOF},
		{"endless", "a\r\n" + long + long + long, crlf, "a|", line.ErrEndless},
	} {
		for _, piece := range []int{1, 7, 100 << 10} {
			r := line.NewReader(&script{rest: []byte(c.text), piece: piece}, &line.Buffers{})
			got, err := "", error(nil)
			for err == nil {
				var p []byte
				p, err = r.Line(c.rules)
				switch {
				case err == nil:
					got += string(p) + "|"
				case errors.Is(err, line.ErrLimit) && c.rules.Skip > 0:
					got, err = got+"!", nil
				}
			}
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("%s in pieces of %d: %q %v, want %q %v", c.name, piece, got, err, c.want, c.err)
			}
		}
	}
}

// A line that has begun has its own time, and what is between two lines has the reader's.
func TestTimeOfALine(t *testing.T) {
	now := time.Now()
	conn := &script{rest: []byte("NO"), piece: 2}
	r := line.NewReader(conn, &line.Buffers{})
	r.Now, r.Idle = func() time.Time { return now }, 5*time.Minute
	looks := []time.Time{}
	r.Over = func() bool { looks = append(looks, conn.until); return false }
	if _, err := r.Line(line.Rules{Limit: 10, Time: time.Minute}); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if len(looks) != 2 || !looks[0].Equal(now.Add(5*time.Minute)) || !looks[1].Equal(now.Add(time.Minute)) {
		t.Errorf("it waits until %v", looks)
	}
	r.Cap = now.Add(time.Second)
	if _, err := r.Line(line.Rules{Limit: 10, Time: time.Minute}); !errors.Is(err, io.EOF) || !conn.until.Equal(r.Cap) {
		t.Errorf("%v until %v", err, conn.until)
	}
}

// A read that waits looks up now and then, and ends when connections are scarce.
func TestHurryUnderPressure(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	r := line.NewReader(ours, &line.Buffers{})
	r.Idle, r.Hurry = time.Hour, time.Millisecond
	looks := 0
	r.Pressed = func() bool { looks++; return looks == 3 }
	if _, err := r.Line(line.Rules{Limit: 10}); !errors.Is(err, os.ErrDeadlineExceeded) || looks != 3 {
		t.Errorf("%v after %d looks", err, looks)
	}
}

func TestOctetsBehindALine(t *testing.T) {
	text := strings.Repeat("message ", 20<<10)
	r := line.NewReader(&script{rest: []byte("DATA\r\n" + text + "QUIT\r\n"), piece: 50 << 10}, &line.Buffers{})
	if p, err := r.Line(line.Rules{Limit: 10}); string(p) != "DATA" || err != nil {
		t.Fatalf("%q %v", p, err)
	}
	r.Widen()
	got := []byte{}
	for len(got) < len(text) {
		p, err := r.Peek()
		if err != nil {
			t.Fatal(err)
		}
		p = p[:min(len(p), len(text)-len(got))]
		got = append(got, p...)
		r.Discard(len(p))
	}
	r.Rest()
	if p, err := r.Line(line.Rules{Limit: 10}); string(got) != text || string(p) != "QUIT" || err != nil {
		t.Errorf("%d octets, then %q %v", len(got), p, err)
	}
}

func TestWriter(t *testing.T) {
	for _, buffers := range []*line.Buffers{nil, {}} {
		conn := &script{}
		w := line.NewWriter(conn, buffers)
		want := ""
		for i := range 200 {
			text := strings.Repeat("x", i*i%9000) + "\r\n"
			w.Say(text)
			want += text
		}
		w.Put(bytes.Repeat([]byte("y"), 40<<10))
		want += strings.Repeat("y", 40<<10)
		w.Say("bye\r\n")
		if err := w.Flush(); err != nil || conn.heard.String() != want+"bye\r\n" || w.Octets() != int64(conn.heard.Len()) || w.Buffered() != 0 {
			t.Errorf("%v, %d octets of %d", err, w.Octets(), len(want))
		}
	}
}

// FuzzLine: however the octets are cut, lines are the same, and a strict one is a line for every reader.
func FuzzLine(f *testing.F) {
	for _, seed := range []string{"a\r\nb\r\n", "a\nb\r\n", "a\r\r\n", "a\x00\r\n", "0123456789abc\r\nx\r\n", strings.Repeat("x", 3000), "\r\n\r\n", "\n"} {
		f.Add([]byte(seed), 3, uint8(0))
		f.Add([]byte(seed), 1000, uint8(1))
		f.Add([]byte(seed), 1, uint8(2))
	}
	f.Fuzz(func(t *testing.T, text []byte, piece int, ends uint8) {
		rules := line.Rules{Limit: 10, Ends: line.Ends(ends % 3), Skip: int(ends) * 8}
		all := func(piece int) (lines []string, last error) {
			r := line.NewReader(&script{rest: text, piece: piece}, &line.Buffers{})
			for {
				p, err := r.Line(rules)
				switch {
				case errors.Is(err, line.ErrLimit) && rules.Skip > 0:
					lines = append(lines, "over the limit")
				case err != nil:
					return lines, err
				case len(p) > rules.Limit || bytes.IndexByte(p, '\n') >= 0:
					t.Fatalf("%q is one line", p)
				case rules.Ends == line.Strict && bytes.ContainsAny(p, "\r\x00"):
					t.Fatalf("%q is a strict line", p)
				default:
					lines = append(lines, string(p))
				}
			}
		}
		one, err := all(1)
		other, err2 := all(piece)
		if errors.Is(err, line.ErrEndless) || errors.Is(err2, line.ErrEndless) {
			return // how far a flood is read depends on how it comes
		}
		if strings.Join(one, "\n") != strings.Join(other, "\n") || !errors.Is(err2, err) && !errors.Is(err2, line.ErrLimit) && !errors.Is(err, line.ErrLimit) {
			t.Fatalf("%q %v in pieces of 1, %q %v in pieces of %d", one, err, other, err2, piece)
		}
	})
}
