// Package spf asks whether the client may send for the domain of the reverse-path, or of HELO where that is null:
// RFC 7208. It starts at MAIL FROM and is awaited when the message is judged.
package spf

import (
	"context"
	"net"
	"strings"
	"time"

	spflib "blitiri.com.ar/go/spf"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/mail"
)

// Settings are the filter's settings.
type Settings struct {
	// MaxLookups and MaxVoidLookups are the limits of RFC 7208 section 4.6.4; more than 10 breaks it.
	MaxLookups     uint `toml:"max_lookups"`
	MaxVoidLookups uint `toml:"max_void_lookups"`
}

func defaults() Settings { return Settings{MaxLookups: 10, MaxVoidLookups: 2} }

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:       "spf",
	Help:       "Asks whether the client may send for the domain of the envelope sender (RFC 7208).",
	Stages:     mail.StageMail,
	Background: true,
	// RFC 7208 section 4.6.4: at least 20 seconds
	Timeout: 22 * time.Second,
	Symbols: []filters.Symbol{
		{Name: "R_SPF_ALLOW", Score: -0.2, Help: "SPF: the client may send for this domain"},
		{Name: "R_SPF_FAIL", Score: 3, Help: "SPF: the domain says that this client may not send for it"},
		{Name: "R_SPF_SOFTFAIL", Score: 1, Help: "SPF: the domain says that this client should not send for it"},
		{Name: "R_SPF_NEUTRAL", Score: 0, Help: "SPF: the domain says nothing about this client"},
		{Name: "R_SPF_NA", Score: 0, Help: "SPF: the domain has no SPF record"},
		{Name: "R_SPF_DNSFAIL", Score: 0, Help: "SPF: DNS gave no answer"},
		{Name: "R_SPF_PERMFAIL", Score: 0.5, Help: "SPF: the domain's record can't be read"},
	},
	Settings: func() any { s := defaults(); return &s },
	New: func(section config.Section, env filters.Env) (filters.Filter, error) {
		s := defaults()
		if err := section.Decode(&s); err != nil {
			return nil, err
		}
		return filter{env, s}, nil
	},
}

type filter struct {
	env      filters.Env
	settings Settings
}

func (f filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	if tx.Session.Outbound() || !tx.Session.Client.IsValid() {
		return nil, nil
	}
	v := f.check(ctx, tx)
	return []filters.Finding{{Symbol: symbol(v.Result), Evidence: filters.Printable(evidence(v)), Value: v}}, nil
}

func (f filter) check(ctx context.Context, tx *mail.Transaction) filters.SPF {
	v := filters.SPF{Result: "none", Domain: tx.From.ASCIIDomain(), Client: tx.Session.Client.Unmap()}
	local := tx.From.Local
	// RFC 7208 section 2.4: with a null reverse-path the identity is postmaster at the HELO name
	if tx.From.IsNull() || v.Domain == "" {
		local, v.Domain, v.Helo = "postmaster", mail.ASCIIDomain(tx.Session.Helo), true
	}
	v.Sender = local + "@" + v.Domain
	// RFC 7208 section 4.3: what is no multi-label domain name has the result none
	if !mail.ValidDomain(v.Domain) || !strings.Contains(v.Domain, ".") {
		v.Why = "no domain to check"
		return v
	}
	// The library cuts at the first @, and a quoted local part may hold some. It only feeds the macros s, l and o.
	sender := strings.ReplaceAll(local, "@", "_") + "@" + v.Domain
	result, why := spflib.CheckHostWithSender(v.Client.AsSlice(), tx.Session.Helo, sender,
		spflib.WithContext(ctx), spflib.WithResolver(family{f.env.DNS, v.Client.Is6()}),
		spflib.OverrideLookupLimit(f.settings.MaxLookups), spflib.OverrideVoidLookupLimit(f.settings.MaxVoidLookups))
	v.Result = string(result)
	if why != nil {
		v.Why = why.Error()
	}
	return v
}

// family asks for AAAA records only when the client has an IPv6 address: RFC 7208 section 5. The A records are always
// needed, "exists" looks at nothing else (section 5.7).
type family struct {
	*dns.Resolver
	six bool
}

func (r family) LookupIPAddr(ctx context.Context, name string) ([]net.IPAddr, error) {
	if r.six {
		return r.Resolver.LookupIPAddr(ctx, name)
	}
	ips, err := r.LookupA(ctx, name)
	var all []net.IPAddr
	for _, ip := range ips {
		all = append(all, net.IPAddr{IP: ip.AsSlice()})
	}
	return all, err
}

func symbol(result string) string {
	switch result {
	case "pass":
		return "R_SPF_ALLOW"
	case "fail":
		return "R_SPF_FAIL"
	case "softfail":
		return "R_SPF_SOFTFAIL"
	case "neutral":
		return "R_SPF_NEUTRAL"
	case "temperror":
		return "R_SPF_DNSFAIL"
	case "permerror":
		return "R_SPF_PERMFAIL"
	}
	return "R_SPF_NA"
}

func evidence(v filters.SPF) string {
	text := v.Domain
	if v.Helo {
		text += " (HELO)"
	}
	if v.Result != "pass" && v.Why != "" {
		text += ": " + v.Why
	}
	return text
}
