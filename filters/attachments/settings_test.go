package attachments

import (
	"strings"
	"testing"

	"postern/filters"
	"postern/internal/config"
)

// A wrong setting is refused with its key and what to write instead.
func TestWrongSettings(t *testing.T) {
	for key, value := range map[string]any{
		"block_extensions": []any{"exe"}, "block_types": []any{"java"}, "hash_block": []any{"abc"}, "outbound": "some", "max_depth": 0, "timeout": "1m",
	} {
		_, err := Spec.New(config.NewSection("filters.attachments", map[string]any{key: value}), filters.Env{})
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s = %v: %v", key, value, err)
		}
	}
}
