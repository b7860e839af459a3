package tlsreport

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"
	"time"
)

// The example of RFC 8460 appendix B.
const example = `{"organization-name": "Company-X",
"date-range": {"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"},
"contact-info": "sts-reporting@company-x.example", "report-id": "5065427c-23d3-47ca-b6e0-946ea0e8c4be",
"policies": [{"policy": {"policy-type": "sts", "policy-string": ["version: STSv1","mode: testing","mx: *.mail.company-y.example","max_age: 86400"],
"policy-domain": "company-y.example", "mx-host": ["*.mail.company-y.example"]},
"summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
"failure-details": [{"result-type": "certificate-expired", "sending-mta-ip": "2001:db8:abcd:0012::1", "receiving-mx-hostname": "mx1.mail.company-y.example", "failed-session-count": 100},
{"result-type": "starttls-not-supported", "sending-mta-ip": "2001:db8:abcd:0013::1", "receiving-mx-hostname": "mx2.mail.company-y.example", "receiving-ip": "203.0.113.56", "failed-session-count": 200, "additional-information": "https://reports.company-x.example/report_info ? id = 5065427 c - 23 d3# StarttlsNotSupported"},
{"result-type": "validation-failure", "sending-mta-ip": "198.51.100.62", "receiving-ip": "203.0.113.58", "receiving-mx-hostname": "mx-backup.mail.company-y.example", "failed-session-count": 3, "failure-reason-code": "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"}]}]}`

func packed(text []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(text)
	_ = w.Close()
	return b.Bytes()
}

func TestParse(t *testing.T) {
	for name, file := range map[string][]byte{
		"json": []byte(example), "gzip": packed([]byte(example)), "mark": []byte("\xef\xbb\xbf" + example),
		"one name": []byte(strings.Replace(example, `["*.mail.company-y.example"]`, `"*.mail.company-y.example"`, 1)),
	} {
		r, err := Parse(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		p := r.Policies[0]
		if r.Organization != "Company-X" || r.DateRange.End.Hour() != 23 || p.Summary.Failed != 303 || len(p.Failures) != 3 || p.Policy.MXHost[0] != "*.mail.company-y.example" {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, file := range map[string][]byte{
		"empty": nil, "no policies": []byte(`{}`), "bomb": packed(make([]byte, MaxInflated+1)), "cut off": []byte(example[:400]),
		"cut off gzip": packed([]byte(example))[:100], "negative": []byte(strings.Replace(example, "5326", "-1", 1)),
		"negative failures": []byte(strings.Replace(example, `"failed-session-count": 3`, `"failed-session-count": -3`, 1)),
		"not a date":        []byte(strings.Replace(example, "2016-04-01T00:00:00Z", "yesterday", 1)),
		"deep":              []byte(`{"policies":` + strings.Repeat("[", 1_000_000)),
		"many":              []byte(`{"policies":[` + strings.Repeat(`{},`, maxPolicies) + `{}]}`),
		"many failures":     []byte(`{"policies":[{"failure-details":[` + strings.Repeat(`{},`, maxFailures) + `{}]}]}`),
	} {
		if r, err := Parse(file); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add(packed([]byte(example)))
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := Parse(file)
		if err == nil && (len(r.Policies) == 0 || len(r.Organization) > maxText+3) {
			t.Errorf("%+v", r)
		}
	})
}

// RFC 8461 sections 3.1 and 3.2: the record and the file.
func TestPublish(t *testing.T) {
	p := STS{Domain: "Example.com", Mode: "testing", MX: []string{"mail.example.com", "*.example.net"}, MaxAge: 7 * 24 * time.Hour, Reports: "tls@example.com"}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	if want := "version: STSv1\r\nmode: testing\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"; p.File() != want {
		t.Errorf("%q", p.File())
	}
	if p.URL() != "https://mta-sts.example.com/.well-known/mta-sts.txt" {
		t.Error(p.URL())
	}
	records := p.Records(time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC))
	if len(records) != 2 || records[0] != `_mta-sts.example.com. IN TXT "v=STSv1; id=20260302T120000Z;"` || records[1] != `_smtp._tls.example.com. IN TXT "v=TLSRPTv1; rua=mailto:tls@example.com"` {
		t.Error(records)
	}
}

func TestPublishRefuses(t *testing.T) {
	good := STS{Domain: "example.com", Mode: "enforce", MX: []string{"mail.example.com"}, MaxAge: time.Hour}
	for name, change := range map[string]func(*STS){
		"domain": func(p *STS) { p.Domain = "exa mple.com" }, "mode": func(p *STS) { p.Mode = "strict" }, "no hosts": func(p *STS) { p.MX = nil },
		"host": func(p *STS) { p.MX = []string{"mail.*.example.com"} }, "address": func(p *STS) { p.MX = []string{"a.example\r\nmode: none"} },
		"age": func(p *STS) { p.MaxAge = 366 * 24 * time.Hour }, "reports": func(p *STS) { p.Reports = "a@b.example!1" },
	} {
		p := good
		change(&p)
		if p.Check() == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
