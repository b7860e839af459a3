package mask

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"postern/internal/mail"
)

// Real mail: with POSTERN_CORPUS set to a folder, each message in it is overwritten, and nothing of its content is left
// but the delimiters and the fields of its parts.
func TestCorpus(t *testing.T) {
	corpus := os.Getenv("POSTERN_CORPUS")
	if corpus == "" {
		t.Skip("set POSTERN_CORPUS to a folder of messages")
	}
	messages, whole, broken := 0, 0, 0
	err := filepath.WalkDir(corpus, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		raw = bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		if bytes.HasPrefix(raw, []byte("From ")) { // of a mailbox in mbox format
			_, raw, _ = bytes.Cut(raw, []byte("\n"))
		}
		plan, out := masked(t, raw)
		lineEndsStay(t, raw, out)
		messages++
		kept := map[string]bool{}
		if plan.root == nil {
			whole++
		}
		for _, s := range plan.spans {
			for line := range strings.Lines(string(s.kept)) {
				kept[strings.TrimSpace(line)] = true
			}
		}
		for at := plan.header; at < int64(len(raw)); {
			line, next, _ := cutLine(raw, int(at))
			now := out[at : int(at)+len(line)]
			if len(bytes.TrimSpace(line)) > 24 && bytes.Equal(line, now) && !kept[strings.TrimSpace(string(line))] && strings.Trim(string(line), "ICAg") != "" {
				t.Errorf("%s: %q is left", name, line)
			}
			at = int64(next)
		}
		was, is := viewTree(raw), viewTree(out)
		if decoded := regexp.MustCompile("(?m)^[0-9]+ octets"); plan.root != nil && decoded.ReplaceAllString(was, "") != decoded.ReplaceAllString(is, "") {
			t.Errorf("%s: our reader saw\n%s\nand now\n%s", name, was, is)
		}
		if was != is { // broken base64 and quoted-printable has no length that all agree on
			broken++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages, %d of them overwritten whole, %d with another decoded length", messages, whole, broken)
}

func BenchmarkNew(b *testing.B) {
	for name, body := range map[string]string{
		"text":   strings.Repeat("Some words in a line of text, and more of them behind it, up to here.\r\n", 1<<16),
		"base64": strings.Repeat(strings.Repeat("QUJD", 19)+"\r\n", 1<<16),
	} {
		encoding := map[string]string{"text": "7bit", "base64": "base64"}[name]
		raw := []byte("From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: " + encoding + "\r\n\r\n" + body)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				m := mail.NewMessage(raw)
				New(m, notice)
				_ = m.Close() // it has no file
			}
		})
		b.Run(name+" written", func(b *testing.B) {
			m := mail.NewMessage(raw)
			plan := New(m, notice)
			buf := bytes.Clone(raw)
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				for at := 0; at < len(buf); at += 32 << 10 {
					plan.Message(buf[at:min(len(buf), at+32<<10)], int64(at))
				}
			}
		})
	}
}
