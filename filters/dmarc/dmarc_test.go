package dmarc

import (
	"context"
	"slices"
	"strings"
	"syscall"
	"testing"

	mdns "github.com/miekg/dns"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/testing/filtertest"
)

func TestCases(t *testing.T) { filtertest.Run(t, Spec) }

// A record that a careless hand wrote still protects its domain.
func TestCarelessRecordsProtect(t *testing.T) {
	for text, want := range map[string]string{
		"v=DMARC1; p=reject":                                            "reject",
		"v=DMARC1;p=Reject":                                             "reject",
		"V=DMARC1 ; P = REJECT ;":                                       "reject",
		"v=DMARC1; rua=mailto:a@b.example; p=reject":                    "reject",
		"v=DMARC1; p=reject; rf=afrf:iodef; fo=x; ri=0; pct=0; ;; junk": "reject",
		"v=DMARC1; p=reject; sp=bogus":                                  "reject",
		"v=DMARC1; p=reject; p=none":                                    "reject",
		"v=DMARC1; p=bogus; p=reject":                                   "reject",
		"v=DMARC1; p=reject; sp=none; sp=reject; x-y=z; =; t=maybe":     "reject",
		"v=DMARC1; p=quarantine":                                        "quarantine",
		"v=DMARC1; p=reject; t=y":                                       "quarantine",
		"v=DMARC1; p=quarantine; t=Y":                                   "none",
		"v=DMARC1":                                                      "",
		"v=DMARC1; rua=mailto:a@b.example":                              "none",
		"v=DMARC1; p=bogus; rua=mailto:a@b.example":                     "none",
		"v=DMARC1; p=bogus":                                             "",
		"v=dmarc1; p=reject":                                            "",
		"v=DMARC10; p=reject":                                           "",
		"p=reject; v=DMARC1":                                            "",
		"v=spf1 -all":                                                   "",
	} {
		r, err := parseRecord(text)
		got := ""
		if err == nil && !r.unusable {
			got = string(r.applies(false, true))
		}
		if got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add("v=DMARC1; p=reject; sp=none; np=quarantine; t=y; psd=n; adkim=s; aspf=r; rua=mailto:a@b.example!10m, mailto:c@d.example")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRecord(text)
		if p := r.applies(true, false); err == nil && p != "none" && p != "quarantine" && p != "reject" {
			t.Errorf("%q: policy %q", text, p)
		}
	})
}

