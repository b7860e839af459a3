package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// A map that has changed is in force without a reload, for rules and policy at once and under load; a line that can't be used
// is named and costs nothing else; without its file the old map stays.
func TestMapsAreWatched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "vips.map")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write("nobody@else.example\n")
	writeRules(t, dir, "header IS_VIP eval:check_map('vips', 'from', 'envelope_from')\nscore IS_VIP 0.1\n")
	policy := filepath.Join(dir, "policy.toml")
	if err := os.WriteFile(policy, []byte("[[rule]]\nname = \"marked\"\nwhen = 'in_map(from, \"vips\")'\nheaders = { \"X-Vip\" = \"yes\" }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := newGate(t, "[filters]\nratelimit.enabled = false\ncorrespondents.enabled = false\n[smtp]\nmax_per_network = 100\n[rules]\ndir = \""+dir+"\"\n[policy]\nfile = \""+policy+"\"\n[maps.vips]\nfile = \""+file+"\"\n")
	var stop atomic.Bool
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		c := g.from("127.0.0.1", "mx")
		c.say("", 220)
		c.say("EHLO mail.friend.example", 250)
		for !stop.Load() {
			if code, said := c.transaction("MAIL FROM:<anna@friend.example>"); code != 250 {
				t.Errorf("%d %s", code, said)
				return
			}
		}
	}()
	marked := func(m string) string {
		return strings.Join([]string{yes(m, "IS_VIP"), yes(m, "X-Vip: yes")}, " ")
	}
	last := func() string {
		all := g.inside.Messages()
		if len(all) == 0 {
			return ""
		}
		return marked(string(all[len(all)-1].Data))
	}
	until(t, "mail comes", func() bool { return last() == "no no" })
	write("anna@friend.example owner=ann\nthis is no entry\n")
	until(t, "the new map is in force", func() bool { return last() == "yes yes" })
	if !strings.Contains(g.log.String(), "vips.map:2: ") {
		t.Error("the bad line is not named")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	until(t, "it is said", func() bool { return strings.Contains(g.log.String(), "the old ones stay") })
	n := len(g.inside.Messages())
	until(t, "more mail comes", func() bool { return len(g.inside.Messages()) > n+2 })
	stop.Store(true)
	<-loaded
	for i, m := range g.inside.Messages() {
		if got := marked(string(m.Data)); got != "no no" && got != "yes yes" {
			t.Errorf("message %d was judged by half of it: %s", i, got)
		}
	}
	if last() != "yes yes" {
		t.Error("the old map is gone")
	}
}

func yes(text, part string) string {
	if strings.Contains(text, part) {
		return "yes"
	}
	return "no"
}
