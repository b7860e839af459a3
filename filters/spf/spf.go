// Package spf asks whether the client may send for the domain of the reverse-path, and for the name it gave in HELO:
// RFC 7208. It starts at MAIL FROM and is awaited when the message is judged. Behind a relay of ours it waits for the
// message, whose top Received field names the client that relay saw.
package spf

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"postern/filters"
	"postern/filters/spf/checkhost"
	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/mail"
)

// Settings are the filter's settings.
type Settings struct {
	// MaxLookups and MaxVoidLookups are the limits of RFC 7208 section 4.6.4; more than 10 breaks it.
	MaxLookups     uint `toml:"max_lookups"`
	MaxVoidLookups uint `toml:"max_void_lookups"`
	// CheckHelo has the HELO name checked as well: section 2.3.
	CheckHelo bool `toml:"check_helo"`
	// ExternalRelays are hosts that take mail for us and pass it on, such as a filter service or a backup MX: the client
	// is then the one that stands in the Received field they put on top.
	ExternalRelays config.Networks `toml:"external_relays"`
}

func defaults() Settings {
	return Settings{MaxLookups: 10, MaxVoidLookups: 2, CheckHelo: true, ExternalRelays: config.Networks{}}
}

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:       "spf",
	Help:       "Asks whether the client may send for the domain of the envelope sender, and under its HELO name (RFC 7208).",
	Stages:     mail.StageMail | mail.StageMessage,
	Background: true,
	Timeout:    budget + 2*time.Second,
	Symbols: []filters.Symbol{
		{Name: "R_SPF_ALLOW", Score: -0.2, Help: "SPF: the client may send for this domain"},
		{Name: "R_SPF_FAIL", Score: 3, Help: "SPF: the domain says that this client may not send for it"},
		{Name: "R_SPF_SOFTFAIL", Score: 1, Help: "SPF: the domain says that this client should not send for it"},
		{Name: "R_SPF_NEUTRAL", Score: 0, Help: "SPF: the domain says nothing about this client"},
		{Name: "R_SPF_NA", Score: 0, Help: "SPF: the domain has no SPF record"},
		{Name: "R_SPF_DNSFAIL", Score: 0, Help: "SPF: DNS gave no answer"},
		{Name: "R_SPF_PERMFAIL", Score: 0.5, Help: "SPF: the domain's record can't be read"},
		{Name: "SPF_HELO_PASS", Score: 0, Help: "SPF: the client may use the name it gave in HELO"},
		{Name: "SPF_HELO_FAIL", Score: 1, Help: "SPF: the client may not use the name it gave in HELO"},
	},
	Settings: func() any { s := defaults(); return &s },
	New: func(section config.Section, env filters.Env) (filters.Filter, error) {
		s := defaults()
		if err := section.Decode(&s); err != nil {
			return nil, err
		}
		if s.MaxLookups < 1 || s.MaxLookups > 50 || s.MaxVoidLookups > s.MaxLookups {
			return nil, fmt.Errorf("[filters.spf]: max_lookups = %d and max_void_lookups = %d: set them from 1 to 50, the second no higher than the first",
				s.MaxLookups, s.MaxVoidLookups)
		}
		return filter{env, s}, nil
	},
}

// budget is how long one check may take: RFC 7208 section 4.6.4 wants at least 20 seconds.
const budget = 20 * time.Second

type filter struct {
	env      filters.Env
	settings Settings
}

// visitor is who is asked about.
type visitor struct {
	client netip.Addr
	helo   string
	// relay passed the mail on to us, if it did not come from the client itself.
	relay netip.Addr
}

func (f filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	client := tx.Session.Client.Unmap()
	if tx.Session.Outbound() || !client.IsValid() {
		return nil, nil
	}
	relayed := f.settings.ExternalRelays.Contains(client)
	// behind a relay only the message tells who the client was, else all is known at MAIL FROM
	if relayed != (tx.Stage == mail.StageMessage) {
		return nil, nil
	}
	v := visitor{client: client, helo: tx.Session.Helo}
	if relayed {
		var err error
		if v, err = f.before(client, tx.Message.Header().All("Received")); err != nil {
			value := filters.SPF{Result: mail.AuthNone, Domain: tx.From.ASCIIDomain(), Sender: tx.From.String(), Client: client, Relay: client, Why: err.Error()}
			return []filters.Finding{{Symbol: symbol(mail.AuthNone), Evidence: filters.Printable(evidence(value)), Value: value}}, nil
		}
	}
	return f.inspect(ctx, tx.From, v), nil
}

