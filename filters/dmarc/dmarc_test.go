package dmarc

import (
	"context"
	"slices"
	"testing"

	mdns "github.com/miekg/dns"

	"postern/filters/filtertest"
	"postern/internal/dns"
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
		"v=DMARC1":                                                      "none",
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
			got = r.applies(false, true)
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

func FuzzInspect(f *testing.F) { filtertest.Fuzz(f, Spec) }
