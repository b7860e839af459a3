package reported_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/proxy/reported"
)

// What mail programs make of "forward as attachment", one file each.
func TestMessages(t *testing.T) {
	want, err := os.ReadFile("testdata/want.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(want)) {
		name, want, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if strings.HasPrefix(line, "#") || !ok {
			continue
		}
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			all, err := reported.Messages(mail.NewMessage(raw), 1<<20)
			if err != nil {
				if got := "error: " + err.Error(); got != want {
					t.Errorf("%s, want %s", got, want)
				}
				return
			}
			var subjects []string
			for _, m := range all {
				subjects = append(subjects, m.Header().Get("Subject"))
				octets, err := io.ReadAll(m.Open())
				if err != nil || bytes.Count(octets, []byte("\n")) != bytes.Count(octets, []byte("\r\n")) {
					t.Errorf("%q, %v: want lines that end in CRLF", octets, err)
				}
				if subjects[0] == "You won 1" && !bytes.HasSuffix(bytes.TrimRight(octets, "\r\n"), []byte("Claim it now.")) {
					t.Errorf("%q: not all of the message", octets)
				}
			}
			if got := strings.Join(subjects, " | "); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// However a report is made, no more is read than the bounds allow.
func FuzzMessages(f *testing.F) {
	files, err := filepath.Glob("testdata/*.eml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		const limit = 1000
		all, err := reported.Messages(mail.NewMessage(raw), limit)
		if err == nil && (len(all) == 0 || len(all) > reported.MaxMessages) {
			t.Fatalf("%d messages", len(all))
		}
		for _, m := range all {
			if m.Size() > 2*limit { // LF becomes CRLF
				t.Fatalf("%d octets", m.Size())
			}
		}
	})
}
