package smtpd

import (
	"bytes"
	"strings"
	"testing"
)

// naive is the rule of RFC 5321 section 2.3.8 and 4.5.2 one octet at a time, written without regard to speed.
func naive(p []byte, dots bool) (out []byte, flaws flaw, used int, end bool) {
	lineStart := true
	for i := 0; i < len(p); i++ {
		rest := string(p[i:])
		if lineStart && dots && rest[0] == '.' {
			if strings.HasPrefix(rest, ".\r\n") {
				return out, flaws, i + 3, true
			}
			lineStart = false
			continue
		}
		lineStart = false
		switch {
		case strings.HasPrefix(rest, "\r\n"):
			out = append(out, "\r\n"...)
			i++
			lineStart = true
		case rest[0] == '\r':
			flaws |= flawBareCR
			out = append(out, ' ')
		case rest[0] == '\n':
			flaws |= flawBareLF
			out = append(out, "\r\n"...)
		case rest[0] == 0:
			flaws |= flawNUL
			out = append(out, ' ')
		default:
			out = append(out, rest[0])
		}
	}
	return out, flaws, len(p), false
}

func run(p []byte, dots bool, step int) (out []byte, flaws flaw, used int, end bool) {
	var b bytes.Buffer
	d := normaliser{out: &b, dots: dots, limit: 1 << 30}
	for used < len(p) && !end {
		n := min(step, len(p)-used)
		var took int
		took, end = d.take(p[used : used+n])
		used += took
	}
	return b.Bytes(), d.flaws, used, end
}

// Every way of writing an end of data with wrong octets: SMTP smuggling, CVE-2023-51764 and its kin. Whole or octet by
// octet, only CR LF . CR LF ends the data, and what is let through has no bare CR, LF or NUL.
func TestEndOfDataIsOnlyCRLFDotCRLF(t *testing.T) {
	t.Parallel()
	parts := []string{"", "\r", "\n", "\r\n", "\x00", " ", "\t", "\v", "x", "\r\r\n", "\n\r"}
	for _, before := range parts {
		for _, dots := range []string{".", ".."} {
			for _, after := range parts {
				checkNormaliser(t, []byte("line\r\nbody"+before+dots+after+"MAIL FROM:<a@b>\r\n"))
				checkNormaliser(t, []byte(before+dots+after+"MAIL FROM:<a@b>\r\n"))
			}
		}
	}
}

func checkNormaliser(t *testing.T, p []byte) {
	t.Helper()
	for _, dots := range []bool{true, false} {
		want, wantFlaws, wantUsed, wantEnd := naive(p, dots)
		for _, step := range []int{1, 2, 3, 7, len(p)} {
			got, flaws, used, end := run(p, dots, max(step, 1))
			if !end && !wantEnd { // what may still become a CRLF or a lone dot is held back
				tail := len(want) - len(got)
				if tail < 0 || tail > 2 {
					t.Fatalf("%q step %d: got %q, want %q", p, step, got, want)
				}
				continue
			}
			if end != wantEnd || used != wantUsed || flaws != wantFlaws || !bytes.Equal(got, want) {
				t.Fatalf("%q dots %v step %d: got %q flaws %v used %d end %v, want %q %v %d %v", p, dots, step, got, flaws, used, end, want, wantFlaws, wantUsed, wantEnd)
			}
		}
		got, _, _, _ := run(p, dots, len(p)+1)
		clean := bytes.ReplaceAll(got, []byte("\r\n"), nil)
		if bytes.ContainsAny(clean, "\r\n\x00") {
			t.Fatalf("%q lets a bare line end through: %q", p, got)
		}
	}
}

func FuzzNormaliser(f *testing.F) {
	for _, s := range []string{"a\r\n.\r\n", "a\n.\nb\r\n.\r\n", "\r\n..\r\n.\r\n", ".\rx", "a\r\r\n\r\n.\r\n", "\x00.\r\n", "..\r\n.\r\nQUIT\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		checkNormaliser(t, p)
	})
}

func BenchmarkNormaliser(b *testing.B) {
	message := []byte(strings.Repeat("The quick brown fox jumps over the lazy dog and goes on to the end of line.\r\n", 130) + ".\r\n")
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	var out bytes.Buffer
	for b.Loop() {
		out.Reset()
		d := normaliser{out: &out, dots: true, limit: 1 << 20}
		if _, end := d.take(message); !end {
			b.Fatal("no end")
		}
	}
}
