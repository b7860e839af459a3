package policy

import (
	"testing"

	"postern/filters"
	"postern/internal/mail"
)

// What nobody weighed counts little together, until the admin weighs it or puts it into a group of his own.
func TestUnweighedSymbols(t *testing.T) {
	symbols := []filters.Symbol{{Name: "A", Score: 1, Unweighed: true}, {Name: "B", Score: 1, Unweighed: true}, {Name: "C", Score: 1, Unweighed: true}, {Name: "D", Score: 3}}
	f := Facts{Stage: mail.StageMessage}
	for _, s := range symbols {
		f.Findings = append(f.Findings, Finding{Symbol: s.Name})
	}
	for text, want := range map[string]float64{
		"": 5, "[scores]\nC = 1.5\n": 6.5, "[group.mine]\nsymbols = [\"A\", \"B\", \"C\"]\nmax = 10.0\n": 6,
	} {
		cfg, problems := Parse("policy.toml", []byte(text))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		p, problems := Compile(cfg, symbols)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		if v := p.Decide(&f, mail.Address{Local: "ann", Domain: "corp.example"}); v.Score != want {
			t.Errorf("%q: %v, want %v", text, v.Score, want)
		}
	}
}
