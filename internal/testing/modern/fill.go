package modern

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var hole = regexp.MustCompile(`\{([A-Za-z][A-Za-z0-9.-]*)(?: ([^{}\n]*))?\}`)

var steady = regexp.MustCompile(`^[rnqu][1-9]$`)

// fill puts values in the place of {key} and of what is made up; whatever it doesn't know stays, as CSS does.
func (c *composer) fill(text string) string {
	for range 5 {
		next := hole.ReplaceAllStringFunc(text, func(found string) string {
			parts := hole.FindStringSubmatch(found)
			if value, ok := c.keys[parts[1]]; ok && parts[2] == "" {
				return value
			}
			if value, ok := c.madeUp(parts[1], parts[2]); ok {
				return value
			}
			return found
		})
		if next == text {
			break
		}
		text = next
	}
	return text
}

// madeUp gives random values: "hex 8" another at each place, r1 to r9, n1 to n9, q1 to q9 and u1 to u9 the same within a message.
func (c *composer) madeUp(word, args string) (string, bool) {
	if steady.MatchString(word) {
		if c.fixed[word] == "" {
			c.fixed[word] = map[byte]func() string{'r': func() string { return c.some("0123456789abcdef", 12) },
				'n': func() string { return c.some("123456789", 8) },
				'q': func() string { return c.some("123456789", 4) }, 'u': c.uuid}[word[0]]()
		}
		return c.fixed[word], true
	}
	n, _ := strconv.Atoi(args)
	switch word {
	case "hex":
		return c.some("0123456789abcdef", n), true
	case "digits":
		return c.some("123456789", n), true
	case "alnum":
		return c.some("abcdefghijklmnopqrstuvwxyz0123456789", n), true
	case "ALNUM":
		return c.some("ABCDEFGHJKLMNPQRSTUVWXYZ23456789", n), true
	case "b64":
		return c.some("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", n), true
	case "uuid":
		return c.uuid(), true
	case "coin":
		return c.coin(), true
	case "pick":
		all := strings.Split(args, "/")
		return all[c.random.IntN(len(all))], true
	case "date":
		return c.date(args), true
	case "to64":
		return base64.StdEncoding.EncodeToString([]byte(c.keys["to.addr"])), true
	}
	return "", false
}

func (c *composer) some(letters string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[c.random.IntN(len(letters))]
	}
	return string(b)
}

func (c *composer) uuid() string {
	return fmt.Sprintf("%s-%s-4%s-a%s-%s", c.some("0123456789abcdef", 8), c.some("0123456789abcdef", 4),
		c.some("0123456789abcdef", 3), c.some("0123456789abcdef", 3), c.some("0123456789abcdef", 12))
}

// date is when the message was written, in the zone "+0100" or "GMT"; "ISO" is the form of iCalendar.
func (c *composer) date(zone string) string {
	at := Now().Add(-time.Duration(2+c.number%40) * time.Minute)
	switch zone {
	case "GMT":
		return at.Format(time.RFC1123)[:26] + "GMT"
	case "ISO":
		return at.Format("20060102T150405Z")
	case "":
		zone = "+0000"
	}
	offset, err := time.Parse("-0700", zone)
	if err != nil {
		return at.Format(time.RFC1123Z)
	}
	return at.In(offset.Location()).Format("Mon, 2 Jan 2006 15:04:05 -0700")
}
