package eval

import (
	"regexp"
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
	names := func(line string) bool {
		for _, m := range dottedWord.FindAllStringSubmatch(line+" ", 100) {
			if list.Holds(m[1]) {
				return true
			}
		}
		return false
	}
	for _, line := range c.Message.Body() {
		if receivedLine.MatchString(line) && names(line) {
			return 1
		}
	}
	field, found := "", false
	for _, line := range strings.Split(c.Message.Pristine(), "\n") {
		if !found && !receivedLine.MatchString(line) {
			continue
		}
		found = true
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			field += line
		} else {
			field = line
		}
		if receivedLine.MatchString(field) && names(field) {
			return 1
		}
	}
	return 0
}
