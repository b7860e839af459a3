package rules

import (
	"fmt"
	"strings"
	"testing"
)

// A file of which many rules have no score lacks the file with the scores; one of an admin's own in which a few have none
// does not.
func TestFilesWithoutScores(t *testing.T) {
	var many strings.Builder
	for i := range manyUnweighed {
		fmt.Fprintf(&many, "body R%d /a%d/\n", i, i)
	}
	many.WriteString("body SCORED /x/\nscore SCORED 3\nbody __HIDDEN /y/\nbody T_TEST /z/\n")
	set, problems := ParseWith(Options{}, Foreign([]File{{Name: "72_active.cf", Text: many.String()}, {Name: "local.cf", Text: "body LOCAL /l/\n"}})...)
	if len(problems) != 1 || problems[0].Kind != NoWeights || !problems[0].Note() || !strings.Contains(problems[0].Why, "49 more rules") {
		t.Fatal(problems)
	}
	for _, s := range set.Symbols() {
		if want := s.Name[0] == 'R'; s.Unweighed != want {
			t.Errorf("%s: %v", s.Name, s.Unweighed)
		}
	}
}
