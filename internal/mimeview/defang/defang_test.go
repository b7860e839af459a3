package defang

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func TestWhatActsIsTakenOut(t *testing.T) {
	text, err := os.ReadFile("testdata/cases.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for i := 1; i < len(lines); i++ {
		in, want := lines[i], lines[i]
		if i+1 < len(lines) && strings.HasPrefix(lines[i+1], "= ") {
			want = lines[i+1][2:]
			i++
		}
		got, changed := HTML([]byte(in))
		if string(got) != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
		if !changed && in != string(got) {
			t.Errorf("%s: said to be unchanged", in)
		}
	}
}

func FuzzHTML(f *testing.F) {
	text, err := os.ReadFile("testdata/cases.txt")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out, _ := HTML(in)
		again := html.NewTokenizer(bytes.NewReader(out))
		for again.Next() != html.ErrorToken { // nothing that acts in what is left
			token := again.Token()
			if token.Type != html.StartTagToken && token.Type != html.SelfClosingTagToken {
				continue
			}
			if fate(token.Data) != kept {
				t.Fatalf("%q is left of %q", out, in)
			}
			for _, a := range token.Attr {
				if strings.HasPrefix(a.Key, "on") || acts(a) {
					t.Fatalf("%q is left of %q", out, in)
				}
			}
		}
	})
}
