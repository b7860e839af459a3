package config

import (
	"fmt"
	"testing"
)

func TestNeedRestart(t *testing.T) {
	const base = "domains = [%s]\n[next_hop.default]\naddresses = [\"10.0.0.5:25\"]\nwhen_down = %q\n[[door]]\nlisten = \":25\"\n%s"
	parse := func(domains, down, more string) *Config {
		c, err := Parse("postern.toml", fmt.Appendf(nil, base, domains, down, more))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := parse(`"example.com"`, "defer", "")
	for _, c := range []struct{ domains, down, more, want string }{
		{`"example.com"`, "defer", "", "[]"},
		{`"example.com", "example.net"`, "queue", "[filters.spf]\nenabled = false\n", "[]"},
		{`"example.com"`, "defer", "[bans]\nper_user = 7\nnever = [\"10.0.0.0/8\"]\n[smtp]\nreserve = 3\n", "[smtp bans]"},
		{`"example.com"`, "defer", "[[door]]\nlisten = \":587\"\nname = \"other\"\n", "[door]"},
	} {
		if got := fmt.Sprint(old.NeedRestart(parse(c.domains, c.down, c.more))); got != c.want {
			t.Errorf("%s %s %q: %s, want %s", c.domains, c.down, c.more, got, c.want)
		}
	}
}
