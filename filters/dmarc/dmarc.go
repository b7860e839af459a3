// Package dmarc asks whether what SPF and DKIM found stands for the domain that a reader sees in From, and what that
// domain wants done if it does not: RFC 9989.
package dmarc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
)

// Settings are the filter's settings.
type Settings struct {
	// OrganizationalDomain says how the organizational domain is found: "tree" by the tree walk of RFC 9989, "psl" by
	// the public suffix list, as RFC 7489 had it.
	OrganizationalDomain string `toml:"organizational_domain"`
}

func defaults() Settings { return Settings{OrganizationalDomain: "tree"} }

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:    "dmarc",
	Help:    "Asks whether SPF and DKIM stand for the domain in From, and what it wants done if not (RFC 9989).",
	Stages:  mail.StageMessage,
	After:   []string{"spf", "dkim", "arc"},
	Timeout: 15 * time.Second,
	Symbols: []filters.Symbol{
		{Name: "DMARC_POLICY_ALLOW", Score: -0.5, Help: "DMARC: the domain in From is authenticated"},
		{Name: "DMARC_POLICY_REJECT", Score: 6, Help: "DMARC: the domain in From is not authenticated and asks for such mail to be rejected", Action: "reject",
			Reply: "This mail says it is from a domain that did not send it, and that domain asks us to reject such mail (DMARC)"},
		{Name: "DMARC_POLICY_QUARANTINE", Score: 4, Help: "DMARC: the domain in From is not authenticated and asks for such mail to be set aside", Action: "quarantine"},
		{Name: "DMARC_POLICY_SOFTFAIL", Score: 0.5, Help: "DMARC: the domain in From is not authenticated and asks for nothing"},
		{Name: "DMARC_NA", Score: 0, Help: "DMARC: the domain in From has no DMARC record"},
		{Name: "DMARC_DNSFAIL", Score: 0, Help: "DMARC: DNS gave no answer"},
		{Name: "DMARC_BAD_POLICY", Score: 0.5, Help: "DMARC: the domain's record can't be used"},
		{Name: "DMARC_AMBIGUOUS", Score: 2, Help: "DMARC: SPF or DKIM stand for a domain in From, but readers may show another one"},
		{Name: "DMARC_OVERRIDE_ARC", Score: 0, Help: "DMARC: fails here, but passed where a trusted forwarder received the mail (ARC)"},
		{Name: "DMARC_MAILING_LIST", Score: 0, Help: "DMARC: fails, and the mail looks like that of a mailing list"},
	},
	Settings: func() any { s := defaults(); return &s },
	New: func(section config.Section, env filters.Env) (filters.Filter, error) {
		s := defaults()
		if err := section.Decode(&s); err != nil {
			return nil, err
		}
		if s.OrganizationalDomain != "tree" && s.OrganizationalDomain != "psl" {
			return nil, fmt.Errorf("[filters.dmarc]: organizational_domain = %q: set it to \"tree\" or \"psl\"", s.OrganizationalDomain)
		}
		return filter{env, s}, nil
	},
}

type filter struct {
	env      filters.Env
	settings Settings
}

func (f filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	if tx.Session.Outbound() {
		return nil, nil
	}
	s := newSearch(f.env.DNS, f.settings.OrganizationalDomain == "psl", nil)
	domains, doubt := authors(tx.Message.Header())
	worst := filters.DMARC{Result: "none", Why: "no domain in From"}
	rank := -1
	for _, domain := range domains {
		v := s.judge(ctx, tx.AllFindings(), domain)
		if _, r := symbolOf(v); r > rank {
			rank, worst = r, v
		}
	}
	// RFC 9989 section 5.3.1: where From is not one readable field, DMARC has no domain to stand for
	if worst.Result == "pass" && doubt != "" {
		worst.Result, worst.Why = "permerror", doubt
		return []filters.Finding{{Symbol: "DMARC_AMBIGUOUS", Evidence: filters.Printable(evidence(worst)), Value: worst}}, nil
	}
	return report(tx, worst), nil
}

// report names the result, or the reason why it does not hold.
func report(tx *mail.Transaction, v filters.DMARC) []filters.Finding {
	symbol, _ := symbolOf(v)
	found := []filters.Finding{}
	if v.Result == "fail" {
		if sealer := vouched(tx.AllFindings(), v.Domain); sealer != "" {
			symbol = "DMARC_OVERRIDE_ARC"
			v.Override = filters.DMARCOverride{Type: "local_policy", Comment: "arc=pass; dmarc=pass by " + sealer}
			v.Why += ", but passed at " + sealer
		} else if h := tx.Message.Header(); h.Count("List-Id") > 0 && (h.Count("List-Post") > 0 || h.Count("List-Unsubscribe") > 0) {
			found = append(found, filters.Finding{Symbol: "DMARC_MAILING_LIST", Evidence: filters.Printable(h.Get("List-Id"))})
		}
	}
	return append([]filters.Finding{{Symbol: symbol, Evidence: filters.Printable(evidence(v)), Value: v}}, found...)
}

// maxAuthors is how many author domains of a message are judged; more than one is rare, more than this never honest.
const maxAuthors = 5

