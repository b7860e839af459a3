// Package dmarc asks whether what SPF and DKIM found stands for the domain that a reader sees in From, and what that
// domain wants done if it does not: RFC 9989.
package dmarc

import (
	"context"
	"errors"
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
	After:   []string{"spf", "dkim"},
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

// maxAuthors is how many author domains of a message are judged; more than one is rare, more than this never honest.
const maxAuthors = 5

type filter struct {
	env      filters.Env
	settings Settings
}

func (f filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	if tx.Session.Outbound() {
		return nil, nil
	}
	var worst filters.Finding
	rank := -1
	for _, domain := range authors(tx.Message.Header()) {
		v := f.judge(ctx, tx, domain)
		symbol, r := symbolOf(v)
		if r > rank {
			rank = r
			worst = filters.Finding{Symbol: symbol, Evidence: filters.Printable(evidence(v)), Value: v}
		}
	}
	if rank < 0 {
		v := filters.DMARC{Result: "none", Why: "no domain in From"}
		worst = filters.Finding{Symbol: "DMARC_NA", Evidence: v.Why, Value: v}
	}
	return []filters.Finding{worst}, nil
}

// authors are the domains that a reader may see: those of all From fields. RFC 9989 section 5.3.1 leaves mail with
// several to us; each is judged and the worst outcome holds.
func authors(h *mail.Header) []string {
	var domains []string
	for _, field := range h.All("From") {
		boxes, _, err := mail.ParseFrom(field.Value())
		if err != nil {
			continue // the filter headers says so
		}
		for _, b := range boxes {
			d := b.Address.ASCIIDomain()
			if d != "" && !strings.HasPrefix(d, "[") && !slices.Contains(domains, d) && len(domains) < maxAuthors {
				domains = append(domains, d)
			}
		}
	}
	return domains
}

func (f filter) judge(ctx context.Context, tx *mail.Transaction, domain string) filters.DMARC {
	v := filters.DMARC{Result: "none", Domain: domain, Org: domain}
	found, org, err := f.discover(ctx, domain)
	switch {
	case errors.Is(err, errBadPolicy):
		v.Result, v.Why = "permerror", err.Error()
		return v
	case err != nil:
		v.Result, v.Why = "temperror", "no answer from DNS for the policy"
		return v
	case found == nil:
		v.Why = "no record"
		return v
	}
	v.Org, v.PolicyDomain, v.Record, v.Published, v.Rua = org, found.domain, found.record.text, found.record.policy, found.record.rua
	sub, exists := found.domain != domain, true
	if sub && found.record.missing != "" {
		if exists, err = f.env.DNS.Exists(ctx, domain); err != nil {
			v.Result, v.Why = "temperror", "no answer from DNS for the domain"
			return v
		}
	}
	v.Policy = found.record.applies(sub, exists)
	unsure := f.align(ctx, tx, found.record, &v)
	switch {
	case len(v.Aligned) > 0:
		v.Result = "pass"
	case unsure:
		v.Result, v.Why = "temperror", "SPF, DKIM or alignment had no answer from DNS"
	default:
		v.Result, v.Why = "fail", "neither SPF nor DKIM passes for "+domain
	}
	return v
}

// align collects what passed and stands for the author domain. It says whether something that gave no answer might have.
func (f filter) align(ctx context.Context, tx *mail.Transaction, r record, v *filters.DMARC) (unsure bool) {
	check := func(method, result, domain string, strict bool) {
		if result != "pass" && result != "temperror" || domain == "" {
			return
		}
		ok, err := f.aligned(ctx, domain, v.Domain, v.Org, strict)
		switch {
		case err != nil || ok && result == "temperror":
			unsure = true
		case ok:
			v.Aligned = append(v.Aligned, method+":"+domain)
		}
	}
	for _, finding := range tx.AllFindings() {
		switch value := finding.Value.(type) {
		case filters.SPF:
			check("spf", value.Result, value.Domain, r.strictSPF)
		case filters.DKIM:
			for _, s := range value {
				check("dkim", s.Result, s.Domain, r.strictDKIM)
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
