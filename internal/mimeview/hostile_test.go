package mimeview

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
	"postern/internal/testing/cputime"
	"postern/internal/testing/heap"
)

// nested is a multipart in a multipart and so on, none of them closed.
func nested(levels int) string {
	var b strings.Builder
	for i := range levels {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	return b.String() + "\r\nx\r\n"
}

// hostile are messages of about n octets that cost a careless reader far more than that.
func hostile() map[string]func(n int) string {
	const multi = "Content-Type: multipart/mixed; boundary=a\r\n\r\n"
	fill := func(front, piece string) func(int) string {
		return func(n int) string { return front + strings.Repeat(piece, n/len(piece)+1) }
	}
	counted := func(front, piece string) func(int) string {
		return func(n int) string {
			var b strings.Builder
			b.WriteString(front)
			for i := 0; b.Len() < n; i++ {
				fmt.Fprintf(&b, piece, i)
			}
			return b.String() + "\r\n\r\nx\r\n"
		}
	}
	return map[string]func(n int) string{
		"levels":           func(n int) string { return nested(n / 60) },
		"messages":         fill("", "Content-Type: message/rfc822\r\n\r\n"),
		"same boundary":    fill("", multi+"--a\r\n"),
		"empty parts":      fill(multi, "--a\r\n\r\n"),
		"parts":            fill(multi, "--a\r\nContent-Type: image/png\r\n\r\nx\r\n"),
		"no such boundary": fill(multi, "--b\r\nContent-Type: image/png\r\n\r\n"),
		"boundaries":       counted(multi, "--b%d\r\nContent-Type: text/plain\r\n\r\n"),
		"nearly":           fill(multi, "--ab\r\n"),
		"closed again":     fill(multi, "--a\r\n\r\nx\r\n--a--\r\n"),
		"dashes":           fill(multi, "-"),
		"dash lines":       fill(multi, "--\r\n"),
		"dashes and more":  fill(multi, "x--"),
		"in the line":      fill(multi, "x--a\r\nContent-Type: image/png\r\n"),
		"parameters":       counted("Content-Type: text/plain", ";\r\n a%d=b"),
		"2231":             counted("Content-Disposition: attachment", ";\r\n filename*%d*=%%41"),
		"encoded words":    fill("Subject: ", "=?utf-8?q?=41?=\r\n "),
		"many subjects":    fill("", "Content-Description: =?utf-8?q?=41?=\r\n"),
		"folds":            fill("Content-Type: text/plain", "\r\n "),
		"CR":               fill("Content-Type: text/plain\r\n", "\r"),
		"LF":               fill("Content-Type: text/plain\r\n", "\n\r"),
		"types":            counted("", "Content-Type: multipart/mixed; boundary=b%d\r\n"),
		"encodings":        fill("", "Content-Transfer-Encoding: base64 x\r\n"),
		"one line":         fill("Content-Type: text/plain\r\n\r\n", "x"),
		"one base64 line":  fill("Content-Type: text/plain\r\n\r\n", "QUJD"),
		"base64 pads":      fill("Content-Transfer-Encoding: base64\r\n\r\n", "QQ=="),
		"base64 junk":      fill("Content-Type: text/plain\r\n\r\n", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=\r\n!\r\n"),
		"short runs":       fill("Content-Type: text/plain\r\n\r\n", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=\r\nx y!\r\n"),
		"equals":           fill("Content-Transfer-Encoding: quoted-printable\r\n\r\n", "="),
		"blanks":           fill("Content-Transfer-Encoding: quoted-printable\r\n\r\n", " "),
		"equals blank":     fill("Content-Transfer-Encoding: quoted-printable\r\n\r\n", "= "),
		"percent":          fill("\r\n\r\n", "%41%41%41%41\r\n\r\n"),
		"uu":               fill("\r\n\r\n", "begin 644 a\r\n#0V%T\r\n"),
		"yenc":             fill("\r\n\r\n", "=ybegin x\r\na\r\n"),
		"tnef":             fill("Content-Type: application/ms-tnef\r\n\r\n", tnefSignature+"aa\x02\x0f\x80\x06\x00\x04\x00\x00\x00"),
		"comments":         fill("Content-Transfer-Encoding: ", "("),
		"quotes":           fill("Content-Type: multipart/mixed; boundary=", `"\`),
		"boundary":         fill("Content-Type: multipart/mixed; ", "boundary="),
		"preambles":        fill(multi, "Content-Type: text/plain\r\n\r\n"),
	}
}

func readAll(message string) *View {
	v := New(mail.NewMessage([]byte(message)), Options{})
	v.Objects()
	return v
}

func TestHostileMessagesAreLinear(t *testing.T) {
	for name, build := range hostile() {
		var took [3]time.Duration
		for i := range took {
			message := build(scale << i)
			took[i] = time.Hour
			for range 2 {
				took[i] = min(took[i], cputime.Of(func() { _ = readAll(message).Close() }))
			}
		}
		t.Logf("%-17s %v", name, took)
		// the third is twice the second: more than that is a matter of the machine, up to a point
		if took[2] > 400*time.Millisecond && took[2] > took[0]*14 || took[2] > 5*time.Second {
			t.Errorf("%s: %d octets and twice and four times as many take %v", name, scale, took)
		}
	}
}

func TestNestedUnclosedMultiparts(t *testing.T) {
	for _, levels := range []int{24, 40, 1000, 10000} {
		message := nested(levels)
		var v *View
		if took := cputime.Of(func() { v = readAll(message) }); took > 50*time.Millisecond*time.Duration(1+levels/1000) {
			t.Errorf("%d levels, %d octets: %v", levels, len(message), took)
		} else {
			t.Logf("%d levels, %d octets: %v", levels, len(message), took)
		}
		if !slices.Contains(v.Limits(), LimitDepth) {
			t.Errorf("%d levels: limits %v", levels, v.Limits())
		}
	}
}

func TestHostileMessagesNameTheirLimit(t *testing.T) {
	all := hostile()
	for name, want := range map[string]struct {
		size  int
		limit string
	}{
		"levels": {600000, LimitDepth}, "messages": {1 << 20, LimitDepth}, "empty parts": {700000, LimitParts}, "parameters": {45000, LimitParams},
		"2231": {2 << 20, LimitHeader}, "encoded words": {5 << 20, LimitHeader}, "folds": {3 << 20, LimitHeader}, "one line": {40 << 20, LimitText},
		"dash lines": {4 << 20, LimitDelimiters},
	} {
		start := time.Now()
		v := readAll(all[name](want.size))
		t.Logf("%s: %d octets, %v, %v", name, want.size, time.Since(start), v.Limits())
		if !slices.Contains(v.Limits(), want.limit) {
			t.Errorf("%s: limits %v, want %s", name, v.Limits(), want.limit)
		}
	}
}

func TestStopEndsTheReading(t *testing.T) {
	v := New(mail.NewMessage([]byte(nested(5)+strings.Repeat("QUJD\r\n", 100000))), Options{Stop: func() bool { return true }})
	v.Objects()
	if !slices.Contains(v.Limits(), LimitTime) {
		t.Error(v.Limits())
	}
}

// spooled makes a message that lies in a file.
func spooled(t testing.TB, front, line string, size int) *mail.Message {
	t.Helper()
	s := mail.Spool{Dir: t.TempDir()}
	write := func(text string) {
		if _, err := s.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	write(front)
	block := strings.Repeat(line, 1+(64<<10)/len(line))
	for s.Size() < int64(size) {
		write(block)
	}
	m, err := s.Finish()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// A message of 50 MB is read in a few MiB of memory.
func TestLargeMessagesNeedLittleMemory(t *testing.T) {
	line := strings.Repeat("QUJD", 19) + "\r\n"
	for name, front := range map[string]string{
		"attachment": "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: x/y\r\nContent-Transfer-Encoding: base64\r\n\r\n",
		"text":       "Content-Type: text/plain\r\n\r\n",
		"bad base64": "Content-Type: x/y\r\nContent-Transfer-Encoding: base64\r\n\r\nQQ==\r\n!",
		"message":    "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n",
	} {
		m := spooled(t, front, line, 200*scale)
		v := New(m, Options{Dir: t.TempDir()})
		var objects []*Object
		start := time.Now()
		peak := heap.Peak(func() { objects = v.Objects() })
		took := time.Since(start)
		t.Logf("%s: %v, %d objects, peak of the heap %d KiB more, limits %v", name, took, len(objects), peak>>10, v.Limits())
		if peak > 12<<20 { // a mebibyte of text for word rules in its forms, and what the collector has not taken yet of the rest
			t.Errorf("%s: %d KiB", name, peak>>10)
		}
		for _, o := range objects[:min(2, len(objects))] {
			f, err := o.Open()
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, f)
			if err != nil || n != o.Size {
				t.Errorf("%s: %d octets of %d, %v", name, n, o.Size, err)
			}
			_ = f.Close()
		}
		_ = v.Close()
	}
}

func BenchmarkWalk10KBHTML(b *testing.B) {
	raw := []byte("MIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n" + strings.Repeat("<p>some words on a <b>line</b>, and http://link.example/x too</p>\r\n", 150))
	m := mail.NewMessage(raw)
	b.ReportAllocs()
	for b.Loop() {
		v := New(m, Options{})
		newWalker(v).walk()
	}
}

func BenchmarkExamine10KBHTML(b *testing.B) {
	raw := []byte("MIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n" + strings.Repeat("<p>some words on a <b>line</b>, and http://link.example/x too</p>\r\n", 150))
	m := mail.NewMessage(raw)
	b.ReportAllocs()
	for b.Loop() {
		New(m, Options{}).Objects()
	}
}

func BenchmarkExamine1MBAttachment(b *testing.B) {
	m := spooled(b, "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: x/y\r\nContent-Transfer-Encoding: base64\r\n\r\n", strings.Repeat("QUJD", 19)+"\r\n", 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		New(m, Options{}).Objects()
	}
}
