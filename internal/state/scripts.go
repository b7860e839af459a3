package state

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Each script has one key, so that it runs on any node of a cluster.
var (
	//go:embed lua/take.lua
	takeText string
	//go:embed lua/tally.lua
	tallyText string
	//go:embed lua/addto.lua
	addToText string
	//go:embed lua/putnew.lua
	putNewText string
	//go:embed lua/putnewer.lua
	putNewerText string
)

type scripts struct{ take, tally, addTo, putNew *redis.Script }

func newScripts() scripts {
	return scripts{redis.NewScript(takeText), redis.NewScript(tallyText), redis.NewScript(addToText), redis.NewScript(putNewText)}
}

// Times in Redis are microseconds: Lua's numbers hold those of our days exactly, nanoseconds they don't.

func micros(nanos int64) string { return strconv.FormatInt(nanos/1000, 10) }

// fine is micros with the fraction.
func fine(nanos int64) string {
	return strconv.FormatInt(nanos/1000, 10) + "." + fmt.Sprintf("%03d", max(nanos%1000, 0))
}

func parseFine(s string) (rateCell, error) {
	whole, fraction, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return 0, errForeign
	}
	f, _ := strconv.Atoi((fraction + "000")[:3])
	return rateCell(n*1000 + int64(f)), nil
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', 17, 64) }

func parseTally(s string, half time.Duration) (tallyCell, error) {
	var sums Tally
	fields := strings.Fields(s)
	if len(fields) != 3 {
		return tallyCell{}, errForeign
	}
	for i := range sums {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return tallyCell{}, errForeign
		}
		sums[i] = v
	}
	at, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return tallyCell{}, errForeign
	}
	return newTally(sums.clean(), at*1000, half), nil
}

// form is a value as it is in Redis: when it was put, when it ends, what it is. Times have 16 digits until 2286, so that
// they compare as text.
func (v valueCell) form() string {
	return fmt.Sprintf("%016d%016d%s", v.put/1000, v.expires/1000, v.octets)
}

func parseValue(s string) (valueCell, error) {
	if len(s) < 32 || len(s) > 32+maxValue {
		return valueCell{}, errForeign
	}
	put, err := strconv.ParseInt(s[:16], 10, 64)
	if err != nil {
		return valueCell{}, errForeign
	}
	expires, err := strconv.ParseInt(s[16:32], 10, 64)
	if err != nil {
		return valueCell{}, errForeign
	}
	return valueCell{octets: s[32:], put: put * 1000, expires: expires * 1000}, nil
}

// slack is for how long a key outlives its time in Redis, so that nodes' clocks may differ.
const slack = time.Minute

// ttl is a value's time to live in ms.
func (v valueCell) ttl() int64 {
	return time.Duration(max(v.expires-v.put, 0)).Milliseconds() + slack.Milliseconds()
}
