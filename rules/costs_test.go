package rules

import (
	"strings"
	"testing"

	"postern/internal/mail"
	"postern/internal/mimeview"
)

// One message in 64 is timed: which rules were run, looked for in earnest, and held; the result is the same.
func TestCosts(t *testing.T) {
	set, problems := Parse(File{Name: "a.cf", Text: "body HITS /noon/\nbody NEVER /midnight/\nbody ALMOST /(t) noon\\1/\nbody FOUR /f[aeiou]ur/\nmeta BOTH HITS && !NEVER\n"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var costs Costs
	var plain string
	for range 3 * sampleEvery {
		in := Input{View: mimeview.Of(mail.NewMessage([]byte("From: a@b.example\r\n\r\nat noon\r\n"))), Costs: &costs}
		var names []string
		for _, h := range set.Match(in) {
			names = append(names, h.Rule)
		}
		if got := strings.Join(names, " "); plain == "" {
			plain = got
		} else if got != plain {
			t.Fatalf("%q, and %q before", got, plain)
		}
	}
	r := costs.Report()
	if r.Messages != 3 || plain != "HITS BOTH" {
		t.Fatal(r.Messages, plain)
	}
	for name, want := range map[string]Cost{"HITS": {3, 3, 3, 0}, "NEVER": {3, 0, 0, 0}, "ALMOST": {3, 3, 0, 0}, Shared: {3, 0, 0, 0}} {
		got := r.Rules[name]
		if got.Nanos <= 0 && name != "NEVER" {
			t.Errorf("%s took no time", name)
		}
		if got.Nanos = 0; got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	if _, ok := r.Rules["BOTH"]; ok {
		t.Error("a meta is timed by the rules it asks")
	}
}
