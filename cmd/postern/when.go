package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// when is a moment as people write it: how long ago ("2h", "3d"), a day, or a day and a time of day.
type when struct{ time.Time }

// UnmarshalText reads it, for the command line.
func (w *when) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))

	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 && n < 1e5 {
			w.Time = time.Now().Add(-time.Duration(n * float64(24*time.Hour)))
			return nil
		}
	}
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 {
		w.Time = time.Now().Add(-ago)
		return nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", "2006-01-02T15:04", time.DateTime, time.RFC3339} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			w.Time = t
			return nil
		}
	}

	return fmt.Errorf("%q is no moment: write how long ago, as in 2h or 3d, or a date, as in 2026-11-23 or \"2026-11-23 14:00\"", s)
}
