package htmltext

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// What is read of a start tag is what the tokenizer reads of it.
func FuzzTag(f *testing.F) {
	for _, s := range []string{
		`<a href=x/>`, `<a/href=x>`, `<A HREF='a&amp;b' href=c>`, `<a =href=x>`, `<a b/=c style = "d">`, `<p style="a	b" hidden>`, "<p id=a\x00b class=\r\nb>",
		`<img src="x&copy=1&amp;y" src=2>`, `<p style=>a`, `<p style="a>b" id='c"d'>`, `<td bgcolor=#fff background=x/ text==y>`, `<p id=&amp;amp; class=&amp>`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		z := html.NewTokenizer(strings.NewReader(source))
		for {
			kind := z.Next()
			if kind == html.ErrorToken {
				return
			}
			if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
				continue
			}
			plain, whole := reader{}, reader{}
			raw := string(z.Raw())
			name := plain.tag(z)
			again := html.NewTokenizer(strings.NewReader(raw))
			again.Next()
			whole.anyAttrs(again)
			if !slices.Equal(plain.attrs, whole.attrs) {
				t.Fatalf("%q: %q, not %q", raw, plain.attrs, whole.attrs)
			}
			again = html.NewTokenizer(strings.NewReader(raw))
			again.Next()
			if want, _ := again.TagName(); !strings.Contains(raw, "\x00") && name != string(want[:min(len(want), 32)]) {
				t.Fatalf("%q: %q, not %q", raw, name, want)
			}
		}
	})
}
