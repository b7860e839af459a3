// Package reputation keeps the record of addresses, networks, autonomous systems, authenticated domains and domains of
// links, and reports the reputation of later senders. It learns from our own verdicts alone.
package reputation

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mimeview"
	"postern/internal/state"
)

// Settings are the filter's settings.
type Settings struct {
	// HalfLife is the time after which what was seen counts half.
	HalfLife config.Duration `toml:"half_life"`
	// Least is how many messages there must have been before they make a name.
	Least float64 `toml:"least"`
	// Links switches the reputation of the domains of links on.
	Links bool `toml:"links"`
}

func defaults() Settings {
	return Settings{HalfLife: config.Duration(7 * 24 * time.Hour), Least: 10, Links: true}
}

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:     "reputation",
	Help:     "Remembers whose mail was good and whose was bad: addresses, networks, proven domains, domains of links.",
	Stages:   mail.StageConnect | mail.StageMessage,
	Inline:   true,
	After:    []string{"spf", "dkim", "arc", "dmarc"},
	Symbols:  symbols(),
	Settings: func() any { s := defaults(); return &s },
	New:      newFilter,
}

func symbols() []filters.Symbol {
	return []filters.Symbol{
		{Name: ipSpam, Score: 1.5, Help: "Most mail from this address or its network was spam"},
		{Name: ipHam, Score: -0.5, Help: "Most mail from this address or its network was good"},
		{Name: asnSpam, Score: 1, Help: "Most mail from this autonomous system was spam"},
		{Name: asnHam, Score: -0.5, Help: "Most mail from this autonomous system was good"},
		{Name: spfSpam, Score: 1.5, Help: "Most mail of this domain, proven by SPF, was spam"},
		{Name: spfHam, Score: -0.5, Help: "Most mail of this domain, proven by SPF, was good"},
		{Name: dkimSpam, Score: 1.5, Help: "Most mail that this domain signed was spam"},
		{Name: dkimHam, Score: -1, Help: "Most mail that this domain signed was good"},
		{Name: urlSpam, Score: 2, Help: "Most mail with links to this domain was spam"},
		{Name: urlHam, Score: -0.2, Help: "Mail with links to all of these domains was good"},
	}
}

// Rspamd's names.
const (
	ipSpam   = "IP_REPUTATION_SPAM"
	ipHam    = "IP_REPUTATION_HAM"
	asnSpam  = "ASN_REPUTATION_SPAM"
	asnHam   = "ASN_REPUTATION_HAM"
	spfSpam  = "SPF_REPUTATION_SPAM"
	spfHam   = "SPF_REPUTATION_HAM"
	dkimSpam = "DKIM_REPUTATION_SPAM"
	dkimHam  = "DKIM_REPUTATION_HAM"
	urlSpam  = "URL_REPUTATION_SPAM"
	urlHam   = "URL_REPUTATION_HAM"
)

// The sorts of names, parts of their keys.
const (
	sortClient  = "a"
	sortNetwork = "n"
	sortASN     = "s"
	sortSPF     = "spf"
	sortDKIM    = "dkim"
	sortURL     = "url"
)

// maxDomains bounds how many domains of one sort count in a message.
const maxDomains = 20

type filter struct {
	env      filters.Env
	settings Settings
	half     time.Duration
	scores   map[string]float64
}

func newFilter(section config.Section, env filters.Env) (filters.Filter, error) {
	s := defaults()
	if err := section.Decode(&s); err != nil {
		return nil, err
	}
	if s.HalfLife.Std() < time.Hour || !(s.Least >= 1) {
		return nil, fmt.Errorf("[filters.reputation]: half_life must be 1h or more, least 1 or more")
	}
	f := &filter{env: env, settings: s, half: s.HalfLife.Std(), scores: map[string]float64{}}
	for _, symbol := range symbols() {
		f.scores[symbol.Name] = symbol.Score
	}
	return f, nil
}

func key(sort, name string) string { return state.Key("rep", sort, name) }

// name is the value of a finding: how sure a name is, from 0 to 1.
type name float64

// Weight implements policy.Weighted.
func (n name) Weight() float64 { return float64(n) }

// Known reports whether an address has a good reputation: the listener then admits it when connections are scarce.
func Known(s *state.State, client netip.Addr) bool {
	return filters.GoodClient(context.Background(), s, client)
}

// faint is the weight below which a reputation is not reported.
const faint = 0.2

// Between these shares of bad mail a name says nothing: the great mailbox providers send good and bad mail from the same
// addresses, and neither must lean on the other.
const (
	goodBelow = 0.1
	badAbove  = 0.6
)

