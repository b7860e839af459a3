package calendar

import (
	"encoding/json"
	"testing"
	"time"
)

func TestMinuteAsText(t *testing.T) {
	m := Of(time.Date(2026, 3, 1, 8, 30, 59, 5, time.FixedZone("", 3600)))
	text, err := json.Marshal(m)
	if err != nil || string(text) != `"2026-03-01T07:30:00Z"` {
		t.Fatalf("%s, %v", text, err)
	}
	var back Minute
	if err := json.Unmarshal(text, &back); err != nil || back != m {
		t.Errorf("%v, %v", back, err)
	}
	if err := back.UnmarshalText([]byte("yesterday")); err == nil {
		t.Error("yesterday was taken for a time")
	}
}

func TestWallClock(t *testing.T) {
	berlin, err := LoadZone("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	// clocks go from 02:00 to 03:00
	for text, want := range map[string]Local{
		"2026-03-29T00:59:00Z": {"2026-03-29", "sun", 0, 119},
		"2026-03-29T01:00:00Z": {"2026-03-29", "sun", 0, 180},
		"2026-03-29T22:00:00Z": {"2026-03-30", "mon", 1, 0},
	} {
		var m Minute
		if err := m.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if got := m.In(berlin); got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
	end, err := EndOfDay("2026-03-29", berlin)
	if err != nil || end.String() != "2026-03-29T22:00:00Z" {
		t.Errorf("the day ends at %v, %v", end, err)
	}
	for _, name := range []string{"Local", "Nowhere/City", "../etc/passwd"} {
		if _, err := LoadZone(name); err == nil {
			t.Errorf("%s is a time zone", name)
		}
	}
}

func TestWords(t *testing.T) {
	if m, err := Clock("24:00"); err != nil || m != 1440 {
		t.Error(m, err)
	}
	if m, err := Clock("08:05"); err != nil || m != 485 {
		t.Error(m, err)
	}
	for _, bad := range []string{"", "8", "25:00", "24:01"} {
		if _, err := Clock(bad); err == nil {
			t.Errorf("%q is a time of day", bad)
		}
	}
	if d, err := Weekday("Sat"); err != nil || d != 6 {
		t.Error(d, err)
	}
	if _, err := Weekday("someday"); err == nil {
		t.Error("someday is a day")
	}
}
