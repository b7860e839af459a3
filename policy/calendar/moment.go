// Package calendar is the time as policy sees it: given from outside, kept to the minute, with the same calendar on every
// machine. Nothing in it asks a clock.
package calendar

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // a machine without time zones must not judge otherwise than one with them
)

// Minute is a point in time in minutes since 1970 in UTC; 0 is none. As text it is RFC 3339, as in
// "2026-03-01T08:30:00Z".
type Minute int64

// Of gives the minute of a time.
func Of(t time.Time) Minute {
	if t.IsZero() {
		return 0
	}
	return Minute(floorDiv(t.Unix(), 60))
}

func (m Minute) utc() time.Time { return time.Unix(int64(m)*60, 0).UTC() }

// String is the minute in RFC 3339, "" for none.
func (m Minute) String() string {
	if m == 0 {
		return ""
	}
	return m.utc().Format(time.RFC3339)
}

// MarshalText writes RFC 3339, UnmarshalText reads it; seconds are cut off.
func (m Minute) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads RFC 3339; no text is no time.
func (m *Minute) UnmarshalText(text []byte) error {
	*m = 0
	if len(text) == 0 {
		return nil
	}
	t, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return fmt.Errorf("%.40q is not a time of RFC 3339, as in \"2026-03-01T08:30:00Z\"", text)
	}
	*m = Of(t)
	return nil
}

// Zone is a time zone. The zero Zone is UTC.
type Zone struct{ location *time.Location }

// LoadZone reads a name of the IANA time zone database; "" is UTC.
func LoadZone(name string) (Zone, error) {
	l, err := time.LoadLocation(name)
	if err != nil || name == "Local" { // which would be another on every machine
		return Zone{}, fmt.Errorf("%q is not a time zone; write it as in \"Europe/Berlin\"", name)
	}
	return Zone{l}, nil
}

// Local is a minute on the wall's clock and calendar.
type Local struct {
	// Date is as in "2026-03-01", Weekday "mon" to "sun".
	Date, Weekday string
	// Day is 0 for Sunday, Minute counts from midnight.
	Day, Minute int
}

// In gives the minute as clocks in a zone show it.
func (m Minute) In(z Zone) Local {
	t := m.utc()
	if z.location != nil {
		t = t.In(z.location)
	}
	day := t.Weekday()
	return Local{
		Date: t.Format(time.DateOnly), Weekday: strings.ToLower(day.String()[:3]),
		Day: int(day), Minute: t.Hour()*60 + t.Minute(),
	}
}

// EndOfDay is the first minute after a day, as in "2026-03-01", in a zone.
func EndOfDay(date string, z Zone) (Minute, error) {
	l := z.location
	if l == nil {
		l = time.UTC
	}
	t, err := time.ParseInLocation(time.DateOnly, date, l)
	if err != nil {
		return 0, fmt.Errorf("%q is not a day; write it as in \"2026-12-31\"", date)
	}
	return Of(t.AddDate(0, 0, 1)), nil
}

// Clock reads "08:30" as minutes since midnight; "24:00" is the end of the day.
func Clock(text string) (int, error) {
	if text == "24:00" {
		return 24 * 60, nil
	}
	t, err := time.Parse("15:04", text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a time of day; write it as in \"08:30\"", text)
	}
	return t.Hour()*60 + t.Minute(), nil
}

// Weekday reads "mon" to "sun", as 0 for Sunday to 6.
func Weekday(name string) (int, error) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if strings.EqualFold(d.String()[:3], name) {
			return int(d), nil
		}
	}
	return 0, fmt.Errorf("%q is not a day; write mon, tue, wed, thu, fri, sat or sun", name)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