// standing is what a tally says: from -1, all good, to 1, all bad. It grows with the number of messages, so that a few
// never weigh all, and is 0 for fewer than the least number and for a mixed name.
func (f *filter) standing(t state.Tally) float64 {
	n := t[0] + t[1]
	if n < f.settings.Least {
		return 0
	}
	sure := n / (n + f.settings.Least)
	switch bad := t[0] / n; {
	case bad < goodBelow:
		return -sure * (1 - bad/goodBelow)
	case bad > badAbove:
		return sure * (bad - badAbove) / (1 - badAbove)
	}
	return 0
}

func (f *filter) look(ctx context.Context, sort, who string) (float64, state.Tally) {
	if who == "" {
		return 0, state.Tally{}
	}
	t := f.env.State.Tally(ctx, key(sort, who), state.Tally{}, f.half)
	return f.standing(t), t
}

// Inspect implements filters.Filter.
func (f *filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	if tx.Session.Outbound() {
		return nil, nil
	}
	if tx.Stage == mail.StageConnect {
		return f.client(ctx, tx.Session.Client), nil
	}
	spf, dkim := filters.ProvenDomains(tx)
	found := f.worst(ctx, nil, sortSPF, spf, spfSpam, spfHam)
	found = f.worst(ctx, found, sortDKIM, dkim, dkimSpam, dkimHam)
	if f.settings.Links {
		found = f.worst(ctx, found, sortURL, f.strange(linked(tx.Message)), urlSpam, urlHam)
	}
	return found, nil
}

// client reports on the address; where too little is known of it, on its network, at half the weight.
func (f *filter) client(ctx context.Context, a netip.Addr) []filters.Finding {
	if !filters.Public(a) {
		return nil
	}
	who := filters.ClientKey(a)
	s, t := f.look(ctx, sortClient, who)
	if t[0]+t[1] < f.settings.Least {
		who = filters.NetworkKey(a)
		s, t = f.look(ctx, sortNetwork, who)
		s /= 2
	}
	found := report(nil, s, t, who, ipSpam, ipHam)
	if who = f.system(a); who != "" {
		s, t = f.look(ctx, sortASN, who)
		found = report(found, s, t, who, asnSpam, asnHam)
	}
	return found
}

func (f *filter) system(a netip.Addr) string {
	if f.env.ASN == nil {
		return ""
	}
	if number, _ := f.env.ASN(a); number != 0 {
		return "AS" + strconv.FormatUint(uint64(number), 10)
	}
	return ""
}

// worst reports on the domain with the worst name; good only if all have a good one.
func (f *filter) worst(ctx context.Context, found []filters.Finding, sort string, domains []string, spam, ham string) []filters.Finding {
	domains = distinct(domains, sort != sortURL)
	if len(domains) == 0 {
		return found
	}
	var standing float64
	var tally state.Tally
	who := ""
	for _, d := range domains {
		if s, t := f.look(ctx, sort, d); who == "" || s > standing {
			standing, tally, who = s, t, d
		}
	}
	return report(found, standing, tally, who, spam, ham)
}

func report(found []filters.Finding, standing float64, t state.Tally, who, spam, ham string) []filters.Finding {
	symbol := spam
	if standing < 0 {
		symbol, standing = ham, -standing
	}
	if standing < faint {
		return found
	}
	evidence := filters.Printable(fmt.Sprintf("%s: %.0f bad, %.0f good", who[:min(len(who), 100)], t[0], t[1]))
	return append(found, filters.Finding{Symbol: symbol, Evidence: evidence, Value: name(standing)})
}

// distinct gives each domain once, in order, a bounded number of them.
func distinct(domains []string, normalise bool) []string {
	var all []string
next:
	for _, d := range domains {
		if normalise {
			d = mail.ASCIIDomain(d)
		}
		if d == "" || len(all) >= maxDomains {
			continue
		}
		for _, known := range all {
			if known == d {
				continue next
			}
		}
		all = append(all, d)
	}
	return all
}

// strange leaves out our own domains: spam quotes our pages too.
func (f *filter) strange(domains []string) []string {
	var all []string
	for _, d := range domains {
		if f.env.Local == nil || !f.env.Local(d) {
			all = append(all, d)
		}
	}
	return all
}

// links is the key under which a message keeps the domains of its links.
type links struct{}

// linked are the registered domains of the links in a message: an owner controls all names below one.
func linked(m *mail.Message) []string {
	return m.Derive(links{}, func() any {
		var all []string
		for _, u := range mimeview.Of(m).URLs() {
			if h := host(u); h != "" {
				all = append(all, filters.RegisteredDomain(h))
			}
			if len(all) >= 10*maxDomains {
				break
			}
		}
		return distinct(all, false)
	}).([]string)
}
