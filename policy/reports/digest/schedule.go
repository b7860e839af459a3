package digest

import (
	"slices"
	"time"
)

// Schedule says when digests are sent.
type Schedule struct {
	// Hours of the day, 0 to 23; none means never. No Days means every day.
	Hours []int
	Days  []time.Weekday
	// Zone is UTC where nothing is said.
	Zone *time.Location
}

// Due says whether a digest is due now, when the last one was for the slot last, and for which slot. Slots that were
// missed are made up for by one digest. The zero time means that there was none yet.
func Due(last, now time.Time, s Schedule) (slot time.Time, due bool) {
	zone := s.Zone
	if zone == nil {
		zone = time.UTC
	}
	local := now.In(zone)
	for back := range 8 { // a day of each name, and today's before the first hour
		for _, hour := range slices.Backward(slices.Sorted(slices.Values(s.Hours))) {
			// an hour that the clocks leave out is the one behind it
			at := time.Date(local.Year(), local.Month(), local.Day()-back, hour, 0, 0, 0, zone)
			if hour < 0 || hour > 23 || at.After(now) || len(s.Days) > 0 && !slices.Contains(s.Days, at.Weekday()) {
				continue
			}
			return at.UTC(), at.After(last)
		}
	}
	return time.Time{}, false
}
