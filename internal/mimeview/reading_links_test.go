package mimeview

import (
	"os"
	"strings"
	"testing"

	"postern/internal/mimeview/links"
)

// each calls with the two sides of "left => right" of each line of a file.
func each(t *testing.T, file string, call func(t *testing.T, left, right string)) {
	raw, err := os.ReadFile("testdata/reading/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		left, right, ok := strings.Cut(strings.TrimSpace(line), " => ")
		if !ok || strings.HasPrefix(line, "# ") {
			continue
		}
		call(t, unquote(t, left), unquote(t, right))
	}
}

func flagged(text string, flags []string) string {
	if len(flags) > 0 {
		text += " | " + strings.Join(flags, ", ")
	}
	return text
}

func TestLinksAreReadAsBrowsersRead(t *testing.T) {
	each(t, "links.txt", func(t *testing.T, left, right string) {
		l, ok := links.Parse(left, "")
		links.Mark(&l)
		got := flagged(l.URL, l.Flags)
		if !ok {
			got = "none"
		}
		if got != right {
			t.Errorf("%q is %q, want %q", left, got, right)
		}
	})
}

func TestRedirectorsAreUnwrapped(t *testing.T) {
	each(t, "redirectors.txt", func(t *testing.T, left, right string) {
		l, ok := links.Parse(left, "")
		if !ok {
			t.Fatal(left)
		}
		var all []string
		for _, target := range links.Targets(&l) {
			if !target.Has(links.Redirected) {
				t.Errorf("%s: %v", target.URL, target.Flags)
			}
			all = append(all, target.URL)
		}
		got := flagged(strings.Join(all, " "), l.Flags)
		if len(all) == 0 {
			got = "none"
		}
		if got != right {
			t.Errorf("%q leads to %q, want %q", left, got, right)
		}
	})
}

func TestLinksAreFound(t *testing.T) {
	raw, err := os.ReadFile("testdata/reading/found.txt")
	if err != nil {
		t.Fatal(err)
	}
	for block := range strings.SplitSeq(string(raw), "\n\n") {
		lines := strings.Split(strings.TrimSpace(block), "\n")
		name, ok := strings.CutPrefix(lines[0], "case ")
		if !ok {
			continue
		}
		var got, want []string
		word, content, _ := strings.Cut(lines[1], " ")
		for _, l := range viewOf(word, unquote(t, content)).Links() {
			got = append(got, "link "+flagged(l.URL+" | "+l.Where, l.Flags))
		}
		want = append(want, lines[2:]...)
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}
