package filters

import (
	"net/netip"
	"strconv"

	"postern/internal/mail"
)

// The typed values of the findings on authentication. They are defined here, so that no filter depends on another:
// DMARC reads the results of SPF and DKIM, the console and the reports read all three.

// SPF is the value of a finding on SPF: RFC 7208.
type SPF struct {
	// Result is "pass", "fail", "softfail", "neutral", "none", "temperror" or "permerror": section 2.6.
	Result mail.AuthVerdict
	// Domain is the one that was checked, in A-labels. Helo is set if it came from HELO because the reverse-path is
	// null: section 2.4.
	Domain string
	Helo   bool
	Sender string
	Client netip.Addr
	// Relay is the host of ours that relayed the mail, if Client is not the connected client.
	Relay netip.Addr
	// Why names what matched or what went wrong.
	Why string
	// Explanation is what the domain says about a fail: its exp=, on one line of printable ASCII.
	Explanation string
}

// SPFHelo is the value of a finding on the HELO name beside that on the reverse-path: RFC 7208 section 2.3. It is not
// an SPF value, so that it can't be mistaken for a result about the sender.
type SPFHelo struct{ SPF }

// AuthResults implements mail.AuthResulter.
func (s SPF) AuthResults() []mail.AuthResult {
	prop := mail.AuthProp{Type: "smtp", Property: "mailfrom", Value: s.Sender}
	if s.Helo {
		prop = mail.AuthProp{Type: "smtp", Property: "helo", Value: s.Domain}
	}
	return []mail.AuthResult{{Method: mail.MethodSPF, Result: s.Result, Reason: reasonUnless(s.Result, mail.AuthPass, s.Why), Props: []mail.AuthProp{prop}}}
}

// AuthenticatedDomains gives the domain that SPF authenticates: that of the reverse-path, if it passed. A HELO name
// authenticates no sender.
func (s SPF) AuthenticatedDomains() []string {
	if s.Result != mail.AuthPass || s.Helo {
		return nil
	}
	return []string{s.Domain}
}

// DKIM is the value of a finding on DKIM: what came of each signature, from the top of the message down.
type DKIM []DKIMSignature

// DKIMSignature is one signature: RFC 6376.
type DKIMSignature struct {
	// Result is "pass", "fail", "policy", "neutral", "temperror" or "permerror": RFC 8601 section 2.7.1.
	Result mail.AuthVerdict
	// Domain is d=, Selector s=, Identity i=, Algorithm a=; KeyBits is the size of the key once it is known.
	Domain, Selector, Identity, Algorithm string
	KeyBits                               int
	// Testing is set if the key says t=y: the domain is only trying DKIM out (section 3.6.1).
	Testing bool
	// Sig is the front of b=, enough to tell signatures apart (RFC 6008).
	Sig string
	// Why says what went wrong.
	Why string
}

// AuthResults implements mail.AuthResulter.
func (d DKIM) AuthResults() []mail.AuthResult {
	if len(d) == 0 {
		return []mail.AuthResult{{Method: mail.MethodDKIM, Result: mail.AuthNone}}
	}
	var all []mail.AuthResult
	for _, s := range d {
		r := mail.AuthResult{Method: mail.MethodDKIM, Result: s.Result, Reason: reasonUnless(s.Result, mail.AuthPass, s.Why)}
		for _, p := range []mail.AuthProp{{Type: "header", Property: "d", Value: s.Domain}, {Type: "header", Property: "s", Value: s.Selector},
			{Type: "header", Property: "a", Value: s.Algorithm}, {Type: "header", Property: "b", Value: s.Sig}} {
			if p.Value != "" {
				r.Props = append(r.Props, p)
			}
		}
		if s.Testing {
			r.Reason = "the domain only tests this key (t=y)"
		} else if s.Result == mail.AuthPass && s.KeyBits > 0 && s.KeyBits < 2048 && s.Algorithm == "rsa-sha256" {
			r.Reason = strconv.Itoa(s.KeyBits) + "-bit key"
		}
		all = append(all, r)
	}
	return all
}

// AuthenticatedDomains are the domains whose signatures passed. A domain that only tries DKIM out proves nothing
// (RFC 6376 section 3.6.1, t=y).
func (d DKIM) AuthenticatedDomains() []string {
	var domains []string
	for _, s := range d {
		if s.Result == mail.AuthPass && !s.Testing {
			domains = append(domains, s.Domain)
		}
	}
	return domains
}

