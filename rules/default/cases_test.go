package defaultrules

import (
	"os"
	"strings"
	"testing"
)

// testdata/cases.txt has a message that each rule hits and one, of honest people, that it does not: "+ RULE" and "- RULE"
// begin one. The fields are those of caseLetter, but for those that the case has; "||" ends them.
func TestCases(t *testing.T) {
	text, err := os.ReadFile("testdata/cases.txt")
	if err != nil {
		t.Fatal(err)
	}
	set := load(t)
	seen := map[string]int{}
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		sign, rest, _ := strings.Cut(line, " ")
		name, content, ok := strings.Cut(rest, " ")
		if !ok || sign != "+" && sign != "-" {
			t.Fatalf("line %d: want + or -, a rule and a message", i+1)
		}
		seen[sign+name]++
		found := hits(set, caseLetter(content))
		if found[name] != (sign == "+") {
			t.Errorf("line %d: %s %s: %v", i+1, sign, name, found)
		}
		if sign == "-" && len(found) > 1 {
			t.Errorf("line %d: an honest message hits %v", i+1, found)
		}
	}
	for _, s := range set.Symbols() {
		if seen["+"+s.Name] == 0 || seen["-"+s.Name] == 0 {
			t.Errorf("%s has no case that hits and one that does not", s.Name)
		}
	}
}

// caseLetter makes a message of a case: fields, "||", the body; "|" ends a line.
func caseLetter(content string) string {
	fields, body, ok := strings.Cut(content, "||")
	if !ok {
		fields, body = "", content
	}
	var b strings.Builder
	if fields = strings.TrimSpace(strings.ReplaceAll(fields, "|", "\n")); fields != "" {
		fields += "\n"
	}
	for _, standard := range []string{"From: Bob Baker <bob@example.org>", "To: eve@corp.example", "Subject: What we spoke of", "Message-ID: <20261130.1@example.org>", "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8"} {
		name, _, _ := strings.Cut(standard, ":")
		if !strings.Contains("\n"+fields, "\n"+name+":") {
			b.WriteString(standard + "\n")
		}
	}
	return b.String() + fields + "\n" + strings.ReplaceAll(strings.TrimSpace(body), "|", "\n") + "\n"
}
