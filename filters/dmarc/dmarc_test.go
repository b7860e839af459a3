package dmarc

import (
	"testing"

	"postern/filters/filtertest"
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
		if err == nil {
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
