package dnslists

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/testing/filtertest"
)

func TestCases(t *testing.T) { filtertest.Run(t, Spec) }

// Whatever a message holds, what is asked fits into DNS and into the bounds, and what is found is declared.
func FuzzMessages(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if _, message, ok := strings.Cut(string(text), "\n\n"); ok {
			f.Add([]byte(strings.ReplaceAll(message, "\n", "\r\n")))
		}
	}
	h := newHouse(f, "x.example A 192.0.2.1\n", map[string]any{"use": []string{"surbl", "spamhaus-dbl", "msbl-ebl"}})
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := mail.NewMessage(raw)
		about, _, err := h.contents(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		counts := map[kind]int{}
		for _, s := range about {
			counts[s.kind]++
			for _, l := range h.lists {
				name := l.question(s)
				if len(name) > 253 || slices.ContainsFunc(strings.Split(name, "."), func(label string) bool { return len(label) > 63 }) {
					t.Errorf("asks %q", name)
				}
			}
		}
		if counts[kindURI] > maxDomains || counts[kindHash] > maxAddresses {
			t.Errorf("asks about %v", counts)
		}
		tx := &mail.Transaction{Stage: mail.StageMessage, Session: &mail.Session{}, Message: m}
		found, err := h.Inspect(t.Context(), tx)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range found {
			if !slices.Contains(filtertest.Names(Spec), one.Symbol) {
				t.Errorf("%s is not declared", one.Symbol)
			}
		}
	})
}
