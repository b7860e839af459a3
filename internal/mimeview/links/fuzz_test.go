package links

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever comes in, nothing panics; what is found stands in the text; and an address reads alike once it is made plain.
func FuzzLinks(f *testing.F) {
	for _, s := range []string{
		"http://a.example/x?y#z", "hxxps[:]//evil[.]com", "http:\\\\0x7f.1\\x", "www.a.com b.com/x <http://c。com>", "http://a:b@%65.com:81/", "http://[::[::[",
		"https://www.google.com/url?q=https%3A%2F%2Fl.facebook.com%2Fl.php%3Fu%3Dx.com", "https://urldefense.com/v3/__https://e.com/**Ax__;w6TDtsO8!!a$",
		"data:text/html,x", "mailto:a@b?x", "//a", "http://раураl.com", "http://xn--a-.com", strings.Repeat("http://", 100), strings.Repeat("a.", 3000),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n := 0
		Find(text, func(raw string) bool {
			if n++; !strings.Contains(text, raw) || len(raw) > MaxURL+1 {
				t.Fatalf("%q", raw)
			}
			check(t, raw)
			return n < 50
		})
		check(t, text)
		Shown(text)
	})
}

func check(t *testing.T, raw string) {
	l, ok := Parse(raw, "http://base.example/")
	if !utf8.ValidString(l.URL) || !utf8.ValidString(l.Host) || len(l.URL) > 4*MaxURL {
		t.Fatalf("%q gives %q", raw, l.URL)
	}
	if ok && special(l.Scheme) && !l.Has(BadHost) && !l.Has(BadPunycode) {
		again, ok := Parse(l.URL, "")
		if !ok || again.Host != l.Host && len(l.URL) <= MaxURL {
			t.Fatalf("%q gives %q, whose host is %q", raw, l.URL, again.Host)
		}
	}
	if all := Targets(&l); len(all) > MaxHops {
		t.Fatal(len(all))
	}
}
