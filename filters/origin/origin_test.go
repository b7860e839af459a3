package origin

import (
	"strings"
	"testing"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/testing/filtertest"
)

func TestCases(t *testing.T) { filtertest.Run(t, Spec) }

func FuzzInspect(f *testing.F) { filtertest.Fuzz(f, Spec) }

func TestBadSettingsAreExplained(t *testing.T) {
	_, err := Spec.New(config.NewSection("filters.origin", map[string]any{"platforms": []any{"no domain"}}), filters.Env{})
	if err == nil || !strings.Contains(err.Error(), "is no domain") {
		t.Error(err)
	}
}
