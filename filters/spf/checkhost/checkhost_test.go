package checkhost

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern/internal/dns"
)

// The examples of RFC 7208 section 7.4.
func TestMacros(t *testing.T) {
	r, err := dns.NewZoneResolver("192.0.2.3 PTR mx.example.org\nmx.example.org A 192.0.2.3")
	if err != nil {
		t.Fatal(err)
	}
	for _, client := range []string{"192.0.2.3", "2001:db8::cb01"} {
		c := &check{ctx: t.Context(), dns: r, client: netip.MustParseAddr(client), local: "strong-bad", senderDomain: "email.example.com",
			query: Query{Helo: "mx.example.org", Receiver: "mx.corp.example", Now: time.Unix(1e9, 0)}}
		wanted := map[string]string{
			"%{s}": "strong-bad@email.example.com", "%{o}": "email.example.com", "%{d}": "email.example.com", "%{d4}": "email.example.com",
			"%{d3}": "email.example.com", "%{d2}": "example.com", "%{d1}": "com", "%{dr}": "com.example.email", "%{d2r}": "example.email",
			"%{l}": "strong-bad", "%{l-}": "strong.bad", "%{lr}": "strong-bad", "%{lr-}": "bad.strong", "%{l1r-}": "strong",
			"%{d99999999999999999999}": "email.example.com", "%{L}%%%_%-": "strong-bad% %20", "%{S}": "strong-bad%40email.example.com",
			"%{lr-}.lp.%{ir}.%{v}._spf.%{d2}":   "bad.strong.lp.3.2.0.192.in-addr._spf.example.com",
			"%{d2}.trusted-domains.example.net": "example.com.trusted-domains.example.net", "%{p}": "mx.example.org", "%{h} %{c} %{r} %{t}": "mx.example.org 192.0.2.3 mx.corp.example 1000000000",
		}
		if client != "192.0.2.3" {
			wanted = map[string]string{"%{p}": "unknown", "%{c}": client,
				"%{ir}.%{v}._spf.%{d2}": "1.0.B.C.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.ip6._spf.example.com"}
		}
		for text, want := range wanted {
			m, err := parseMacros(text, true)
			if err != nil {
				t.Errorf("%s: %v", text, err)
				continue
			}
			if got, err := c.expandText(m, "email.example.com"); err != nil || got != want {
				t.Errorf("%s: %q, %v, want %q", text, got, err, want)
			}
		}
	}
}

// RFC 7208 section 4.6: a syntax error anywhere is an error, also behind what matches.
func TestGrammar(t *testing.T) {
	for terms, want := range map[string]bool{
		"": true, "-all": true, "mx a:a.example/24//64 include:b.example ?all": true, "ip4:192.0.2.0/24 ip6:2001:db8::/32": true,
		"exists:%{ir}.%{l1r+-}._spf.%{d}": true, "redirect=_spf.example.org": true, "exp=why.%{d}": true, "x-other=%%ok%_": true, "a:%{d}": true,
		"a:foo:bar/baz.example.org/24": true, "a:x}.%{d}": true, "ptr:%{d} ptr": true, "A:a.example MX//0 Ip4:1.2.3.4/0": true,
		"ip4:1.2.3.4 junk": false, "ip4:192.0.2.300": false, "ip4:192.0.2.0/032": false, "ip4:192.0.2.0/33": false, "ip6": false,
		"a:": false, "a:1.2.3.4": false, "a:example.-com": false, "a:example": false, "mx:a.example:8080": false, "all:x.example": false,
		"redirect=": false, "redirect=a.example redirect=b.example": false, "exp=a.example exp=b.example": false, "include:a.example/24": false,
		"a\x07": false, "a:b\u00e9.example": false, "exists:%{c}.example.org": false, "exists:%{d0}.example.org": false, "x=%": false, "-": false,
		"a:%{d}x}": false, "all/24": false, "include": false, "ptr:": false, "ip4:::1": false, "ip6:1.2.3.4": false, "ip6:fe80::1%eth0": false, "a/": false,
		"a//129": false, "mx/33": false, "%{d}": false, "a:%{d": false, "exp=-all": false, "1up=x": false, "a\tmx": false, "exists:%{é}.example": false,
	} {
		if _, err := parseRecord(terms); (err == nil) != want {
			t.Errorf("%q: %v, want %v", terms, err, want)
		}
	}
}

