package eval

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The parts of a date. Nothing of a date's grammar is asked for: old programs wrote what they liked.
var (
	dayMonthYear = regexp.MustCompile(`(?i) (\d+) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (\d{4}) `)
	unixDate     = regexp.MustCompile(`(?i) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +(\d+) \d+:\d+:\d+ (\d{4}) `)
	shortYear    = regexp.MustCompile(`(?i) (\d+) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (\d{2,3}) `)
	clock        = regexp.MustCompile(` (\d?\d):(\d\d)(?::(\d\d))? `)
	offset       = regexp.MustCompile(` ([-+])(\d\d)(\d\d) `)
	zoneName     = regexp.MustCompile(`\b([A-Z]{2,4}(?:-DST)?)\b`)
)

// parseDate reads a date as seconds since 1970.
func parseDate(text string) (int64, bool) {
	text = " " + strings.Join(strings.Fields(strings.ReplaceAll(text, ",", " ")), " ") + " "
	day, month, year, rest, ok := readDay(text)
	if !ok {
		return 0, false
	}
	hour, minute, second := 0, 0, 0
	if m := clock.FindStringSubmatchIndex(rest); m != nil {
		hour, minute = atoi(rest[m[2]:m[3]]), atoi(rest[m[4]:m[5]])
		if m[6] >= 0 {
			second = atoi(rest[m[6]:m[7]])
		}
		rest = rest[:m[0]] + " " + rest[m[1]:]
	}
	zone := readZone(rest)
	if last := time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day(); day > last {
		day = 1
		month++
		if month > 12 {
			month, year = 1, year+1
		}
	}
	year = min(max(year, 1970), 2037)
	if day == 0 {
		return 0, false
	}
	at := time.Date(year, time.Month(month), day, min(hour, 23), min(minute, 59), min(second, 59), 0, time.UTC).Unix()
	if zone > 0 && at < zone {
		return 0, true
	}
	return at - zone, true
}

func atoi(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}

func readDay(text string) (day, month, year int, rest string, ok bool) {
	var d, m, y string
	cut := func(at []int) string { return text[:at[0]] + " " + text[at[1]:] }
	if at := dayMonthYear.FindStringSubmatchIndex(text); at != nil {
		d, m, y, rest = text[at[2]:at[3]], text[at[4]:at[5]], text[at[6]:at[7]], cut(at)
	} else if at := unixDate.FindStringSubmatchIndex(text); at != nil {
		m, d, y, rest = text[at[2]:at[3]], text[at[4]:at[5]], text[at[6]:at[7]], cut(at)
	} else if at := shortYear.FindStringSubmatchIndex(text); at != nil {
		d, m, y, rest = text[at[2]:at[3]], text[at[4]:at[5]], text[at[6]:at[7]], cut(at)
	} else {
		return 0, 0, 0, "", false
	}
	year = atoi(y)
	switch {
	case len(y) == 2 && year < 50:
		year += 2000
	case len(y) != 4:
		year += 1900
	}
	month = strings.Index("janfebmaraprmayjunjulaugsepoctnovdec", strings.ToLower(m))/3 + 1
	return atoi(d), month, year, rest, true
}

// readZone gives the seconds that a date's zone is ahead of UTC.
func readZone(text string) int64 {
	sign, hours, minutes := "+", 0, 0
	if m := offset.FindStringSubmatch(text); m != nil {
		sign, hours, minutes = m[1], atoi(m[2]), atoi(m[3])
	} else if m := zoneName.FindStringSubmatch(text); m != nil {
		i := strings.Index(zones, " "+m[1]+"=")
		if i < 0 {
			return 0
		}
		value := zones[i+len(m[1])+2:]
		sign, hours, minutes = value[:1], atoi(value[1:3]), atoi(value[3:5])
	}
	seconds := int64(hours*60+minutes) * 60
	if sign == "-" {
		return -seconds
	}
	return seconds
}

// zones are the names that dates have for zones.
const zones = " UT=+0000 UTC=+0000 NDT=-0230 AST=-0400 ADT=-0300 NST=-0330 EST=-0500 EDT=-0400 CST=-0600 CDT=-0500 MST=-0700 MDT=-0600 PST=-0800 PDT=-0700" +
	" HST=-1000 AKST=-0900 AKDT=-0800 HADT=-0900 HAST=-1000 GMT=+0000 BST=+0100 IST=+0100 WET=+0000 WEST=+0100 CET=+0100 CEST=+0200 EET=+0200 EEST=+0300" +
	" MSK=+0300 MSD=+0400 MET=+0100 MEZ=+0100 MEST=+0200 MESZ=+0200 BRST=-0200 BRT=-0300 AEST=+1000 AEDT=+1100 ACST=+0930 ACDT=+1030 AWST=+0800 NZST=+1200" +
	" NZDT=+1300 JST=+0900 KST=+0900 HKT=+0800 SGT=+0800 PHT=+0800 IDT=+0300 "

// dates are what a message says of when it was written and received.
type dates struct {
	written   int64
	hasDate   bool
	received  []int64
	fetched   []int64
	diff      int64
	hasFields bool
}

var (
	receivedDate = regexp.MustCompile(`\s.?\d+ \S\S\S \d+ \d+:\d+:\d+ \S+`)
	localFrom    = regexp.MustCompile(`\bfrom (?:localhost\s|(?:\S+ ){1,2}\S*\b127\.0\.0\.1\b)|qmail \d+ invoked by uid \d+`)
	fetchedBy    = regexp.MustCompile(`\bby localhost with \w+ \(fetchmail-[\d.]+`)
)

func (c *Context) dates() dates {
	return once(c, "dates", func() (d dates) {
		d.readWritten(c)
		d.readReceived(c)
		if d.hasDate && len(d.received) > 0 {
			var diffs []int64
			for _, r := range d.received {
				diffs = append(diffs, d.written-r)
			}
			if n := len(diffs); n > 1 && diffs[n-1] == 0 {
				diffs = diffs[:n-1]
			}
			d.diff = diffs[0]
			for _, x := range diffs {
				if abs(x) < abs(d.diff) {
					d.diff = x
				}
			}
		}
		return d
	})
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}

func (d *dates) readWritten(c *Context) {
	for _, name := range []string{"Resent-Date", "Date"} {
		for _, v := range c.Message.Get(name) {
			if t, ok := parseDate(v); ok {
				d.written, d.hasDate = t, true
				return
			}
		}
	}
}

// readReceived reads the times of the Received fields, but for those that a program wrote that fetched the message.
func (d *dates) readReceived(c *Context) {
	var lines, local []string
	for _, l := range strings.Split(c.text("Received"), "\n") {
		if strings.TrimSpace(l) != "" {
			lines = append(lines, l)
		}
	}
	if len(lines) == 0 {
		return
	}
	if localFrom.MatchString(lines[0]) {
		local, lines = lines[:1], lines[1:]
	}
	if len(lines) > 0 && fetchedBy.MatchString(lines[0]) {
		local = append(local[:len(local):len(local)], lines[0])
		lines = lines[1:]
	} else if len(local) > 0 {
		lines, local = append(local, lines...), nil
	}
	d.received, d.fetched = receivedTimes(lines), receivedTimes(local)
}

func receivedTimes(lines []string) (all []int64) {
	for _, l := range lines {
		if m := receivedDate.FindString(l); m != "" {
			if t, ok := parseDate(m); ok {
				all = append(all, t)
			}
		}
	}
	return all
}
