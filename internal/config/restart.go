package config

import (
	"reflect"
	"slices"
)

// NeedRestart names the sections in which the next configuration differs in something that only a restart puts in force.
func (c *Config) NeedRestart(next *Config) []string {
	// what a running gateway takes over
	live := []string{"domains", "dns", "filters", "policy", "rules", "maps", "geo"}
	old, now := reflect.ValueOf(c.fixed()), reflect.ValueOf(next.fixed())
	var names []string
	for i := range old.NumField() {
		name := old.Type().Field(i).Tag.Get("toml")
		if name == "" || slices.Contains(live, name) {
			continue
		}
		if !reflect.DeepEqual(old.Field(i).Interface(), now.Field(i).Interface()) {
			names = append(names, name)
		}
	}
	return names
}

// fixed is a copy without what may change of next hops: what happens while they are down.
func (c *Config) fixed() Config {
	bare := *c
	bare.NextHops = map[string]NextHop{}
	for name, hop := range c.NextHops {
		hop.WhenDown = ""
		bare.NextHops[name] = hop
	}
	bare.Outbound.WhenDown = ""
	return bare
}
