package policy

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"postern/filters"
	"postern/internal/mail"
	"postern/rules/mapfile"
)

// TestBadPolicies reads testdata/bad/*.toml: the first line of each is "# " and the first thing that must be said of it.
func TestBadPolicies(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatal("no bad policies", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(string(text), "\n")
			cfg, problems := Parse("policy.toml", text)
			if len(problems) == 0 {
				_, problems = Compile(cfg, symbols())
			}
			if len(problems) == 0 {
				problems = cfg.CheckFilters([]string{"spf", "dkim", "clamav"})
			}
			if len(problems) == 0 {
				t.Fatal("nothing was found wrong")
			}
			if got := problems[0].String(); got != strings.TrimPrefix(first, "# ") {
				t.Errorf("\n got %s\nwant %s", got, strings.TrimPrefix(first, "# "))
			}
		})
	}
}

// Nothing that can be typed into policy.toml may bring the server down, and what compiles must decide.
func FuzzPolicy(f *testing.F) {
	files, _ := filepath.Glob("testdata/*/*.toml")
	for _, file := range append(files, "../deploy/policy.toml") {
		if text, err := os.ReadFile(file); err == nil {
			f.Add(text)
		}
	}
	cases, _ := filepath.Glob("testdata/*.txt")
	for _, file := range cases { // the policies of the cases
		text, _ := os.ReadFile(file)
		for _, one := range strings.Split(string(text), "\n== ") {
			var settings []byte
			for line := range strings.Lines(one) {
				if rest, ok := strings.CutPrefix(line, "| "); ok {
					settings = append(settings, rest...)
				}
			}
			f.Add(settings)
		}
	}
	facts := typical()
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg, problems := Parse("policy.toml", text)
		if len(problems) > 0 {
			return
		}
		p, problems := Compile(cfg, symbols())
		if (p == nil) != (len(problems) > 0) {
			t.Fatal("a policy with problems, or none without")
		}
		if p == nil {
			return
		}
		rcpt := mail.Address{Local: "ann", Domain: "example.com"}
		v := p.Decide(&facts, rcpt)
		if v.Decisive == "" || v.PolicyVersion == "unknown" {
			t.Fatalf("%+v", v)
		}
		if again := p.Decide(&facts, rcpt); !reflect.DeepEqual(v, again) {
			t.Fatalf("%+v\n%+v", v, again)
		}
		for _, problem := range Shadowed(p) {
			if problem.Text == "" || problem.Remedy == "" {
				t.Fatalf("%+v", problem)
			}
		}
		p.Counterfactuals(&facts, rcpt)
	})
}

// The shipped example is a policy, and the same one as that of no file at all.
func TestShippedExample(t *testing.T) {
	text, err := os.ReadFile("../deploy/policy.toml")
	if err != nil {
		t.Fatal(err)
	}
	cfg, problems := Parse("policy.toml", text)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	p, problems := Compile(cfg, symbols())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	v := p.Decide(&Facts{}, mail.Address{Local: "a", Domain: "example.com"})
	if v.Required != Default().Thresholds {
		t.Errorf("%+v", v.Required)
	}
}

// What stands in the shipped example as a comment is right, too, and it names every key there is.
func TestShippedExampleWithAllItsKeys(t *testing.T) {
	text, err := os.ReadFile("../deploy/policy.toml")
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`(?m)^# (\[|[a-z_A-Z]+ = )`).ReplaceAll(text, []byte("$1"))
	cfg, problems := Parse("policy.toml", text)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	cfg.Maps = mapfile.Set{"suppliers": mapfile.Parse("suppliers", "suppliers.map", mapfile.Any, "supplier.example\n")}
	known := symbols()
	for _, name := range regexp.MustCompile(`\b[A-Z]+_[A-Z_]+\b`).FindAllString(string(text), -1) {
		known = append(known, filters.Symbol{Name: name})
	}
	p, problems := Compile(cfg, known)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, problem := range Shadowed(p) {
		t.Error(problem)
	}
	for _, one := range []any{Rule{}, Who{}, What{}, Window{}, SymbolGroup{}, Entry{}, Scope{}, Thresholds{}, Config{}} {
		kind := reflect.TypeOf(one)
		for i := range kind.NumField() {
			key := kind.Field(i).Tag.Get("toml")
			if key != "" && key != "-" && !regexp.MustCompile(`(?m)^`+key+` = |^\[+[a-z_."\-@]*`+key).Match(text) {
				t.Errorf("%s.%s is not in the example", kind.Name(), key)
			}
		}
	}
}
