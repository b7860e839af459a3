package dmarcreport

import (
	"net/netip"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy"
)

// Observation is what one message says about a policy domain: a record of a report, and the report it belongs to.
type Observation struct {
	Published PolicyPublished `json:"published"`
	// Rua are the report's addresses, as in the record.
	Rua    []string `json:"rua"`
	Record Record   `json:"record"`
}

// maxSignatures is how many signatures of a message are reported; RFC 9990 section 3.1.3 allows 100.
const maxSignatures = 10

// Observe makes the observation of a message that was judged. done is the strictest disposition of its recipients. There
// is none for mail of our own users, for domains without a policy or without a wish for reports, and for a message that
// comes again.
func Observe(findings []mail.Finding, client netip.Addr, envelopeFrom mail.Address, done policy.Disposition) (Observation, bool) {
	var o Observation
	var d filters.DMARC
	for _, f := range findings {
		switch v := f.Value.(type) {
		case filters.DMARC:
			d = v
		case filters.SPF:
			o.Record.Auth.SPF = append(o.Record.Auth.SPF, SPFResult{Domain: v.Domain, Scope: "mfrom", Result: string(v.Result)})
		case filters.DKIM:
			o.Record.Auth.DKIM = append(o.Record.Auth.DKIM, signatures(v)...)
		}
	}
	// RFC 9989 section 4.7: no rua, no report. A temporary error is no result to report (RFC 9989 section 5.3.6).
	if len(d.Rua) == 0 || d.Result != mail.AuthPass && d.Result != mail.AuthFail || !client.IsValid() || done == policy.Defer {
		return Observation{}, false
	}
	t := d.Tags
	o.Rua = d.Rua
	o.Published = PolicyPublished{Domain: d.PolicyDomain, DiscoveryMethod: d.Method, P: string(t.P), SP: string(t.SP), NP: string(t.NP), FO: t.FO,
		ADKIM: t.ADKIM, ASPF: t.ASPF, Testing: "n"}
	if t.Testing {
		o.Published.Testing = "y"
	}
	if t.SP == "" {
		o.Published.SP = string(t.P) // RFC 9990 section 3.1.1.5: tags that are not there have their default
	}
	o.Record.Row = Row{SourceIP: client.Unmap().WithZone(""), Evaluated: evaluated(d, done)}
	o.Record.Identifiers = Identifiers{HeaderFrom: d.Domain, EnvelopeFrom: envelopeFrom.ASCIIDomain()}
	return o, true
}

// signatures puts those that passed first: RFC 9990 section 3.1.3.
func signatures(all filters.DKIM) []DKIMResult {
	var passed, others []DKIMResult
	for _, s := range all {
		r := DKIMResult{Domain: s.Domain, Selector: s.Selector, Result: string(s.Result)}
		if s.Result == mail.AuthPass {
			passed = append(passed, r)
		} else {
			others = append(others, r)
		}
	}
	passed = append(passed, others...)
	return passed[:min(len(passed), maxSignatures)]
}

// evaluated is the result of the policy. Other reasons against the message are not disclosed (RFC 9990 section 8.3), so
// it is never stricter than the policy.
func evaluated(d filters.DMARC, done policy.Disposition) Evaluated {
	e := Evaluated{Disposition: string(filters.DMARCNone), DKIM: string(mail.AuthFail), SPF: string(mail.AuthFail)}
	for _, a := range d.Aligned {
		switch {
		case len(a) > 5 && a[:5] == "dkim:":
			e.DKIM = string(mail.AuthPass)
		case len(a) > 4 && a[:4] == "spf:":
			e.SPF = string(mail.AuthPass)
		}
	}
	if d.Result == mail.AuthPass {
		if d.Policy != filters.DMARCNone {
			e.Disposition = string(mail.AuthPass)
		}
		return e
	}

	e.followed(d, done)
	// RFC 9990 section 3.1.6: a policy that was not followed has a reason
	if d.Tags.Testing {
		e.Reasons = append(e.Reasons, Reason{Type: "policy_test_mode"})
	} else if len(e.Reasons) == 0 && e.Disposition != string(d.Policy) {
		e.Reasons = append(e.Reasons, Reason{Type: "local_policy"})
	}

	return e
}

// followed says how far the policy of a domain was followed with a message that failed.
func (e *Evaluated) followed(d filters.DMARC, done policy.Disposition) {
	switch {
	case d.Override.Type != "":
		e.Reasons = append(e.Reasons, Reason{string(d.Override.Type), d.Override.Comment})
		if d.Override.Type == filters.MailingList && done >= policy.Quarantine { // milder than asked, not delivered
			e.Disposition = string(filters.DMARCQuarantine)
		}
	case d.Policy == filters.DMARCNone:
	case done == policy.Reject && d.Policy == filters.DMARCReject:
		e.Disposition = string(filters.DMARCReject)
	case done == policy.Reject || done == policy.Quarantine:
		e.Disposition = string(filters.DMARCQuarantine)
	}
}
