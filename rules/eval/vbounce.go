package eval

import (
	"regexp"
	"slices"
	"strings"
)

func bounceFunctions() map[string]Func {
	return map[string]Func{
		"have_any_bounce_relays": func(c *Context, _ []string) float64 {
			return truth(c.Config.Addresses["welcomelist_bounce_relays"].Len() > 0)
		},
		"check_welcomelist_bounce_relays": bounceRelays, "check_whitelist_bounce_relays": bounceRelays,
	}
}

var (
	receivedLine = regexp.MustCompile(`(?i)^[> ]*Received:`)
	dottedWord   = regexp.MustCompile(`\s(\S+\.\S+)\s`)
)

// bounceRelays says whether the message that came back names a relay of ours.
func bounceRelays(c *Context, _ []string) float64 {
	list := c.Config.Addresses["welcomelist_bounce_relays"]
	if list.Len() == 0 {
		return 0
	}
	ours := func(field string) bool {
		if !receivedLine.MatchString(field) {
			return false
		}
		return slices.ContainsFunc(dottedWord.FindAllStringSubmatch(field+" ", 100), func(m []string) bool { return list.Holds(m[1]) })
	}
	return truth(slices.ContainsFunc(c.Message.Body(), ours) || anyField(c.Message.Pristine(), ours))
}

// anyField says whether something holds of a field, unfolded, or of a line from the first Received field on.
func anyField(message string, holds func(field string) bool) bool {
	field, found := "", false
	for _, line := range strings.Split(message, "\n") {
		if !found && !receivedLine.MatchString(line) {
			continue
		}
		found = true
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			field += line
		} else {
			field = line
		}
		if holds(field) {
			return true
		}
	}
	return false
}