// ARC is the value of a finding on the Authenticated Received Chain: RFC 8617.
type ARC struct {
	// Result is "pass", "fail" or "none"; Why says what failed. Temporary is set if the fail is one of DNS and may be
	// gone tomorrow: a chain must not be sealed as failed for that.
	Result    mail.AuthVerdict
	Why       string
	Temporary bool
	// Sealers are the d= of the seals, the first hop's first.
	Sealers []string
	// OldestPass is the lowest instance from which on nothing signed was changed, 0 if nothing ever was: section 5.2
	// step 5. It says something only if the chain passed.
	OldestPass int
	// Unsure is set if a trusted sealer's set could not be verified because DNS gave no answer.
	Unsure bool
	// Trusted is the trusted sealer of the oldest set with only trusted sealers above it; Vouched are the results that it
	// recorded.
	Trusted string
	Vouched []mail.AuthResult
}

// AuthResults implements mail.AuthResulter: RFC 8617 section 7. Most mail has no chain, which is not mentioned.
func (a ARC) AuthResults() []mail.AuthResult {
	if a.Result == mail.AuthNone {
		return nil
	}
	r := mail.AuthResult{Method: mail.MethodARC, Result: a.Result, Reason: reasonUnless(a.Result, mail.AuthPass, a.Why)}
	if a.Result == mail.AuthPass {
		r.Props = []mail.AuthProp{{Type: "header", Property: "oldest-pass", Value: strconv.Itoa(a.OldestPass)}}
	}
	return []mail.AuthResult{r}
}

// DMARC is the value of a finding on DMARC: RFC 9989.
type DMARC struct {
	// Result is "pass", "fail", "none", "temperror" or "permerror".
	Result mail.AuthVerdict
	// Policy is the one that applies to this message after sp, np and t, "" without a record. Published is the p the record
	// has; Record its text, Tags what it says, defaults filled in.
	Policy, Published DMARCPolicy
	Record            string
	Tags              DMARCTags
	// Domain is the author domain, Org its organizational domain as far as it had to be found, PolicyDomain where the
	// record was found, Method how: "treewalk" or "psl".
	Domain, Org, PolicyDomain, Method string
	// Aligned says what passed and is aligned: "dkim:example.org", "spf:example.org".
	Aligned []string
	// Rua are the addresses that want aggregate reports.
	Rua []string
	// Undecided is set beside "temperror" if the name must not get through unproven: its domain asks for that or is one of
	// ours, or its policy is unknown.
	Undecided bool
	// Override says why the policy is not followed, the zero value if it is.
	Override DMARCOverride
	Why      string
}

// DMARCTags are the tags of a policy record (RFC 9989 section 4.7) that an aggregate report repeats. SP and NP are ""
// where the record has none.
type DMARCTags struct {
	P, SP, NP       DMARCPolicy
	ADKIM, ASPF, FO string
	Testing         bool
}

// DMARCPolicy is what a domain asks for: RFC 9989 section 4.7, p=.
type DMARCPolicy string

// The policies.
const (
	DMARCNone       DMARCPolicy = "none"
	DMARCQuarantine DMARCPolicy = "quarantine"
	DMARCReject     DMARCPolicy = "reject"
)

// DMARCOverride is a reason not to follow a policy, and a comment.
type DMARCOverride struct {
	Type    OverrideType
	Comment string
}

// OverrideType is a word of RFC 9990 section 3.1.6.
type OverrideType string

// Why a policy is not followed: a trusted forwarder saw DMARC pass, or the mail is that of a mailing list.
const (
	LocalPolicy OverrideType = "local_policy"
	MailingList OverrideType = "mailing_list"
)

// AuthResults implements mail.AuthResulter.
func (d DMARC) AuthResults() []mail.AuthResult {
	r := mail.AuthResult{Method: mail.MethodDMARC, Result: d.Result, Reason: reasonUnless(d.Result, mail.AuthPass, d.Why)}
	if d.Policy != "" {
		r.Props = append(r.Props, mail.AuthProp{Type: "policy", Property: "dmarc", Value: string(d.Policy)})
	}
	if d.Domain != "" {
		r.Props = append(r.Props, mail.AuthProp{Type: "header", Property: "from", Value: d.Domain})
	}
	return []mail.AuthResult{r}
}

func reasonUnless(result, good mail.AuthVerdict, why string) string {
	if result == good {
		return ""
	}
	return why
}
