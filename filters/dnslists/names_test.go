package dnslists

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
)

// testdata/links has a link and what is asked about it, "-" for nothing.
func TestLinks(t *testing.T) {
	text, err := os.ReadFile("testdata/links")
	if err != nil {
		t.Fatal(err)
	}
	f := &filter{}
	for line := range strings.Lines(string(text)) {
		link, want, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || link == "#" {
			continue
		}
		if want = strings.TrimSpace(want); want == "-" {
			want = ""
		}
		if got := f.site(link).text; got != want {
			t.Errorf("%s: %q, want %q", link, got, want)
		}
	}
}

func FuzzLinks(f *testing.F) {
	if text, err := os.ReadFile("testdata/links"); err == nil {
		for line := range strings.Lines(string(text)) {
			link, _, _ := strings.Cut(line, " ")
			f.Add(link)
		}
	}
	f.Add("write to a.b+c@example.org, or @@x@y@@z.example.")
	one := &filter{}
	l := &list{zone: "bl.example.org", kinds: allKinds}
	f.Fuzz(func(t *testing.T, text string) {
		site := one.site(text)
		if name := l.question(site); len(name) > 253 {
			t.Errorf("%q is asked as %q", text, name)
		}
		if _, err := netip.ParseAddr(site.text); err != nil && site.text != "" && !mail.ValidDomain(site.text) {
			t.Errorf("%q gives %q, which is no domain", text, site.text)
		}
		eachAddress(text, func(a mail.Address) bool {
			if s := one.mailbox(a); s.text != strings.ToLower(s.text) || len(l.hash(s.text)) != 40 {
				t.Errorf("%q is hashed as %q", text, s.text)
			}
			return true
		})
	})
}

func TestReversed(t *testing.T) {
	for ip, want := range map[string]string{
		"192.0.2.99": "99.2.0.192",
		// RFC 5782 section 2.4
		"2001:db8:1:2:3:4:567:89ab": "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2",
	} {
		if got := reversed(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: %s, want %s", ip, got, want)
		}
	}
}

// Each shipped list can be used, and whatever it says is a symbol that is declared.
func TestShipped(t *testing.T) {
	known := map[string]bool{}
	for _, s := range symbols() {
		known[s.Name] = true
	}
	said := map[string]bool{}
	for _, l := range shipped() {
		l.Key = "key"
		made, err := l.read()
		if err != nil {
			t.Fatalf("%s: %v", l.Name, err)
		}
		for _, c := range made.codes {
			said[c.symbol] = true
			if !known[c.symbol] {
				t.Errorf("%s: %s is no symbol", l.Name, c.symbol)
			}
		}
	}
	for name := range known {
		if !said[name] && !strings.HasPrefix(name, "DNSLIST_") {
			t.Errorf("no list says %s", name)
		}
	}
}

// No one list may reject by itself what its own parts do not agree on; SBL, XBL and PBL are three lists in one answer.
func TestOneListIsNotEnough(t *testing.T) {
	for _, s := range symbols() {
		if s.Score >= 12 || s.Action != filters.NoAction {
			t.Errorf("%s alone rejects", s.Name)
		}
	}
}

func TestWrongSettings(t *testing.T) {
	list := func(more map[string]any) map[string]any {
		own := map[string]any{"name": "ours", "zone": "bl.example.org", "kinds": []string{"client"}, "weight": 1.0}
		for k, v := range more {
			own[k] = v
		}
		return map[string]any{"list": []map[string]any{own}}
	}
	for want, values := range map[string]map[string]any{
		"no shipped list \"zenn\"":      {"use": []string{"zenn"}},
		"in dqs_key":                    {"use": []string{"spamhaus-zen-dqs"}},
		"stands there twice":            {"use": []string{"psbl", "psbl"}},
		"timeout = \"1m0s\"":            {"timeout": "1m"},
		"zone = \"bl\"":                 list(map[string]any{"zone": "bl"}),
		"set access_key":                list(map[string]any{"zone": "{key}.bl.example"}),
		"\"clients\" is none of":        list(map[string]any{"kinds": []string{"clients"}}),
		"kinds: say":                    list(map[string]any{"kinds": []string{}}),
		"knows nothing else":            list(map[string]any{"kinds": []string{"client", "hash"}}),
		"weight: set":                   list(map[string]any{"weight": 0.0}),
		"weight = -3":                   list(map[string]any{"weight": -3.0}),
		"weight = 11":                   list(map[string]any{"weight": 11.0}),
		"codes: \"127.0.0\" is none of": list(map[string]any{"codes": map[string]any{"127.0.0": map[string]any{"weight": 1.0}}}),
		"codes: 127.0.0.3: set its":     list(map[string]any{"codes": map[string]any{"127.0.0.3": map[string]any{"label": "x"}}}),
		"refused: \"&0\"":               list(map[string]any{"refused": []string{"&0"}}),
		"hash = \"crc\"":                list(map[string]any{"hash": "crc"}),
		"mute_after = -1":               list(map[string]any{"mute_after": -1}),
		"name: give it":                 list(map[string]any{"name": "a b"}),
	} {
		_, err := newFilter(config.NewSection("filters.dnslists", values), filters.Env{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want an error with %q", err, want)
		}
	}
}

// What one message makes us ask is bounded, and that there was more is said.
func TestQuestionsAreBounded(t *testing.T) {
	var lists []map[string]any
	for i := range maxLists {
		lists = append(lists, map[string]any{"name": fmt.Sprintf("l%d", i), "zone": fmt.Sprintf("l%d.example", i), "kinds": []string{"uri"}, "weight": 1.0, "no_probe": true})
	}
	h := newHouse(t, "x.example A 192.0.2.1\n", map[string]any{"list": lists})
	var b strings.Builder
	b.WriteString("From: bob@example.org\r\nContent-Type: text/plain\r\n\r\n")
	for i := range 30 {
		fmt.Fprintf(&b, "http://d%d.example/\r\n", i)
	}
	tx := &mail.Transaction{Stage: mail.StageMessage, Session: &mail.Session{}, Message: mail.NewMessage([]byte(b.String()))}
	found, err := h.Inspect(t.Context(), tx)
	if err != nil || len(found) != 2 || !strings.Contains(found[0].Evidence, "more than 400 questions") || !strings.Contains(found[1].Evidence, "more than 20 link domains") {
		t.Errorf("found %v, %v", found, err)
	}
	asked := 0
	for _, l := range h.lists {
		asked += int(l.health.asked)
	}
	if asked != maxQuestions {
		t.Errorf("%d questions", asked)
	}
}
