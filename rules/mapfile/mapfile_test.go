package mapfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/rules/perlre"
)

const today = "2026-11-30"

func find(m *Map, value string) string {
	e, ok := m.Find(value, today, perlre.NewBudget(Steps))
	if !ok {
		return ""
	}
	return e.Text
}

const mixed = "\ufeff# what purchasing wants\r\n" +
	"News@Shop.example   owner=ann expires=2026-11-30  # the newsletter\n" +
	"old@shop.example expires=2026-11-29\n" +
	"*@*.bank.example\n" +
	"sales-?@corp.example\n" +
	"@whole.example\n" +
	"partner.example owner=bob\n" +
	".partner.example\n" +
	"*.glob.example\n" +
	"bücher.example\n" +
	"192.0.2.0/24\n" +
	"2001:db8::/32\n" +
	"198.51.100.7\n" +
	"<>\n" +
	"/^invoice #\\d+\\/x/i   owner=carl # of the shop\n"

func TestEntries(t *testing.T) {
	m := Parse("mixed", "mixed.map", Any, mixed)
	if p := m.Problems(); len(p) > 0 {
		t.Fatal(p)
	}
	for value, want := range map[string]string{
		"news@shop.example": "News@Shop.example", "NEWS@SHOP.EXAMPLE": "News@Shop.example", "old@shop.example": "", "x@a.bank.example": "*@*.bank.example",
		"x@bank.example": "", "sales-1@corp.example": "sales-?@corp.example", "sales-12@corp.example": "", "any@whole.example": "@whole.example",
		"x@partner.example": "partner.example", "partner.example.": "partner.example", "a.b.partner.example": ".partner.example", "notpartner.example": "",
		"a.glob.example": "*.glob.example", "glob.example": "", "x@xn--bcher-kva.example": "bücher.example", "BÜCHER.example": "bücher.example",
		"192.0.2.77": "192.0.2.0/24", "[192.0.2.77]": "192.0.2.0/24", "::ffff:192.0.2.77": "192.0.2.0/24", "192.0.3.77": "", "2001:db8::9": "2001:db8::/32",
		"198.51.100.7": "198.51.100.7", "": "<>", "<>": "<>", "Invoice #12/x": "/^invoice #\\d+\\/x/i", "invoice 12": "",
	} {
		if got := find(m, value); got != want {
			t.Errorf("%q fits %q, not %q", value, got, want)
		}
	}
	e := m.Entries()[0]
	if e.Owner != "ann" || e.Expires != "2026-11-30" || e.Comment != "the newsletter" || e.Line != 2 {
		t.Errorf("%+v", e)
	}
	if last := m.Entries()[len(m.Entries())-1]; last.Owner != "carl" || last.Comment != "of the shop" {
		t.Errorf("%+v", last)
	}
}

// A bad line costs itself, and nothing else.
func TestBadLines(t *testing.T) {
	for _, c := range []struct {
		kind      Kind
		line, why string
	}{
		{Any, "/not closed", "not closed"}, {Any, "/(/", "not an expression"}, {Any, "/x/q", "modifier"}, {Any, "192.0.2.1/24", "write 192.0.2.0/24"},
		{CIDR, "example.com", "not a network"}, {Domain, "a@b.example", "not a domain"}, {Address, "example.com", "not an address"},
		{Regex, "example", "between slashes"}, {Any, "a@b.example OK", `"OK" stands behind`}, {Any, "a@b.example expires=tomorrow", "not a day"},
		{Any, strings.Repeat("a", 5000), "longer than"}, {Any, "a b@c", "stands behind"}, {Any, "a@b_$", "domain"},
	} {
		m := Parse("m", "m.map", c.kind, "# first\n"+c.line+"\n")
		p := m.Problems()
		if len(p) != 1 || p[0].Line != 2 || p[0].File != "m.map" || !strings.Contains(p[0].Why, c.why) {
			t.Errorf("%.50s: %v, want %q", c.line, p, c.why)
		}
		good := Parse("m", "m.map", Any, c.line+"\nx@y.example\n")
		if got := find(good, "x@y.example"); got != "x@y.example" {
			t.Errorf("%.50s takes its neighbour down", c.line)
		}
	}
}

// The first line that fits is named, however it fits.
func TestTheFirstEntryIsGiven(t *testing.T) {
	lines := []string{"/@b\\.example$/", "b.example", "a@b.example", "*@b.example"}
	for i := range lines {
		text := strings.Join(append(append([]string{}, lines[i:]...), lines[:i]...), "\n")
		if got := find(Parse("m", "m", Any, text), "a@b.example"); got != lines[i] {
			t.Errorf("got %q of\n%s", got, text)
		}
	}
}

// Many expressions are looked for in one pass; what they cost is bounded.
func TestManyExpressions(t *testing.T) {
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, "/^word%d-[a-z]+$/i\n", i)
	}
	m := Parse("m", "m", Regex, text.String())
	if got := find(m, "WORD777-abc"); got != "/^word777-[a-z]+$/i" {
		t.Errorf("got %q", got)
	}
	slow := Parse("m", "m", Any, "/(x+x+)+\\1y/\n/x/\n")
	b := perlre.NewBudget(Steps)
	if _, ok := slow.Find(strings.Repeat("x", 2000), today, b); ok || !b.Exhausted() {
		t.Error("an expression without end was not given up")
	}
	var many strings.Builder
	for i := range maxPatterns + 1 {
		fmt.Fprintf(&many, "/a%d/\n", i)
	}
	if p := Parse("m", "m", Any, many.String()).Problems(); len(p) != 1 || p[0].Line != maxPatterns+1 {
		t.Errorf("%v", p)
	}
}

func TestRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "m.map")
	if _, err := Read("m", file, Any); err == nil {
		t.Error("a file that is not there was read")
	}
	if err := os.WriteFile(file, []byte("a.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := Read("m", file, Any)
	if err != nil || find(m, "a.example") == "" {
		t.Fatal(err)
	}
	one, _ := m.MarshalText()
	two, _ := Parse("m", file, Any, "a.example\n\n").MarshalText()
	if string(one) == string(two) {
		t.Error("another text has the same sum")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(mixed, "news@shop.example")
	f.Add("/(a|b)*c/x owner=", "192.0.2.1")
	f.Add("*@*\n.\n@\n::/0\n/\\", "@")
	f.Fuzz(func(t *testing.T, text, value string) {
		m := Parse("m", "m.map", Any, text)
		m.Find(value, today, perlre.NewBudget(Steps))
		for _, e := range m.Entries() {
			if e.Line < 1 || e.Text == "" {
				t.Errorf("%+v", e)
			}
		}
	})
}