// authors are the domains that a reader may see: those of all From fields. RFC 9989 section 5.3.1 leaves mail with
// several to us; each is judged and the worst outcome holds. doubt says why a reader may see yet another one.
func authors(h *mail.Header) (domains []string, doubt string) {
	fields := h.All("From")
	switch {
	case len(fields) > 1:
		doubt = fmt.Sprintf("%d From fields", len(fields))
	case h.Has(mail.DefectFirstLineFolded) || h.Has(mail.DefectFoldedName):
		doubt = "a field cut by folding may be another From"
	case h.Has(mail.DefectTooManyFields) || h.Has(mail.DefectTooLong):
		doubt = "the header is too large to find every From"
	}
	for _, field := range fields {
		boxes, group, err := mail.ParseFrom(field.Value())
		if err != nil {
			doubt = "a From that can't be read"
			continue // the filter headers says so
		}
		if group {
			doubt = "a group in From"
		}
		if field.ValueAt != len(field.Name)+1 {
			doubt = "white space before the colon of From"
		}
		for _, b := range boxes {
			d := b.Address.ASCIIDomain()
			switch {
			case d == "" || strings.HasPrefix(d, "["):
				doubt = "an address without a domain name in From"
			case slices.Contains(domains, d):
			case len(domains) == maxAuthors:
				doubt = "too many domains in From"
			default:
				domains = append(domains, d)
			}
		}
	}
	return domains, doubt
}

// judge applies DMARC to one author domain: RFC 9989 section 5.3.
func (s *search) judge(ctx context.Context, findings []mail.Finding, domain string) filters.DMARC {
	v := filters.DMARC{Result: "none", Domain: domain, Org: domain, Method: "treewalk"}
	if s.psl {
		v.Method = "psl"
	}
	found, err := s.policy(ctx, domain)
	switch {
	case err != nil:
		v.Result, v.Why = "temperror", "no answer from DNS for the policy"
		return v
	case found == nil:
		v.Why = "no record"
		return v
	}
	r := found.record
	v.PolicyDomain, v.Record, v.Published, v.Tags, v.Rua = found.domain, r.text, r.policy, r.tags(), r.rua
	// RFC 9989 section 4.10.1: no valid p= and nobody who would hear of it
	if r.unusable {
		v.Published, v.Result, v.Why = "", "permerror", "p= is none of none, quarantine, reject, and nobody wants a report"
		return v
	}
	sub, exists := found.domain != domain, true
	if sub && r.missing != "" {
		// RFC 9989 section 3.2: a domain does not exist if DNS says NXDOMAIN (RFC 8020)
		if exists, err = s.dns.Exists(ctx, domain); err != nil {
			v.Result, v.Why = "temperror", "no answer from DNS for the domain"
			return v
		}
	}
	v.Policy = r.applies(sub, exists)
	unsure := s.align(ctx, findings, r, &v)
	if org := s.orgs[domain]; org != "" {
		v.Org = org
	}
	switch {
	case len(v.Aligned) > 0:
		v.Result = "pass"
	// RFC 9989 section 5.3.6: a temporary error decides nothing
	case unsure:
		v.Result, v.Why = "temperror", "SPF, DKIM or alignment had no answer from DNS"
	default:
		v.Result, v.Why = "fail", "neither SPF nor DKIM passes for "+domain
	}
	return v
}

// align collects what passed and stands for the author domain. It says whether something that gave no answer might have.
func (s *search) align(ctx context.Context, findings []mail.Finding, r record, v *filters.DMARC) (unsure bool) {
	check := func(method, result, domain string, strict bool) {
		if result != "pass" && result != "temperror" || domain == "" {
			return
		}
		domain = strings.ToLower(domain)
		ok, err := s.aligned(ctx, domain, v.Domain, strict)
		switch {
		case err != nil || ok && result == "temperror":
			unsure = true
		case ok && !slices.Contains(v.Aligned, method+":"+domain):
			v.Aligned = append(v.Aligned, method+":"+domain)
		}
	}
	for _, finding := range findings {
		switch value := finding.Value.(type) {
		case filters.SPF:
			check("spf", value.Result, value.Domain, r.strictSPF)
		case filters.DKIM:
			for _, sig := range value {
				check("dkim", sig.Result, sig.Domain, r.strictDKIM)
			}
		}
	}
	return unsure
}

// symbolOf names a result and ranks it: the higher, the worse.
func symbolOf(v filters.DMARC) (string, int) {
	switch v.Result {
	case "pass":
		return "DMARC_POLICY_ALLOW", 0
	case "none":
		return "DMARC_NA", 1
	case "permerror":
		return "DMARC_BAD_POLICY", 2
	case "temperror":
		return "DMARC_DNSFAIL", 4
	}
	switch v.Policy {
	case "reject":
		return "DMARC_POLICY_REJECT", 6
	case "quarantine":
		return "DMARC_POLICY_QUARANTINE", 5
	}
	return "DMARC_POLICY_SOFTFAIL", 3
}

func evidence(v filters.DMARC) string {
	if v.Result == "pass" {
		return v.Domain + " by " + strings.Join(v.Aligned, ", ")
	}
	return v.Domain + ": " + v.Why
}
