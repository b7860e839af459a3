package campaigns

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/internal/testing/filtertest"
)

func TestCases(t *testing.T) { filtertest.Run(t, Spec) }

func FuzzInspect(f *testing.F) { filtertest.Fuzz(f, Spec) }

func TestBadSettingsAreExplained(t *testing.T) {
	for want, values := range map[string]map[string]any{"half_life": {"half_life": "1m"}, "least": {"least": 0}, "networks": {"networks": 0}, "reports": {"reports": 0}} {
		_, err := Spec.New(config.NewSection("filters.campaigns", values), filters.Env{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q in it", values, err, want)
		}
	}
}

// A text with a few words changed is of the campaign, another text of the same words is not.
func TestAlike(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 200)
	for i := range words {
		words[i] = fmt.Sprintf("w%s", strings.Repeat(string(rune('a'+r.IntN(26))), 1+r.IntN(6))+string(rune('a'+r.IntN(26))))
	}
	first := of(t, words)
	found, false1 := 0, 0
	for range 100 {
		changed := append([]string(nil), words...)
		for range 4 {
			changed[r.IntN(len(changed))] = "another"
		}
		s := of(t, changed)
		if s.alike(first.bytes()) && shares(&s, &first) {
			found++
		}
		r.Shuffle(len(changed), func(i, j int) { changed[i], changed[j] = changed[j], changed[i] })
		s = of(t, changed)
		if s.alike(first.bytes()) {
			false1++
		}
	}
	if found < 90 || false1 > 0 {
		t.Errorf("%d of 100 similar texts are found, %d of 100 others", found, false1)
	}
}

func shares(a, b *sketch) bool {
	for i := range bands {
		if a.band(i) == b.band(i) {
			return true
		}
	}

	return false
}

func of(t *testing.T, words []string) sketch {
	t.Helper()
	v := mimeview.Of(mail.NewMessage([]byte("Subject: x\r\n\r\n" + strings.Join(words, " ") + "\r\n")))
	s, ok := sketchOf(v)
	if !ok {
		t.Fatal("no sketch")
	}

	return s
}
