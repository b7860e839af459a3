package policy

import (
	"net/netip"
	"strings"
	"testing"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy/calendar"
	"postern/rules/mapfile"
)

func withMap(t *testing.T, entries, rule string) (*Policy, string) {
	t.Helper()
	cfg, problems := Parse("policy.toml", []byte(rule))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	cfg.Maps = mapfile.Set{"m": mapfile.Parse("m", "m.map", mapfile.Any, entries)}
	p, problems := Compile(cfg, []filters.Symbol{})
	if len(problems) > 0 {
		return nil, problems[0].String()
	}
	return p, ""
}

func TestMapsInRules(t *testing.T) {
	at, err := calendar.EndOfDay("2026-11-30", calendar.Zone{})
	if err != nil {
		t.Fatal(err)
	}
	message := func(f Facts) Facts {
		f.Stage, f.Time = mail.StageMessage, at-1
		return f
	}
	from := message(Facts{From: mail.Address{Local: "Boss", Domain: "Partner.example"}, Client: netip.MustParseAddr("192.0.2.7")})
	unknownTime := from
	unknownTime.Time = 0
	const when, who = "[[rule]]\nname = \"a\"\naction = \"tag\"\nwhen = '%'\n", "[who.w]\nmaps = [\"m\"]\n[[rule]]\nname = \"a\"\naction = \"tag\"\n% = [\"w\"]\n"
	for _, c := range []struct {
		entries, text, in string
		facts             Facts
		want              bool
	}{
		{"boss@partner.example", when, `in_map(from, "m")`, from, true},
		{"boss@partner.example", when, `!in_map(from, "m")`, from, false},
		{"192.0.2.0/24", when, `in_map(client, "m")`, from, true},
		{"boss@partner.example expires=2026-11-30", when, `in_map(from, "m")`, from, true},
		{"boss@partner.example expires=2026-11-29", when, `in_map(from, "m")`, from, false},
		{"boss@partner.example expires=2026-11-30", when, `in_map(from, "m")`, unknownTime, false},
		{"boss@partner.example", when, `in_map(from, "m")`, unknownTime, true},
		{"partner.example", when, `in_map(from_domain, "m") && in_map(header_from, "m")`, from, false},
		{"partner.example", who, "from", from, true},
		{"192.0.2.0/24", who, "from", from, true},
		{"192.0.2.0/24", who, "to", from, false},
		{"ann@corp.example", who, "to", from, true},
		{"/^ann@/", who, "not_to", from, false},
		{"ann@corp.example expires=2026-11-29", who, "to", from, false},
	} {
		p, problem := withMap(t, c.entries, strings.ReplaceAll(c.text, "%", c.in))
		if p == nil {
			t.Errorf("%s: %s", c.in, problem)
			continue
		}
		v := p.Decide(&c.facts, mail.Address{Local: "ann", Domain: "corp.example"})
		if got := v.Disposition == Tag; got != c.want {
			t.Errorf("%s, %s: %s", c.entries, c.in, v.Disposition)
		}
	}
}

// An expression that takes too long is a failure of the rule, never a rule that does not hold.
func TestSlowMaps(t *testing.T) {
	for _, rule := range []string{
		"[on_failure]\nrules = \"quarantine\"\n[[rule]]\nname = \"a\"\naction = \"accept\"\nwhen = 'in_map(subject, \"m\")'\n",
		"[on_failure]\nrules = \"quarantine\"\n[who.w]\nmaps = [\"m\"]\n[[rule]]\nname = \"a\"\naction = \"tag\"\nfrom = [\"w\"]\n",
	} {
		p, problem := withMap(t, "/(x+x+)+\\1y/", rule)
		if p == nil {
			t.Fatal(problem)
		}
		long := strings.Repeat("x", 900)
		f := Facts{Stage: mail.StageMessage, Subject: long, From: mail.Address{Local: long, Domain: "a.example"}}
		if v := p.Decide(&f, mail.Address{Local: "ann", Domain: "corp.example"}); v.Disposition != Quarantine {
			t.Errorf("%s: %s", rule, v.Disposition)
		}
	}
}

// The version is another one when the entries are, and a map that is not there is named.
func TestMapsAreOfThePolicy(t *testing.T) {
	const rule = "[[rule]]\nname = \"a\"\naction = \"tag\"\nwhen = 'in_map(from, \"m\")'\n"
	one, _ := withMap(t, "a.example", rule)
	two, _ := withMap(t, "b.example", rule)
	if one.Version() == two.Version() {
		t.Error("other entries, the same version")
	}
	for rule, want := range map[string]string{
		strings.Replace(rule, `"m"`, `"n"`, 1): `there is no map "n"`, strings.Replace(rule, `"m"`, "subject", 1): "in quotes",
		"[who.w]\nmaps = [\"n\"]\n": `there is no map "n"`,
	} {
		if _, problem := withMap(t, "a.example", rule); !strings.Contains(problem, want) {
			t.Errorf("%s: %s, want %s", rule, problem, want)
		}
	}
}
