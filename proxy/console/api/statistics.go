package api

import (
	"strconv"
	"time"

	"postern/policy/records/tally"
)

// Bounds of statistics.
const (
	maxHours   = int(tally.Keep / time.Hour)
	namesTold  = 10
	hoursOfDay = 24
)

// statistics sums up the last hours.
func (c *call) statistics() (any, error) {
	if c.o.Tally == nil {
		return nil, ErrNoGateway
	}
	hours := hoursOfDay
	if text := c.r.URL.Query().Get("hours"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxHours {
			return nil, BadRequest("hours: write a number from 1 to %d", maxHours)
		}
		hours = n
	}

	return c.o.Tally.Since(c.o.Now().Add(-time.Duration(hours-1)*time.Hour), namesTold), nil
}
