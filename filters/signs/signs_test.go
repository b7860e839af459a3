package signs

import (
	"strings"
	"testing"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/testing/filtertest"
)

func TestCases(t *testing.T) { filtertest.Run(t, Spec) }

func FuzzInspect(f *testing.F) { filtertest.Fuzz(f, Spec) }

// A wrong line names its number and what is wrong with it.
func TestWrongLines(t *testing.T) {
	for line, want := range map[string]string{
		"sign X nothing 1 words": "\"nothing\" is no aspect",
		"sign X claim 9 words":   "\"9\" is no number from 0 to 8",
		"sign X claim":           "write it as",
		"together 1 claim alone": "\"claim\" is a single term",
		"trust X 2":              "\"2\" is no number from 0 to 1",
		"weigh X 2":              "is none of sign, together, trust, form",
	} {
		_, err := Spec.New(config.NewSection("filters.signs", map[string]any{"lines": []any{"# mine", line}}), filters.Env{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
}
