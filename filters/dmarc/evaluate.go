package dmarc

import (
	"context"
	"slices"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/dns"
	"postern/internal/mail"
)

// background is what is known of an author domain beside what DNS says just now. The zero value is nothing.
type background struct {
	// own says whether a domain is one of ours, nil for none.
	own func(domain string) bool
	// last is what the domain asked for when DNS could last tell, nil if it never could.
	last *remembered
	// deferUnknown and deferNobody defer unauthenticated mail whose domain's policy is unknown: because DNS has no answer,
	// because no resolver of ours answers.
	deferUnknown, deferNobody bool
}

func (b background) owns(domain string) bool { return b.own != nil && b.own(domain) }

// prepare asks for all that does not hang on what SPF and DKIM find.
func (s *search) prepare(ctx context.Context, domain string) {
	found, err := s.policy(ctx, domain)
	if err == nil && found != nil && found.domain != domain && found.record.missing != "" {
		_, _ = s.exists(ctx, domain) // kept, with its error
	}
}

// judge applies DMARC to one author domain: RFC 9989 section 5.3.
func (s *search) evaluate(ctx context.Context, findings []mail.Finding, domain string, b background) filters.DMARC {
	v := filters.DMARC{Result: mail.AuthNone, Domain: domain, Org: domain, Method: "treewalk"}
	if s.psl {
		v.Method = "psl"
	}
	found, err := s.policy(ctx, domain)
	switch {
	case err != nil:
		return s.withoutPolicy(v, findings, err, b)
	case found == nil:
		v.Why = "no record"
		return withoutRecord(v, findings, b)
	}
	r := found.record
	v.PolicyDomain, v.Record, v.Published, v.Tags, v.Rua = found.domain, r.text, r.policy, r.tags(), r.rua
	// RFC 9989 section 4.10.1: no valid p= and no report address
	if r.unusable {
		v.Published, v.Result, v.Why = "", mail.AuthPermError, "p= is none of none, quarantine, reject, and nobody wants a report"
		return withoutRecord(v, findings, b)
	}
	sub, exists := found.domain != domain, true
	var noAnswer error
	if sub && r.missing != "" {
		exists, noAnswer = s.exists(ctx, domain)
	}
	if v.Policy = r.applies(sub, exists); noAnswer != nil {
		v.Policy = stricter(r.applies(sub, true), r.applies(sub, false))
	}
	unsure := s.align(ctx, findings, r, &v) || notLooked(findings)
	if org := s.orgs[domain]; org != "" {
		v.Org = org
	}
	conclude(&v, unsure, noAnswer != nil)
	v.Undecided = v.Result == mail.AuthTempError && (protects(v.Policy) || b.owns(domain))
	return v
}

// conclude gives the result where there is a record: unsure says that SPF, DKIM or alignment might have passed, missing
// that it is not known whether the domain exists.
func conclude(v *filters.DMARC, unsure, missing bool) {
	switch {
	case len(v.Aligned) > 0:
		v.Result = mail.AuthPass
	// RFC 9989 section 5.3.6: a temporary error decides nothing
	case unsure:
		v.Result, v.Why = mail.AuthTempError, "SPF, DKIM or alignment had no answer from DNS"
	case missing:
		v.Result, v.Why = mail.AuthTempError, "no answer from DNS for the domain"
	default:
		v.Result, v.Why = mail.AuthFail, "neither SPF nor DKIM passes for "+v.Domain
	}
}

// protects says whether a policy asks for something to be done to mail that fails.
func protects(policy filters.DMARCPolicy) bool {
	return policy == filters.DMARCQuarantine || policy == filters.DMARCReject
}

func stricter(a, b filters.DMARCPolicy) filters.DMARCPolicy {
	for _, p := range []filters.DMARCPolicy{filters.DMARCReject, filters.DMARCQuarantine} {
		if a == p || b == p {
			return p
		}
	}
	return a
}

// notLooked says whether something that could have stood for the author was not looked at, or not to its end: a filter
// that failed is our fault, not the sender's.
func notLooked(findings []mail.Finding) bool {
	return slices.ContainsFunc(findings, func(f mail.Finding) bool {
		switch v := f.Value.(type) {
		case string:
			return f.Symbol == filters.Failed && (v == "spf" || v == "dkim" || v == "arc")
		case filters.ARC:
			return v.Unsure
		}
		return false
	})
}

