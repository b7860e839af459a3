package proxy

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"postern/internal/mimeview/recode"
)

// A refolded field has the same value, no line of white space only, and no overlong line where it has spaces.
func TestRefold(t *testing.T) {
	long := strings.Repeat("a", 400)
	for name, raw := range map[string]string{
		"references": "References: " + strings.Repeat("<AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@f.example> ", 60) + "\r\n",
		"tabs":       "X-A:\t" + strings.Repeat("b\t\tc ", 400) + "\r\n",
		"long words": "X-A: " + strings.Join([]string{long, long, long, long}, " ") + "\r\n",
		"folded":     "X-A: a\r\n " + strings.Repeat("word ", 300) + "\r\n\tend\r\n",
	} {
		folded, done := refold([]byte(raw))
		if !done || recode.HasLong(folded) {
			t.Errorf("%s: %v %q", name, done, folded)
		}
		checkFolded(t, []byte(raw), folded)
	}
	if _, done := refold([]byte("Subject: short\r\n")); done {
		t.Error("a short field was folded")
	}
}

func checkFolded(t *testing.T, raw, folded []byte) {
	t.Helper()
	unfold := func(b []byte) string { // RFC 5322 section 2.2.3
		return string(bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n "), []byte(" ")), []byte("\r\n\t"), []byte("\t")))
	}
	if unfold(raw) != unfold(folded) {
		t.Errorf("%q\nbecame\n%q", raw, folded)
	}
	was := 0
	for line := range bytes.SplitSeq(raw, []byte("\r\n")) {
		if len(line) > 0 && len(bytes.TrimSpace(line)) == 0 {
			was++
		}
	}
	for line := range bytes.SplitSeq(folded, []byte("\r\n")) {
		if len(line) > 0 && len(bytes.TrimSpace(line)) == 0 {
			was--
		}
	}
	if was < 0 {
		t.Errorf("a line of white space in %q", folded)
	}
}

func FuzzRefold(f *testing.F) {
	if text, err := os.ReadFile("testdata/long-references.eml"); err == nil {
		f.Add(text)
	}
	f.Add([]byte("X: " + strings.Repeat("a b\tc  ", 300) + "\r\n"))
	f.Add([]byte("X: " + strings.Repeat(" ", 2000) + "\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if folded, done := refold(raw); done {
			checkFolded(t, raw, folded)
		}
	})
}
