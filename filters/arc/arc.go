// Package arc validates the Authenticated Received Chain of a message: RFC 8617. Anybody can make a chain that passes,
// so a pass says only that those who sealed it said so; what they say counts where the admin trusts them.
package arc

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
	// TrustedSealers are the domains (d=) whose word on what they saw is taken: forwarders and list servers.
	TrustedSealers []string `toml:"trusted_sealers"`
	// MaxLookups is how many different keys of one chain are looked up.
	MaxLookups int `toml:"max_lookups"`
}

func defaults() Settings { return Settings{TrustedSealers: []string{}, MaxLookups: 50} }

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:    "arc",
	Help:    "Validates the Authenticated Received Chain of forwarded mail (RFC 8617).",
	Stages:  mail.StageMessage,
	Timeout: budget + 2*time.Second,
	Symbols: []filters.Symbol{
		{Name: "ARC_ALLOW", Score: 0, Help: "ARC: the chain is good. Anybody can make one"},
		{Name: "ARC_REJECT", Score: 0, Help: "ARC: a signature of the chain does not fit the message"},
		{Name: "ARC_INVALID", Score: 0, Help: "ARC: the chain is not whole, or broken before"},
		{Name: "ARC_NA", Score: 0, Help: "ARC: the message has no chain"},
		{Name: "ARC_DNSFAIL", Score: 0, Help: "ARC: DNS gave no key"},
		{Name: "ARC_LIMIT", Score: 2, Help: "ARC: a chain of more sets or keys than are looked at"},
		{Name: "ARC_TRUSTED", Score: 0, Help: "ARC: the chain is good and a sealer that you trust says what it saw"},
	},
	Settings: func() any { s := defaults(); return &s },
	New: func(section config.Section, env filters.Env) (filters.Filter, error) {
		s := defaults()
		if err := section.Decode(&s); err != nil {
			return nil, err
		}
		if s.MaxLookups < 1 || s.MaxLookups > 100 {
			return nil, fmt.Errorf("[filters.arc]: max_lookups = %d: set it from 1 to 100", s.MaxLookups)
		}
		for i, domain := range s.TrustedSealers {
			if s.TrustedSealers[i] = mail.ASCIIDomain(domain); !mail.ValidDomain(s.TrustedSealers[i]) {
				return nil, fmt.Errorf("[filters.arc]: trusted_sealers: %q is not a domain", domain)
			}
		}
		return filter{Validator{DNS: env.DNS, Now: env.Now, MaxLookups: s.MaxLookups}, s.TrustedSealers}, nil
	},
}

// budget is how long the keys of a chain may take.
const budget = 12 * time.Second

type filter struct {
	validator Validator
	trusted   []string
}

func (f filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	if tx.Session.Outbound() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	o, err := f.validator.Validate(ctx, tx.Message)
	if err != nil {
		return nil, err
	}
	f.trust(&o)
	found := []filters.Finding{{Symbol: symbol(o), Evidence: filters.Printable(evidence(o)), Value: o.ARC}}
	if o.Limit {
		found = append(found, filters.Finding{Symbol: "ARC_LIMIT", Evidence: filters.Printable(o.Why)})
	}
	if o.Trusted != "" {
		found = append(found, filters.Finding{Symbol: "ARC_TRUSTED", Evidence: filters.Printable(vouched(o))})
	}
	return found, nil
}

// trust finds the oldest set that trusted sealers alone stand above: whoever sealed later could have changed what an
// earlier one saw, and vouches for it by sealing.
func (f filter) trust(o *Outcome) {
	if n := len(o.Chain); o.Temporary && n > 0 && o.Chain[n-1].Seal != nil {
		o.Unsure = slices.Contains(f.trusted, o.Chain[n-1].Seal.Domain)
	}
	if o.Result != mail.AuthPass {
		return
	}
	for i := len(o.Chain) - 1; i >= 0 && slices.Contains(f.trusted, o.Chain[i].Seal.Domain); i-- {
		_, results, err := mail.ParseAuthResults(o.Chain[i].Results)
		if err != nil {
			return
		}
		o.Trusted, o.Vouched = o.Chain[i].Seal.Domain, results
	}
}

func symbol(o Outcome) string {
	switch {
	case o.Result == mail.AuthPass:
		return "ARC_ALLOW"
	case o.Result == mail.AuthNone:
		return "ARC_NA"
	case o.Temporary:
		return "ARC_DNSFAIL"
	case o.Malformed:
		return "ARC_INVALID"
	}
	return "ARC_REJECT"
}

func evidence(o Outcome) string {
	switch o.Result {
	case mail.AuthPass:
		return fmt.Sprintf("%s, oldest-pass=%d", strings.Join(o.Sealers, ", "), o.OldestPass)
	case mail.AuthNone:
		return ""
	default: // the chain failed
		return o.Why
	}
}

func vouched(o Outcome) string {
	words := []string{o.Trusted + ":"}
	for _, r := range o.Vouched {
		words = append(words, string(r.Method)+"="+string(r.Result))
	}
	return strings.Join(words, " ")
}