// withoutRecord looks after a domain of ours that asks for nothing: mail in its name that nothing proves is held by the
// filter impersonation, but first it comes again if DNS may yet prove it.
func withoutRecord(v filters.DMARC, findings []mail.Finding, b background) filters.DMARC {
	if !b.owns(v.Domain) || proven(findings, b.owns) {
		return v
	}
	if notLooked(findings) || temporary(findings, b.owns) {
		v.Result, v.Why, v.Undecided = mail.AuthTempError, "SPF or DKIM had no answer from DNS", true
	}
	return v
}

// withoutPolicy decides what can be decided while DNS does not say what the domain asks for. What proves the very domain,
// or one above it in the same organization, proves it whatever the record says; more is only known from earlier.
func (s *search) withoutPolicy(v filters.DMARC, findings []mail.Finding, err error, b background) filters.DMARC {
	v.Result, v.Why = mail.AuthTempError, "no answer from DNS for the policy"
	if b.last != nil {
		v.Policy = b.last.policy
		v.Why += ", which was " + b.last.word() + " on " + b.last.at.UTC().Format(time.DateOnly)
	}
	eachResult(findings, func(method mail.AuthMethod, result mail.AuthVerdict, domain string) {
		if result == mail.AuthPass && stands(domain, v.Domain, method, b.last) && !slices.Contains(v.Aligned, aligned(method, domain)) {
			v.Aligned = append(v.Aligned, aligned(method, domain))
		}
	})
	switch {
	case len(v.Aligned) > 0:
	case b.owns(v.Domain):
		v.Undecided = true
	case b.last != nil:
		v.Undecided = protects(b.last.policy)
	case dns.IsNobody(err):
		v.Undecided = b.deferNobody
	default:
		v.Undecided = b.deferUnknown
	}
	return v
}

// stands reports whether an authenticated domain is aligned with an author domain whose record is unavailable.
func stands(domain, author string, method mail.AuthMethod, last *remembered) bool {
	switch {
	case domain == author:
		return true
	case last != nil && (method == mail.MethodSPF && last.strictSPF || method == mail.MethodDKIM && last.strictDKIM):
		return false
	case filters.RegisteredDomain(domain) != filters.RegisteredDomain(author):
		return false
	case strings.HasSuffix(author, "."+domain):
		return true
	}
	return last != nil && last.org != "" && (domain == last.org || strings.HasSuffix(domain, "."+last.org))
}

// eachResult goes through what SPF and DKIM found. A domain that only tries DKIM out has proved nothing, and would have
// proved nothing (RFC 6376 section 3.6.1, t=y).
func eachResult(findings []mail.Finding, do func(method mail.AuthMethod, result mail.AuthVerdict, domain string)) {
	for _, finding := range findings {
		switch value := finding.Value.(type) {
		case filters.SPF:
			do(mail.MethodSPF, value.Result, strings.ToLower(value.Domain))
		case filters.DKIM:
			for _, sig := range value {
				if !sig.Testing {
					do(mail.MethodDKIM, sig.Result, strings.ToLower(sig.Domain))
				}
			}
		}
	}
}

// proven says whether something passed for a domain that is meant, temporary whether it might have.
func proven(findings []mail.Finding, meant func(string) bool) bool {
	return has(findings, mail.AuthPass, meant)
}

func temporary(findings []mail.Finding, meant func(string) bool) bool {
	return has(findings, mail.AuthTempError, meant)
}

func has(findings []mail.Finding, result mail.AuthVerdict, meant func(string) bool) (found bool) {
	eachResult(findings, func(_ mail.AuthMethod, r mail.AuthVerdict, domain string) {
		found = found || r == result && meant(domain)
	})
	return found
}

// aligned is how a result names what passed.
func aligned(method mail.AuthMethod, domain string) string { return string(method) + ":" + domain }

// align collects the passes aligned with the author domain. It reports whether an unanswered check might have been one.
func (s *search) align(ctx context.Context, findings []mail.Finding, r record, v *filters.DMARC) (unsure bool) {
	eachResult(findings, func(method mail.AuthMethod, result mail.AuthVerdict, domain string) {
		if result != mail.AuthPass && result != mail.AuthTempError || domain == "" {
			return
		}
		ok, err := s.aligned(ctx, domain, v.Domain, method == mail.MethodSPF && r.strictSPF || method == mail.MethodDKIM && r.strictDKIM)
		switch {
		case err != nil || ok && result == mail.AuthTempError:
			unsure = true
		case ok && !slices.Contains(v.Aligned, aligned(method, domain)):
			v.Aligned = append(v.Aligned, aligned(method, domain))
		}
	})
	return unsure
}