// The worked example of RFC 9989 section 4.10: eight queries, in this order. DNS is asked for each name once.
func TestTreeWalkAsksEightNames(t *testing.T) {
	asked := &recorder{}
	r, err := dns.New(dns.Options{Exchange: asked, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := newSearch(r, false, nil)
	for range 2 {
		if found, err := s.policy(t.Context(), "a.b.c.d.e.f.g.h.i.j.mail.example.com"); found != nil || err != nil {
			t.Fatal(found, err)
		}
	}
	want := []string{"_dmarc.a.b.c.d.e.f.g.h.i.j.mail.example.com.", "_dmarc.g.h.i.j.mail.example.com.", "_dmarc.h.i.j.mail.example.com.",
		"_dmarc.i.j.mail.example.com.", "_dmarc.j.mail.example.com.", "_dmarc.mail.example.com.", "_dmarc.example.com.", "_dmarc.com."}
	if !slices.Equal(asked.names, want) {
		t.Errorf("asked for %v", asked.names)
	}
}

// recorder answers that no name exists, and keeps what it was asked.
type recorder struct{ names []string }

func (r *recorder) Exchange(_ context.Context, query *mdns.Msg, _, _ string) (*mdns.Msg, error) {
	r.names = append(r.names, query.Question[0].Name)
	reply := new(mdns.Msg)
	reply.SetRcode(query, mdns.RcodeNameError)
	return reply, nil
}

// Whether a report may go somewhere without being asked for: RFC 9990 section 4.
func TestSameOrganization(t *testing.T) {
	r, err := dns.NewZoneResolver("_dmarc.example.org TXT v=DMARC1; p=none\n_dmarc.bank.example TXT v=DMARC1; p=none; psd=y\n_dmarc.slow.example TIMEOUT")
	if err != nil {
		t.Fatal(err)
	}
	for pair, want := range map[[2]string]bool{
		{"example.org", "example.org"}: true, {"example.org", "mail.example.org"}: true, {"news.example.org", "mail.example.org"}: true,
		{"example.org", "example.net"}: false, {"a.bank.example", "b.bank.example"}: false, {"example.org", "notexample.org"}: false,
	} {
		if same, err := SameOrganization(t.Context(), r, false, pair[0], pair[1]); same != want || err != nil {
			t.Errorf("%v: %v %v", pair, same, err)
		}
	}
	if _, err := SameOrganization(t.Context(), r, false, "a.slow.example", "b.slow.example"); err == nil {
		t.Error("no error though DNS gave no answer")
	}
}

// What Explain notes is for people: every look-up, and the tags that made the policy.
func TestExplain(t *testing.T) {
	r, err := dns.NewZoneResolver("_dmarc.example.org TXT v=DMARC1; p=none; sp=reject; t=y; adkim=s\n_dmarc.two.example TXT v=DMARC1\n_dmarc.two.example TXT v=DMARC1; p=none")
	if err != nil {
		t.Fatal(err)
	}
	explain := func(domain string) (string, string) {
		var notes []string
		v := Explain(t.Context(), r, false, domain, []mail.Finding{{Value: filters.SPF{Result: "pass", Domain: "example.org"}}}, func(n string) { notes = append(notes, n) })
		return string(v.Result), strings.Join(notes, "\n")
	}
	result, notes := explain("a.example.org")
	for _, want := range []string{"_dmarc.a.example.org: no record", "stands at example.org", "sp=reject", "t=y", "quarantine", "strict", "aligned: spf:example.org"} {
		if result != "pass" || !strings.Contains(notes, want) {
			t.Errorf("%s, no %q in\n%s", result, want, notes)
		}
	}
	if _, notes := explain("two.example"); !strings.Contains(notes, "2 DMARC records count as none") {
		t.Error(notes)
	}
}

func FuzzInspect(f *testing.F) { filtertest.Fuzz(f, Spec) }

// refuser is the world without a resolver of ours.
type refuser struct{}

func (refuser) Exchange(context.Context, *mdns.Msg, string, string) (*mdns.Msg, error) {
	return nil, syscall.ECONNREFUSED
}

// A resolver that is not there at all is our own fault, and none that a stranger can bring about: unless the admin wants it
// otherwise, mail of domains never seen flows. Domains of ours wait.
func TestWithoutResolver(t *testing.T) {
	for _, c := range []struct{ from, setting, want string }{
		{"bob@example.org", "accept", "DMARC_DNSFAIL"}, {"bob@example.org", "defer", "DMARC_UNDECIDED"}, {"ceo@corp.example", "accept", "DMARC_UNDECIDED"},
	} {
		r, err := dns.New(dns.Options{Exchange: refuser{}})
		if err != nil {
			t.Fatal(err)
		}
		f, err := Spec.New(config.NewSection("filters.dmarc", map[string]any{"no_resolver": c.setting}),
			filters.Env{DNS: r, Now: filtertest.Now, Local: func(d string) bool { return d == "corp.example" }})
		if err != nil {
			t.Fatal(err)
		}
		tx := &mail.Transaction{Session: &mail.Session{}, Message: mail.NewMessage([]byte("From: " + c.from + "\r\n\r\n"))}
		if found, err := f.Inspect(t.Context(), tx); err != nil || len(found) != 1 || found[0].Symbol != c.want {
			t.Errorf("%v: %v, %v", c, found, err)
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for key, value := range map[string]any{"max_authors": 0, "undecided_tries": -1, "undecided_for": "9d", "mailing_lists": "x", "unknown_policy": "reject", "no_resolver": ""} {
		_, err := Spec.New(config.NewSection("filters.dmarc", map[string]any{key: value}), filters.Env{})
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s = %v: %v", key, value, err)
		}
	}
}
