package rules

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/mimeview"
)

// Each folder of testdata/cases has rules, a message and what SpamAssassin 4.0.1 found in it by these rules, with counts:
// testdata/spamassassin.pl --rules rules.cf, with the plugins that Debian loads.
func TestCasesAsSpamAssassinHasThem(t *testing.T) {
	folders, err := filepath.Glob("testdata/cases/*")
	if err != nil || len(folders) < 8 {
		t.Fatal("no cases", err)
	}
	for _, dir := range folders {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			set, problems := ParseWith(Options{All: true}, Foreign([]File{{Name: "rules.cf", Text: read(t, dir, "rules.cf")}})...)
			for _, p := range problems {
				if p.Kind == BadLine || p.Kind == Unsupported {
					t.Error(p)
				}
			}
			v := mimeview.New(mail.NewMessage([]byte(crlf(read(t, dir, "message.eml")))), mimeview.Options{})
			var lines []string
			values := set.Values(Input{View: v})
			for _, n := range sortedKeys(values) {
				lines = append(lines, fmt.Sprintf("%s %v", n, values[n]))
			}
			want := strings.Fields(strings.ReplaceAll(strings.TrimSpace(read(t, dir, "hits.txt")), " ", "="))
			got := strings.Fields(strings.ReplaceAll(strings.Join(lines, "\n"), " ", "="))
			for _, w := range difference(want, got) {
				t.Errorf("%s is not found", w)
			}
			for _, g := range difference(got, want) {
				t.Errorf("%s is found, and SpamAssassin does not find it", g)
			}
		})
	}
}

func difference(all, without []string) (left []string) {
	have := map[string]bool{}
	for _, s := range without {
		have[s] = true
	}
	for _, s := range all {
		if !have[s] {
			left = append(left, s)
		}
	}
	return left
}

func read(t testing.TB, dir, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