func (f filter) inspect(ctx context.Context, from mail.Address, v visitor) []filters.Finding {
	helo := mail.ASCIIDomain(v.helo)
	domain := from.ASCIIDomain()
	// RFC 7208 section 2.4: with a null reverse-path the identity is postmaster at the HELO name
	if from.IsNull() || domain == "" {
		value := f.check(ctx, v, "postmaster", helo)
		value.Helo = true
		return []filters.Finding{{Symbol: symbol(value.Result), Evidence: filters.Printable(evidence(value)), Value: value}}
	}
	// RFC 7208 section 2.3: the HELO name is an identity of its own, so neither check waits for the other
	var name filters.SPF
	var panicked any
	checked := make(chan struct{})
	go func() {
		defer close(checked)
		defer func() { panicked = recover() }()
		if f.settings.CheckHelo && helo != domain {
			name = f.check(ctx, v, "postmaster", helo)
		}
	}()
	value := f.check(ctx, v, from.Local, domain)
	found := []filters.Finding{{Symbol: symbol(value.Result), Evidence: filters.Printable(evidence(value)), Value: value}}
	<-checked
	if panicked != nil {
		panic(panicked) // the chain makes a finding of it
	}
	name.Helo = true
	// only pass and fail say something of a client
	switch name.Result {
	case mail.AuthPass:
		found = append(found, filters.Finding{Symbol: "SPF_HELO_PASS", Evidence: filters.Printable(name.Domain), Value: filters.SPFHelo{SPF: name}})
	case mail.AuthFail:
		found = append(found, filters.Finding{Symbol: "SPF_HELO_FAIL", Evidence: filters.Printable(evidence(name)), Value: filters.SPFHelo{SPF: name}})
	default: // not asked, or an answer that says nothing of the client
	}
	return found
}

// check has time and look-ups of its own.
func (f filter) check(ctx context.Context, v visitor, local, domain string) filters.SPF {
	ctx, cancel := context.WithTimeout(dns.WithBudget(ctx, dns.Budget{Queries: dns.DefaultQueries, Time: budget}), budget)
	defer cancel()
	a := checkhost.Check(ctx, f.env.DNS, checkhost.Query{
		Client: v.client, Domain: domain, Local: local, Helo: v.helo, Receiver: f.env.Hostname, Now: f.env.Now(),
		Limits: checkhost.Limits{Lookups: int(f.settings.MaxLookups), Voids: int(f.settings.MaxVoidLookups)},
	})
	return filters.SPF{Result: a.Result, Domain: domain, Sender: local + "@" + domain, Client: v.client, Relay: v.relay, Why: a.Why, Explanation: a.Explanation}
}

func symbol(result mail.AuthVerdict) string {
	switch result {
	case mail.AuthPass:
		return "R_SPF_ALLOW"
	case mail.AuthFail:
		return "R_SPF_FAIL"
	case mail.AuthSoftFail:
		return "R_SPF_SOFTFAIL"
	case mail.AuthNeutral:
		return "R_SPF_NEUTRAL"
	case mail.AuthTempError:
		return "R_SPF_DNSFAIL"
	case mail.AuthPermError:
		return "R_SPF_PERMFAIL"
	default: // none: RFC 7208 section 2.6.1; SPF has no policy
		return "R_SPF_NA"
	}
}

func evidence(v filters.SPF) string {
	var b strings.Builder
	b.WriteString(v.Domain)
	if v.Helo {
		b.WriteString(" (HELO)")
	}
	if v.Relay.IsValid() && v.Relay != v.Client {
		fmt.Fprintf(&b, " from %s behind %s", v.Client, v.Relay)
	}
	if v.Result != mail.AuthPass && v.Why != "" {
		b.WriteString(": " + v.Why)
	}
	if v.Explanation != "" {
		fmt.Fprintf(&b, "; the domain says %q", v.Explanation)
	}
	return b.String()
}
