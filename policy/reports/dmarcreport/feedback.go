// Package dmarcreport is about aggregate reports of DMARC (RFC 9990): it counts what was seen of each policy domain, writes
// the reports that domains ask for, and reads those that others send us.
package dmarcreport

import (
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"fmt"
	"net/netip"
)

// Namespace is that of reports as RFC 9990 has them; those of RFC 7489 have none.
const Namespace = "urn:ietf:params:xml:ns:dmarc-2.0"

// Feedback is one aggregate report: RFC 9990 section 3.1.1. Its elements are in the order of the schema there, which is
// one that the schema of RFC 7489 appendix C accepts, too.
type Feedback struct {
	XMLName   xml.Name        `xml:"feedback" json:"-"`
	XMLNS     string          `xml:"xmlns,attr,omitempty" json:"-"`
	Version   string          `xml:"version,omitempty" json:"version,omitempty"`
	Metadata  Metadata        `xml:"report_metadata" json:"report_metadata"`
	Published PolicyPublished `xml:"policy_published" json:"policy_published"`
	Records   []Record        `xml:"record" json:"records"`
}

// Metadata names the reporter and the period.
type Metadata struct {
	OrgName      string   `xml:"org_name" json:"org_name"`
	Email        string   `xml:"email" json:"email"`
	ExtraContact string   `xml:"extra_contact_info,omitempty" json:"extra_contact_info,omitempty"`
	ReportID     string   `xml:"report_id" json:"report_id"`
	Begin        int64    `xml:"date_range>begin" json:"begin"`
	End          int64    `xml:"date_range>end" json:"end"`
	Errors       []string `xml:"error,omitempty" json:"errors,omitempty"`
	Generator    string   `xml:"generator,omitempty" json:"generator,omitempty"`
}

// PolicyPublished is the policy record as it was found.
type PolicyPublished struct {
	Domain          string `xml:"domain" json:"domain"`
	DiscoveryMethod string `xml:"discovery_method,omitempty" json:"discovery_method,omitempty"`
	P               string `xml:"p" json:"p"`
	SP              string `xml:"sp,omitempty" json:"sp,omitempty"`
	NP              string `xml:"np,omitempty" json:"np,omitempty"`
	FO              string `xml:"fo,omitempty" json:"fo,omitempty"`
	ADKIM           string `xml:"adkim,omitempty" json:"adkim,omitempty"`
	ASPF            string `xml:"aspf,omitempty" json:"aspf,omitempty"`
	Testing         string `xml:"testing,omitempty" json:"testing,omitempty"`
	// Pct is of RFC 7489; ours have none.
	Pct string `xml:"pct,omitempty" json:"pct,omitempty"`
}

// Record is one combination of client, result and domains, and how often it was seen.
type Record struct {
	Row         Row         `xml:"row" json:"row"`
	Identifiers Identifiers `xml:"identifiers" json:"identifiers"`
	Auth        AuthResults `xml:"auth_results" json:"auth_results"`
}

// Row is the client and what was done.
type Row struct {
	SourceIP  netip.Addr `xml:"source_ip" json:"source_ip"`
	Count     int64      `xml:"count" json:"count"`
	Evaluated Evaluated  `xml:"policy_evaluated" json:"policy_evaluated"`
}

// Evaluated is what came of the policy: the disposition is "none", "pass", "quarantine" or "reject".
type Evaluated struct {
	Disposition string   `xml:"disposition" json:"disposition"`
	DKIM        string   `xml:"dkim" json:"dkim"`
	SPF         string   `xml:"spf" json:"spf"`
	Reasons     []Reason `xml:"reason" json:"reasons,omitempty"`
}

// Reason is why the policy was not followed: RFC 9990 section 3.1.6.
type Reason struct {
	Type    string `xml:"type" json:"type"`
	Comment string `xml:"comment,omitempty" json:"comment,omitempty"`
}

// Identifiers are the domains of the message.
type Identifiers struct {
	HeaderFrom   string `xml:"header_from" json:"header_from"`
	EnvelopeFrom string `xml:"envelope_from" json:"envelope_from"`
	EnvelopeTo   string `xml:"envelope_to,omitempty" json:"envelope_to,omitempty"`
}

// AuthResults are the results of DKIM and SPF, for all domains.
type AuthResults struct {
	DKIM []DKIMResult `xml:"dkim" json:"dkim,omitempty"`
	SPF  []SPFResult  `xml:"spf" json:"spf,omitempty"`
}

// DKIMResult is one signature.
type DKIMResult struct {
	Domain   string `xml:"domain" json:"domain"`
	Selector string `xml:"selector" json:"selector"`
	Result   string `xml:"result" json:"result"`
	Human    string `xml:"human_result,omitempty" json:"human_result,omitempty"`
}

// SPFResult is one check; scope is "mfrom", in older reports also "helo".
type SPFResult struct {
	Domain string `xml:"domain" json:"domain"`
	Scope  string `xml:"scope,omitempty" json:"scope,omitempty"`
	Result string `xml:"result" json:"result"`
	Human  string `xml:"human_result,omitempty" json:"human_result,omitempty"`
}

// XML writes the report.
func (f *Feedback) XML() ([]byte, error) {
	f.XMLNS, f.Version = Namespace, "1.0"
	b, err := xml.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the report: %w", err)
	}
	return append(append([]byte(xml.Header), b...), '\n'), nil
}

// Gzip writes the report as it is sent: RFC 9990 section 3.5.2.
func (f *Feedback) Gzip() ([]byte, error) {
	text, err := f.XML()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(text); err != nil {
		return nil, fmt.Errorf("compress the report: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress the report: %w", err)
	}
	return b.Bytes(), nil
}

// FileName is that of the attachment: RFC 9990 section 3.5.2. unique is letters and digits, "" where one report is enough.
func (f *Feedback) FileName(receiver, unique string) string {
	name := fmt.Sprintf("%s!%s!%d!%d", receiver, f.Published.Domain, f.Metadata.Begin, f.Metadata.End)
	if unique != "" {
		name += "!" + unique
	}
	return name + ".xml.gz"
}
