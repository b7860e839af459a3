package state

import (
	"testing"
	"time"
)

func TestParseRate(t *testing.T) {
	for text, want := range map[string]Rate{"100/1h": {100, time.Hour, 100}, "5/minute": {5, time.Minute, 5}, " 2 / 30s": {2, 30 * time.Second, 2}} {
		if got, err := ParseRate(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "100", "0/1h", "-1/1h", "x/1h", "1/x", "1/0s", "1/-1s"} {
		if _, err := ParseRate(text); err == nil {
			t.Errorf("%q is a rate", text)
		}
	}
}
