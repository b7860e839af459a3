package eval

import (
	"strings"
	"time"

	"postern/rules/mapfile"
	"postern/rules/relays"
)

// Maps of the configuration: check_map('NAME', 'WHERE', ...) looks what stands in one of these places up in the map NAME.
func mapFunctions() map[string]Func { return map[string]Func{"check_map": checkMap} }

func checkMap(c *Context, args []string) float64 {
	m := c.Maps[arg(args, 0)]
	if m == nil || len(args) < 2 {
		return 0
	}
	day := c.Now.UTC().Format(time.DateOnly)
	for _, where := range args[1:] {
		for _, value := range c.placed(where) {
			e, ok := m.Find(value, day, c.Matcher.Budget())
			if ok {
				c.Evidence = value + ": " + m.Where(e)
				return 1
			}
		}
	}
	return 0
}

// mapValues is how many values of one place are looked up.
const mapValues = 200

// placed gives the values of a place: a word of our own, or a field as rules about fields name it.
func (c *Context) placed(where string) (values []string) {
	switch where {
	case "from":
		values = c.Message.Get("From:addr")
	case "envelope_from":
		if from, ok := c.Message.EnvelopeFrom(); ok {
			values = []string{strings.Trim(from, "<>")}
		}
	case "client", "helo", "rdns":
		for _, r := range c.atEdge()[:min(len(c.atEdge()), 1)] {
			values = nonEmpty(relayValue(r, where))
		}
	case "uri":
		values = c.Message.URIs()
	case "host":
		for _, u := range c.Message.Links() {
			values = append(values, u.Hosts...)
		}
		values = unique(values)
	case "attachment":
		values = c.fileNames()
	default:
		values = c.Message.Get(where)
	}
	values = values[:min(len(values), mapValues)]
	clean := make([]string, len(values))
	for i, v := range values {
		clean[i] = strings.TrimSuffix(v, "\n")
	}
	return clean
}

func relayValue(r *relays.Relay, where string) string {
	switch where {
	case "client":
		return r.IP
	case "helo":
		return r.Helo
	}
	return r.RDNS
}

func nonEmpty(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}

// fileNames are the names of the parts that have one.
func (c *Context) fileNames() (names []string) {
	for _, p := range c.Message.Tree().Find(true, nil) {
		if p.Name != "" {
			names = append(names, p.Name)
		}
	}
	return names
}

// MapArgs says what is wrong with the arguments of check_map, "" if nothing is.
func MapArgs(args []string, known func(string) bool) string {
	switch {
	case len(args) < 2:
		return "check_map wants the name of a map and where to look, as in check_map('vips', 'from')"
	case !known(args[0]):
		return "there is no map " + args[0] + ": [maps." + args[0] + "] in postern.toml names its file"
	}
	return ""
}

// Maps are those of the configuration, by name.
type Maps = mapfile.Set
