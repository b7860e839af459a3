package rules

import (
	"strconv"
	"strings"
	"testing"
)

// kinds gives the problems of files as "kind RULE", in order.
func kinds(t *testing.T, o Options, files ...File) (*Set, string) {
	t.Helper()
	set, problems := ParseWith(o, files...)
	var all []string
	for _, p := range problems {
		all = append(all, string(p.Kind)+" "+p.Rule)
	}
	return set, strings.Join(all, "; ")
}

func TestProblemsTellTheWholeGap(t *testing.T) {
	const text = `body A eval:no_such_function()
meta B A && __X
meta C !A
meta D B
body __X /x/
score C 3
ifplugin Mail::SpamAssassin::Plugin::NoSuch
body E /x/
endif
ifplugin Mail::SpamAssassin::Plugin::Pyzor
full F eval:check_pyzor()
endif
`
	set, got := kinds(t, Options{}, File{Name: "x.cf", Text: text, Foreign: true})
	want := "unsupported A; unsupported F; lost by dependency B; true because something is missing C; lost by dependency D"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if c := set.Coverage(); c.Scored != 5 || c.Whole != 0 {
		t.Errorf("%+v", c)
	}
}

// There are as many problems as there are.
func TestProblemsHaveNoEndAtAThousand(t *testing.T) {
	_, problems := Parse(File{Name: "x.cf", Text: strings.Repeat("nonsense\n", 5000)})
	if len(problems) != 5000 {
		t.Errorf("%d problems", len(problems))
	}
}

// A rule never speaks for a filter: one of our own is refused, one of others serves rules and does not report.
func TestNamesOfFiltersAreReserved(t *testing.T) {
	const text = "header FROM_INVALID From =~ /./\nscore FROM_INVALID .1\nmeta ON_TOP FROM_INVALID\n"
	taken := Options{Taken: map[string]bool{"FROM_INVALID": true}}

	set, got := kinds(t, taken, File{Name: "own.cf", Text: text})
	if !strings.HasPrefix(got, "name is taken FROM_INVALID") || names(set, letter) != "" {
		t.Errorf("own: %s, hits %q", got, names(set, letter))
	}
	set, got = kinds(t, taken, File{Name: "stock.cf", Text: text, Foreign: true})
	if got != "left to the filter FROM_INVALID" || names(set, letter) != "ON_TOP" {
		t.Errorf("stock: %s, hits %q", got, names(set, letter))
	}
	for _, s := range set.Symbols() {
		if s.Name == "FROM_INVALID" {
			t.Error("a rule reports a filter's symbol")
		}
	}
}

func TestScores(t *testing.T) {
	const text = "body A /First/\nscore A 1 2 3 4\nbody B /First/\nscore B 1\nscore B (0.5)\nbody C /First/\ntflags C nice\nbody T_D /First/\nbody E /First/\nscore E 1 0 1 1\n"
	want := map[bool]string{false: "A=1 B=1.5 C=-1 T_D=0.01 E=1", true: "A=2 B=1.5 C=-1 T_D=0.01"}
	for network, scores := range want {
		set, _ := ParseWith(Options{Network: network}, File{Name: "x.cf", Text: text})
		var got []string
		for _, s := range set.Symbols() {
			got = append(got, s.Name+"="+strings.TrimRight(strings.TrimRight(strings.Replace(formatScore(s.Score), " ", "", -1), "0"), "."))
		}
		if strings.Join(got, " ") != scores {
			t.Errorf("network %v: %v, want %s", network, got, scores)
		}
	}
}

func formatScore(n float64) string { return strconv.FormatFloat(n, 'f', 3, 64) }
