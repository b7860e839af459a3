package perlre_test

import (
	"strings"
	"testing"

	"postern/rules/perlre"
)

// TestUnknownIsAnError: what can't be matched as Perl does it is refused with its name, not matched otherwise.
func TestUnknownIsAnError(t *testing.T) {
	for expr, want := range map[string]string{
		`a(?R)`: "recursion (?R", `(a)(?1)`: "recursion (?1", `(?<n>a)(?&n)`: "recursion (?&", `(?<n>a)(?P>n)`: "recursion (?P>",
		`a(?{1})`: "code", `a(??{1})`: "code", `\p{L}`: `\p`, `\PL`: `\P`, `\X`: `\X`, `\b{wb}`: `\b{}`, `\C`: `\C`,
		`a(*SKIP)b`: "(*SKIP", `[[=a=]]`: "[= =]", `[[:foo:]]`: "[:foo:]", `(?u:a)`: "(?u", `(?l)a`: "(?l",
		`(?<=a*)b`: "look-behind longer than 255", `(?<=a{256})b`: "look-behind longer than 255",
		`a**`: "quantifier", `*a`: "quantifier", `a{2}{3}`: "quantifier", `a{70000}`: "above 65534",
		`(a`: "without its )", `a)`: "without its (", `[a`: "without its ]", `\`: `\ at the end`, `(a)\2`: "no group 2", `\k<x>`: "no group <x>",
		`\g{-2}(a)`: "no such group", `\N{SPACE}`: `\N{SPACE}`, `[z-a]`: "backwards", `[\x{100}-\x{200}]`: "above 0xff",
		`(?<1a>x)`: "name", `(?#a`: "comment", `\x{41`: `\x{`, `\o1`: `\o`, `(?(1)a|b|c)(d)`: "more than two",
		strings.Repeat("(", 300) + strings.Repeat(")", 300): "too deep", strings.Repeat("a", 600_000): "512 KiB",
		strings.Repeat("(a)", 1001): "more than 1000 groups",
	} {
		_, err := perlre.Compile(expr, 0)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("/%.40s/: %v, want %s", expr, err, want)
		}
	}
}

// TestNextGoesOnAsPerl: //g leaves an empty match at the end of a match out only if that was empty, too.
func TestNextGoesOnAsPerl(t *testing.T) {
	for expr, want := range map[string]string{
		`a`:       "a@1 a@2 a@4",
		`a*`:      "@0 aa@1 @3 a@4 @5",
		`\b`:      "@0 @5",
		`x*?`:     "@0 x@0 @1 @2 @3 x@3 @4 @5",
		`(?=a)`:   "@1 @2 @4",
		`\Gx?`:    "x@0 @1",
		`^.`:      "x@0",
		`.(?<=a)`: "a@1 a@2 a@4",
	} {
		re, err := perlre.Compile(expr, 0)
		if err != nil {
			t.Fatal(err)
		}
		b, text := perlre.NewBudget(1000), "xaaxa"
		var got []string
		for m, ok := re.Find(text, 0, b); ok; m, ok = re.Next(text, m, b) {
			whole, _ := m.Group(0)
			got = append(got, whole+"@"+string(rune('0'+m.Start)))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("/%s/g: %s, want %s", expr, strings.Join(got, " "), want)
		}
	}
}

func TestGroupsHaveNames(t *testing.T) {
	re, err := perlre.Compile(`(?:(?<who>[a-z]+)|(?<who>\d+))@(?<where>\S+)(x)?`, perlre.IgnoreCase)
	if err != nil {
		t.Fatal(err)
	}
	m, ok := re.Find("to 12@Example.org", 0, nil)
	if !ok || strings.Join(re.Names(), " ") != "where who" {
		t.Fatalf("%v, names %v", ok, re.Names())
	}
	who, _ := m.Named("who")
	where, _ := m.Named("where")
	_, fourth := m.Group(4)
	_, other := m.Named("none")
	if who != "12" || where != "Example.org" || fourth || other {
		t.Errorf("%q %q %v %v", who, where, fourth, other)
	}
}
