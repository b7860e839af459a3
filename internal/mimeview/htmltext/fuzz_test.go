package htmltext

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever comes in, nothing panics, no text is made up, and what is shown or hidden is in the whole.
func FuzzHTML(f *testing.F) {
	for _, s := range []string{
		"<p style='display:none'>a<p>b", "<style>.a{color:#fff}@media x{.b{display:none}}</style><i class='a b'>c", "<a href=x>y<!--[if mso]><b>c</b><![endif]-->",
		"<iframe srcdoc='&lt;p hidden>a'>", "<table><tr><td>a<td style='d\\69splay:none'>b", "<script>x='https:\\/\\/a/'</script><meta http-equiv=refresh content='0;url=x'>",
		"<p style='font:0/0 a;clip:rect(0,0,0,0);background:rgb(1,2,3)'>", "<img srcset='a 1x, b 2x'><title>" + strings.Repeat("t", 300),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		page := Read(source)
		if len(page.Visible)+len(page.Hidden) > 4*len(source)+64 || len(page.Unstyled) > 4*len(source)+64 || len(page.Refs) > MaxRefs {
			t.Fatalf("%d and %d octets, %d links of %d octets", len(page.Visible), len(page.Hidden), len(page.Refs), len(source))
		}
		if utf8.ValidString(source) && !utf8.ValidString(page.Visible) {
			t.Fatalf("%q", page.Visible)
		}
		if page.Preheader > len(page.Hidden) || len(page.Inline) > maxData || len(page.Grids) > maxGrids {
			t.Fatalf("%d of %d, %d pictures, %d grids", page.Preheader, len(page.Hidden), len(page.Inline), len(page.Grids))
		}
		if page.Hidden == "" && page.Unstyled != page.Visible {
			t.Fatal("nothing is hidden, and yet the texts differ")
		}
	})
}
