package main

import (
	"strings"
	"testing"

	"postern/internal/config"
)

// Logs of two kinds: the addresses that our users wrote to, and no others.
func TestPairsOfLogs(t *testing.T) {
	cfg := config.Default()
	cfg.Domains = []string{"corp.test"}
	p := newPairs(cfg)
	for _, name := range []string{"testdata/learn/mail.log", "testdata/learn/tracking.csv", "testdata/learn/tracking.csv"} {
		if err := p.read(name, newProgress(world{}, "")); err != nil {
			t.Fatal(err)
		}
	}

	want := "ann@corp.test bob@friend.example, ann@corp.test carl@partner.example, ann@corp.test dora@partner.example"
	if got := strings.Join(p.order, ", "); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if err := p.read("testdata/learn/nosuch", newProgress(world{}, "")); err == nil {
		t.Error("a file that is not there is read")
	}
}
