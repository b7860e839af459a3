package ratelimit

import (
	"strings"
	"testing"

	"postern/filters"
	"postern/filters/filtertest"
	"postern/internal/config"
)

func TestCases(t *testing.T) { filtertest.Run(t, Spec) }

func TestBadSettingsAreExplained(t *testing.T) {
	for want, limit := range map[string]map[string]any{
		"100/1h":        {"key": "client", "count": "messages", "rate": "many"},
		"client, netw":  {"key": "shoe size", "count": "messages", "rate": "1/1h"},
		"connections":   {"key": "client", "count": "sheep", "rate": "1/1h"},
		"not known yet": {"key": "recipient", "count": "connections", "rate": "1/1h"},
		"burst":         {"key": "client", "count": "messages", "rate": "1/1h", "burst": -1},
	} {
		_, err := Spec.New(config.NewSection("filters.ratelimit", map[string]any{"limits": []any{limit}}), filters.Env{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q in it", limit, err, want)
		}
	}
}
