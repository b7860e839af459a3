package relay

import (
	"bufio"
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// naive is RFC 5321 section 4.5.2 in as few words as it can be said.
func naive(message string) string {
	if message == "" {
		return ".\r\n"
	}
	lines := strings.Split(strings.TrimSuffix(message, "\r\n"), "\r\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = "." + line
		}
	}
	return strings.Join(lines, "\r\n") + "\r\n.\r\n"
}

func TestDotWriterDoesAsTheNaiveOne(t *testing.T) {
	pieces := []string{".", "..", "\r\n", "a", "bcd", ".\r\n", "\r\n.", "x.y", strings.Repeat("z", 70)}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		var b strings.Builder
		for range random.IntN(12) {
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
		message := b.String()
		var out bytes.Buffer
		w := &dotWriter{w: &out, buf: make([]byte, 0, 1+random.IntN(40))}
		for rest := message; rest != ""; {
			n := 1 + random.IntN(len(rest))
			if _, err := w.Write([]byte(rest[:n])); err != nil {
				t.Fatalf("%q: %v", message, err)
			}
			rest = rest[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatalf("%q: %v", message, err)
		}
		if out.String() != naive(message) {
			t.Fatalf("%q:\ngot  %q\nwant %q", message, out.String(), naive(message))
		}
	}
}

func TestDotWriterRefusesWhatMustNotLeave(t *testing.T) {
	for _, message := range []string{"\n", "a\nb", "a\rb", "\r\r\n", "a\r\n\n", "a\x00", "\r"} {
		for size := 1; size <= len(message); size++ {
			w := &dotWriter{w: &bytes.Buffer{}, buf: make([]byte, 0, 8)}
			var err error
			for at := 0; at < len(message) && err == nil; at += size {
				_, err = w.Write([]byte(message[at:min(at+size, len(message))]))
			}
			if err == nil {
				err = w.Close()
			}
			if !errors.Is(err, errNotNormal) {
				t.Errorf("%q in pieces of %d: %v", message, size, err)
			}
		}
	}
}

func FuzzReadReply(f *testing.F) {
	for _, seed := range []string{
		"250 ok\r\n", "250-a\r\n250 b\r\n", "250-2.0.0 a\r\n250 2.0.0 b\r\n", "250\r\n", "250", "250-\r\n250\r\n", "550 5.1.1\r\n", "250 4.1.1 x\r\n",
		"25a x\r\n", "250_x\r\n", "\r\n", "\x00\x00\x00 \r\n", "250-a\r\n550 b\r\n", "250 a\n", "250 a\rb\r\n", "999 x\r\n", "250 2.0.0\r\n", "550 5.7.1.1 x\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		reply, err := readReply(bufio.NewReaderSize(bytes.NewReader(wire), maxReplyLine))
		if err != nil {
			return
		}
		if reply.Code < 200 || reply.Code > 599 {
			t.Errorf("code %d", reply.Code)
		}
		// Whatever a hop says, our own client gets one reply: as many lines, each whole.
		out := string(reply.AppendWire(nil))
		again, err := readReply(bufio.NewReaderSize(strings.NewReader(out), maxReplyLine))
		if err != nil || again.Code != reply.Code {
			t.Errorf("%q became %q, which reads %+v %v", wire, out, again, err)
		}
		if n := strings.Count(out, "\r\n"); n != strings.Count(reply.Text, "\n")+1 || strings.Count(out, "\r") != n || strings.Count(out, "\n") != n {
			t.Errorf("%q became %q", wire, out)
		}
	})
}

func TestEnhancedCodes(t *testing.T) {
	for wire, want := range map[string]string{
		"250-2.1.5 a\r\n250 2.1.5 b\r\n": "2.1.5|a\nb", "250 ok\r\n": "|ok", "550 5.1.1\r\n": "5.1.1|", "550 4.1.1 x\r\n": "|4.1.1 x",
		"550 5.1.1 <a@b>: 5.1.1 x\r\n": "5.1.1|<a@b>: 5.1.1 x", "250 2.0.0.1 x\r\n": "|2.0.0.1 x", "250 192.0.2 x\r\n": "|192.0.2 x",
	} {
		reply, err := readReply(bufio.NewReaderSize(strings.NewReader(wire), maxReplyLine))
		if got := reply.Enhanced + "|" + reply.Text; err != nil || got != want {
			t.Errorf("%q: %q %v, want %q", wire, got, err, want)
		}
	}
}
