package policy

import (
	"os"
	"strings"
	"testing"
)

// Each action has its row in docs/policy.md, and so has each key of a rule; the error for a rule that does nothing
// names all of them.
func TestActionsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	symbols, rules, _ := strings.Cut(string(page), "## Rules")

	documented := func(text, word string) (string, bool) {
		for line := range strings.Lines(text) {
			cells := strings.Split(line, "|")
			if len(cells) >= 4 && (strings.Contains(cells[1], "`"+word+"`") || strings.Contains(cells[1], "`"+word+" =")) {
				return strings.TrimSpace(cells[2]), true
			}
		}
		return "", false
	}
	for _, a := range actionTable {
		if what, _ := documented(symbols, string(a.word)); a.symbol && !strings.HasPrefix(what, a.help) {
			t.Errorf("docs/policy.md says %q of the action %s, the table %q", what, a.word, a.help)
		}
		if what, _ := documented(rules, "action"); a.rule && !strings.Contains(what, "`"+string(a.word)+"`") {
			t.Errorf("docs/policy.md doesn't say that a rule can have the action %s", a.word)
		}
	}

	_, problems := Compile(Config{Thresholds: Default().Thresholds, Rules: []Rule{{Name: "idle"}}}, nil)
	for _, e := range ruleEffects {
		if _, ok := documented(rules, e.key); !ok {
			t.Errorf("docs/policy.md has no row for the key %s of a rule", e.key)
		}
		if len(problems) != 1 || !strings.Contains(problems[0].Remedy, e.key) {
			t.Errorf("a rule that does nothing is not told of %s: %v", e.key, problems)
		}
	}
}

// No word stands twice in the tables, and each row can be used.
func TestActionWordsAreOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range actionTable {
		if seen[string(a.word)] || !a.symbol && !a.rule {
			t.Errorf("%s stands twice in the table, or nobody can have it", a.word)
		}
		seen[string(a.word)] = true
	}
	for _, e := range ruleEffects {
		if seen[e.key] && e.key != "strip" || e.given == nil || e.check == nil {
			t.Errorf("the key %s is taken, or lacks its functions", e.key)
		}
		seen[e.key] = true
	}
}
