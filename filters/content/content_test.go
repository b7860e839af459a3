package content

import (
	"testing"

	"postern/internal/testing/filtertest"
	"postern/rules"
)

func testRules(t testing.TB) *rules.Set {
	t.Helper()
	set, problems := rules.Parse(rules.File{Name: "test.cf", Text: "body A_WORD /spamword/i\ndescribe A_WORD Has a word\nscore A_WORD 2\nheader FROM_ENV EnvelopeFrom =~ /^mallory\\@/\nbody A_SLOW /(x+x+)+\\1y/\ndescribe A_SLOW Never ends\n"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return set
}

func TestCases(t *testing.T) { filtertest.Run(t, Spec(testRules(t))) }

func FuzzInspect(f *testing.F) { filtertest.Fuzz(f, Spec(testRules(f))) }
