// Package ratelimit counts connections, messages and recipients by client, network, sender, recipient and user, and
// reports who is over a limit.
package ratelimit

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/state"
)

// Limit is one limit.
type Limit struct {
	// Key says what is counted: "client", "network" (/24, /56), "sender", "recipient", "user" or several with a "+"
	// between.
	Key string `toml:"key"`
	// Count says at which step: "connections", "messages" or "recipients".
	Count string `toml:"count"`
	// Rate is as in "100/1h", Burst how many may come at once; 0 is all of the rate.
	Rate  string `toml:"rate"`
	Burst int    `toml:"burst"`
	// Outbound limits are for our own users and networks, the others for strangers.
	Outbound bool `toml:"outbound"`
}

// Settings are the filter's settings.
type Settings struct {
	Limits []Limit `toml:"limits"`
	// MaxKeys bounds what is remembered.
	MaxKeys int `toml:"max_keys"`
}

// defaults never meet honest mail of low volume: a large sender spreads over many addresses, and each of these limits
// is far above what one of them sends to one company.
func defaults() Settings {
	return Settings{MaxKeys: 500_000, Limits: []Limit{
		{Key: "client", Count: "connections", Rate: "6000/10m"},
		{Key: "network", Count: "connections", Rate: "30000/10m"},
		{Key: "client", Count: "messages", Rate: "20000/1h"},
		{Key: "client", Count: "recipients", Rate: "50000/1h"},
		{Key: "client+sender+recipient", Count: "recipients", Rate: "10000/1h"},
		{Key: "user", Count: "recipients", Rate: "2000/1h", Burst: 1000, Outbound: true},
		{Key: "client", Count: "recipients", Rate: "100000/1h", Outbound: true},
	}}
}

const symbol = "RATELIMIT"

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:   "ratelimit",
	Help:   "Limits how much one client, network, sender or user may send.",
	Stages: mail.StageConnect | mail.StageMail | mail.StageRcpt,
	Symbols: []filters.Symbol{
		{Name: symbol, Score: 0, Action: "defer", Help: "More came than the limits allow",
			Reply: "You are sending more than we take at once, please try again later"},
	},
	Settings: func() any { s := defaults(); return &s },
	New:      newFilter,
}

type filter struct {
	limits []limit
	rates  state.Limiter
	env    filters.Env
}

type limit struct {
	name     string
	keys     []string
	stage    mail.Stage
	rate     state.Rate
	outbound bool
}

func newFilter(section config.Section, env filters.Env) (filters.Filter, error) {
	s := defaults()
	if err := section.Decode(&s); err != nil {
		return nil, err
	}
	f := filter{env: env, rates: state.NewRates(s.MaxKeys)}
	for i, l := range s.Limits {
		read, err := l.read()
		if err != nil {
			return nil, fmt.Errorf("[filters.ratelimit]: limit %d: %w", i+1, err)
		}
		f.limits = append(f.limits, read)
	}
	return f, nil
}

func (l Limit) read() (limit, error) {
	rate, err := state.ParseRate(l.Rate)
	if err != nil {
		return limit{}, err
	}
	if l.Burst < 0 {
		return limit{}, fmt.Errorf("burst = %d: set it to 0 or more", l.Burst)
	}
	if l.Burst > 0 {
		rate.Burst = l.Burst
	}
	out := limit{name: l.Key + " " + l.Count + " " + l.Rate, keys: strings.Split(l.Key, "+"), rate: rate, outbound: l.Outbound}
	switch l.Count {
	case "connections":
		out.stage = mail.StageConnect
	case "messages":
		out.stage = mail.StageMail
	case "recipients":
		out.stage = mail.StageRcpt
	default:
		return limit{}, fmt.Errorf("count = %q: set it to \"connections\", \"messages\" or \"recipients\"", l.Count)
	}
	for _, k := range out.keys {
		earliest, ok := knownAt(k)
		if !ok {
			return limit{}, fmt.Errorf("key = %q: set it to client, network, sender, recipient or user, or several with a + between", l.Key)
		}
		if out.stage < earliest {
			return limit{}, fmt.Errorf("key = %q is not known yet when %s are counted", l.Key, l.Count)
		}
	}
	return out, nil
}

// knownAt says from which stage on a key has a value.
func knownAt(key string) (mail.Stage, bool) {
	switch key {
	case "client", "network":
		return mail.StageConnect, true
	case "sender", "user":
		return mail.StageMail, true
	case "recipient":
		return mail.StageRcpt, true
	}
	return 0, false
}

func (f filter) Inspect(_ context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	// A login comes after the connection is counted: only trusted networks are outbound from the start.
	outbound := tx.Session.Outbound()
	var found []filters.Finding
	for i, l := range f.limits {
		if l.stage != tx.Stage || l.outbound != outbound {
			continue
		}
		key, ok := keyOf(l.keys, tx)
		if !ok {
			continue
		}
		ok, retry := f.rates.Allow(fmt.Sprintf("%d %s", i, key), l.rate, f.env.Now())
		if !ok && len(found) == 0 {
			found = []filters.Finding{{Symbol: symbol, Evidence: filters.Printable(fmt.Sprintf("%s: %s, in %s", l.name, key, retry.Round(1e9)))}}
		}
	}
	return found, nil
}

// keyOf makes the key of a transaction; not ok if a part of it has no value.
func keyOf(keys []string, tx *mail.Transaction) (string, bool) {
	var parts []string
	for _, k := range keys {
		part := ""
		switch k {
		case "client":
			part = clientKey(tx.Session.Client.Unmap())
		case "network":
			part = network(tx.Session.Client.Unmap(), 24, 56)
		case "sender":
			part = tx.From.Key()
		case "recipient":
			if n := len(tx.Recipients); n > 0 {
				part = tx.Recipients[n-1].Address.Key()
			}
		case "user":
			part = strings.ToLower(tx.Session.User)
		}
		if part == "" {
			return "", false
		}
		if len(part) > 320 {
			part = part[:320]
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " "), true
}

// clientKey is the address, of IPv6 its /64: RFC 4291 section 2.5.4 gives each host that many addresses.
func clientKey(ip netip.Addr) string {
	if ip.Is6() {
		return network(ip, 32, 64)
	}
	if !ip.IsValid() {
		return ""
	}
	return ip.String()
}

func network(ip netip.Addr, four, six int) string {
	bits := four
	if ip.Is6() {
		bits = six
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}