func TestNamesAreShortenedFromTheLeft(t *testing.T) {
	c := &check{local: strings.Repeat("a", 300), senderDomain: "x.example"}
	for text, want := range map[string]string{
		"%{l}.example.org":                        "example.org",
		"b.%{l}.example.org":                      "example.org",
		strings.Repeat("12345678.", 40) + "org":   strings.Repeat("12345678.", 27) + "org",
		strings.Repeat("a", 250) + ".og":          strings.Repeat("a", 250) + ".og",
		strings.Repeat("a", 251) + ".og":          "og",
		"x.example.org.":                          "x.example.org",
		strings.Repeat("%{l}", 5000) + ".x.y.org": "x.y.org",
	} {
		m, err := parseMacros(text, false)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.expandName(m, "d.example"); err != nil || got != want {
			t.Errorf("%.40q: %q, want %q, %v", text, got, want, err)
		}
	}
}

func TestExplanationsAreTame(t *testing.T) {
	r, err := dns.NewZoneResolver("example.org TXT v=spf1 -all exp=why.example.org\nwhy.example.org TXT " + strings.Repeat("%{h}%{l} ", 2000))
	if err != nil {
		t.Fatal(err)
	}
	a := Check(t.Context(), r, Query{Client: netip.MustParseAddr("192.0.2.1"), Domain: "example.org", Local: "x", Helo: "a\r\nb\x00\x1b[0m\u202e", Limits: DefaultLimits()})
	if a.Result != "fail" || len(a.Explanation) != maxExplanation || strings.ContainsAny(a.Explanation, "\r\n\x00\x1b\u202e") {
		t.Errorf("%s %q", a.Result, a.Explanation)
	}
}

// A tree of includes as wide as a record can make it asks ten times and no more.
func TestTreesEnd(t *testing.T) {
	wide := strings.Repeat("include:a.example.org mx:a.example.org ", 1500)
	zone := "example.org TXT v=spf1 " + wide + "\na.example.org TXT v=spf1 " + wide + "\n"
	for i := range 10 {
		zone += "a.example.org MX " + strconv.Itoa(i) + " m.example.org\n"
	}
	r, err := dns.NewZoneResolver(zone + "m.example.org A 198.51.100.1")
	if err != nil {
		t.Fatal(err)
	}
	ctx := dns.WithBudget(t.Context(), dns.Budget{Queries: 112, Time: time.Minute})
	a := Check(ctx, r, Query{Client: netip.MustParseAddr("192.0.2.1"), Domain: "example.org", Limits: DefaultLimits()})
	if a.Result != "permerror" || a.Lookups != 10 {
		t.Errorf("%+v", a)
	}
}

func TestContextEndsIt(t *testing.T) {
	r, err := dns.NewZoneResolver("example.org TXT v=spf1 mx -all")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a := Check(ctx, r, Query{Client: netip.MustParseAddr("192.0.2.1"), Domain: "example.org", Limits: DefaultLimits()}); a.Result == "fail" || a.Result == "pass" {
		t.Errorf("%+v", a)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("mx a:a.example/24//64 exists:%{ir}.%{l1r+-}._spf.%{d} redirect=_spf.example.org -all", "%{c} %{p}", "mail.example", "bob")
	f.Add("include:example.org exp=why.example.org ~all", "%{h}%%%_", "[192.0.2.1]", "a@b")
	f.Add("exists:%{s}.example -ptr exp=why.example.org -all", "%{S7r.-}", "\x00", "é")
	f.Fuzz(func(t *testing.T, record, why, helo, local string) {
		line := strings.NewReplacer("\n", " ", "\r", " ")
		r, err := dns.NewZoneResolver("example.org TXT v=spf1 " + line.Replace(record) + "\nwhy.example.org TXT x" + line.Replace(why) + "\n192.0.2.1 PTR a.example.org\na.example.org A 192.0.2.1")
		if err != nil {
			return
		}
		a := Check(t.Context(), r, Query{Client: netip.MustParseAddr("192.0.2.1"), Domain: "example.org", Local: local, Helo: helo, Limits: DefaultLimits()})
		if a.Lookups > 10 || a.Voids > 3 || len(a.Explanation) > maxExplanation {
			t.Errorf("over a limit: %+v", a)
		}
		for i := range len(a.Explanation) {
			if a.Explanation[i] < ' ' || a.Explanation[i] >= 0x7f {
				t.Errorf("explanation %q", a.Explanation)
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	r, err := dns.NewZoneResolver("example.org TXT v=spf1 include:a.example.org mx -all\na.example.org TXT v=spf1 ip4:198.51.100.0/24 ip4:203.0.113.0/24 ?all\nexample.org MX 1 m.example.org\nm.example.org A 192.0.2.1")
	if err != nil {
		b.Fatal(err)
	}
	q := Query{Client: netip.MustParseAddr("192.0.2.1"), Domain: "example.org", Limits: DefaultLimits()}
	for b.Loop() {
		Check(b.Context(), r, q)
	}
}
