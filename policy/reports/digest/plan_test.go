package digest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
)

func TestDue(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	weekdays := []time.Weekday{1, 2, 3, 4, 5}
	for name, c := range map[string]struct {
		last, now string
		s         Schedule
		want      string
	}{
		"first":            {"", "2026-05-06T07:30:00Z", Schedule{Hours: []int{7, 15}}, "2026-05-06T07:00:00Z due"},
		"sent":             {"2026-05-06T07:00:00Z", "2026-05-06T14:59:00Z", Schedule{Hours: []int{15, 7}}, "2026-05-06T07:00:00Z"},
		"next":             {"2026-05-06T07:00:00Z", "2026-05-06T15:00:00Z", Schedule{Hours: []int{15, 7}}, "2026-05-06T15:00:00Z due"},
		"before the first": {"2026-05-05T15:00:00Z", "2026-05-06T06:59:00Z", Schedule{Hours: []int{7, 15}}, "2026-05-05T15:00:00Z"},
		"down for days":    {"2026-05-01T15:00:00Z", "2026-05-06T06:59:00Z", Schedule{Hours: []int{7}}, "2026-05-05T07:00:00Z due"},
		"weekend":          {"2026-05-01T07:00:00Z", "2026-05-03T12:00:00Z", Schedule{Hours: []int{7}, Days: weekdays}, "2026-05-01T07:00:00Z"},
		"once a week":      {"2026-04-27T07:00:00Z", "2026-05-04T07:00:00Z", Schedule{Hours: []int{7}, Days: weekdays[:1]}, "2026-05-04T07:00:00Z due"},
		"summer time":      {"", "2026-05-06T07:30:00Z", Schedule{Hours: []int{9}, Zone: berlin}, "2026-05-06T07:00:00Z due"},
		"winter time":      {"", "2026-01-06T07:59:00Z", Schedule{Hours: []int{9}, Zone: berlin}, "2026-01-05T08:00:00Z due"},
		"an hour left out": {"2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", Schedule{Hours: []int{2}, Zone: berlin}, "2026-03-29T01:00:00Z due"},
		"never":            {"", "2026-05-06T07:30:00Z", Schedule{}, "0001-01-01T00:00:00Z"},
		"no such hour":     {"", "2026-05-06T07:30:00Z", Schedule{Hours: []int{24, -1}}, "0001-01-01T00:00:00Z"},
	} {
		last, _ := time.Parse(time.RFC3339, c.last)
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		slot, due := Due(last, now, c.s)
		got := slot.Format(time.RFC3339)
		if due {
			got += " due"
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestAccess(t *testing.T) {
	a := NewAccess(Rules{
		Aliases: map[mail.Address]mail.Address{address("a.smith@ours.test"): address("ann@ours.test"), address("as@ours.test"): address("a.smith@ours.test"),
			address("x@ours.test"): address("y@ours.test"), address("y@ours.test"): address("x@ours.test")},
		Deputies: map[mail.Address][]mail.Address{address("as@ours.test"): {address("info@ours.test"), address("ben@ours.test")}, address("ben@ours.test"): {address("info@ours.test"), address("boss@ours.test")}},
		Shared:   []mail.Address{address("info@ours.test"), address("nobody@ours.test")},
	})
	names := func(list []mail.Address) string {
		var all []string
		for _, one := range list {
			all = append(all, one.Local)
		}
		return strings.Join(all, " ")
	}
	for what, pair := range map[string][2]string{
		"ann sees":     {names(a.Visible(address("ANN@ours.test"))), "ANN a.smith as ben info"},
		"ben sees":     {names(a.Visible(address("ben@ours.test"))), "ben boss info"},
		"eva sees":     {names(a.Visible(address("eva@ours.test"))), "eva"},
		"info goes to": {names(a.Addressees(address("info@ours.test"))), "ann ben"},
		"as goes to":   {names(a.Addressees(address("as@ours.test"))), "ann"},
		"nobody's":     {names(a.Addressees(address("nobody@ours.test"))), ""},
		"a circle":     {names(a.Addressees(address("x@ours.test"))), "x"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %q, want %q", what, pair[0], pair[1])
		}
	}
	for pair, want := range map[string]bool{"as ben": true, "ben ann": false, "ann boss": false, "eva info": false, "ann as": true} {
		var who, whose string
		fmt.Sscan(pair, &who, &whose)
		if got := a.May(address(who+"@ours.test"), address(whose+"@ours.test")); got != want {
			t.Errorf("%s: %v", pair, got)
		}
	}
}
