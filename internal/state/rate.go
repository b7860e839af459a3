package state

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate is so many events in a time, and how many of them may come at once.
type Rate struct {
	Count int
	Per   time.Duration
	Burst int
}

// ParseRate reads "100/1h", "5/10s" or "20/minute".
func ParseRate(text string) (Rate, error) {
	bad := fmt.Errorf("rate %q: want a number and a time, as in \"100/1h\"", text)
	count, per, ok := strings.Cut(text, "/")
	n, err := strconv.Atoi(strings.TrimSpace(count))
	if !ok || err != nil || n < 1 || n > 1e9 {
		return Rate{}, bad
	}
	per = strings.TrimSpace(per)
	switch per {
	case "second", "s":
		per = "1s"
	case "minute", "m":
		per = "1m"
	case "hour", "h":
		per = "1h"
	case "day", "d":
		per = "24h"
	}
	d, err := time.ParseDuration(per)
	if err != nil || d <= 0 {
		return Rate{}, bad
	}
	return Rate{Count: n, Per: d, Burst: n}, nil
}
