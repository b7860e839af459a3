// Package origin looks at where mail comes from: at default domains of hosting platforms, at domains that never wrote before,
// at envelope, author and Message-ID that fit no known way of sending together.
package origin

import (
	"context"
	_ "embed" // for the table
	"fmt"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/state"
)

//go:embed platforms.txt
var platforms string

// Settings are the filter's settings.
type Settings struct {
	// Platforms are default domains of platforms besides the shipped ones: ".pages.example". A name with "!" in front is taken
	// out, such as "!.onmicrosoft.com".
	Platforms []string `toml:"platforms"`
	// Keep is how long a domain is remembered after its last mail. Learning is how long after the first mail nothing is said
	// of new domains: on the first day all are.
	Keep     config.Duration `toml:"keep"`
	Learning config.Duration `toml:"learning"`
}

func defaults() Settings {
	const day = config.Duration(24 * time.Hour)

	return Settings{Keep: 120 * day, Learning: 14 * day}
}

// The symbols.
const (
	fromPlatform   = "FROM_PLATFORM"
	fromNewDomain  = "FROM_NEW_DOMAIN"
	originDisagree = "ORIGIN_DISAGREES"
	freemailFrom   = "FREEMAIL_FROM"
)

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:   "origin",
	Help:   "Looks at where mail comes from: default domains of hosting platforms, domains that never wrote before, senders that fit no way of sending together.",
	Stages: mail.StageMessage,
	Inline: true,
	After:  []string{"spf", "dkim", "arc", "dmarc"},
	Symbols: []filters.Symbol{
		{Name: fromPlatform, Score: 0.7, Help: "The sender is the default domain of a hosting or cloud platform"},
		{Name: fromNewDomain, Score: 0.2, Help: "No mail of this domain was seen here before"},
		{Name: originDisagree, Score: 0.5, Help: "Envelope, author and Message-ID name three organisations, and none of them is proven to be the author's"},
		{Name: freemailFrom, Score: 0, Help: "The author writes from a free mail service"},
	},
	Settings: func() any { s := defaults(); return &s },
	New:      newFilter,
}

type filter struct {
	env       filters.Env
	settings  Settings
	platforms map[string]bool
}

func newFilter(section config.Section, env filters.Env) (filters.Filter, error) {
	s := defaults()
	if err := section.Decode(&s); err != nil {
		return nil, err
	}
	if env.Local == nil {
		env.Local = func(string) bool { return false }
	}
	if env.Now == nil {
		env.Now = time.Now
	}
	f := filter{env: env, settings: s, platforms: map[string]bool{}}
	for line := range strings.Lines(platforms) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			f.platforms[line] = true
		}
	}
	for _, p := range s.Platforms {
		name, out := strings.CutPrefix(p, "!")
		if !mail.ValidDomain(strings.TrimPrefix(name, ".")) {
			return nil, fmt.Errorf("[filters.origin]: platforms: %q is no domain", p)
		}
		f.platforms[strings.ToLower(name)] = !out
	}

	return f, nil
}

// Inspect implements filters.Filter.
func (f filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	if tx.Session.Outbound() {
		return nil, nil
	}
	author := filters.Author(tx.Message)
	domain := author.ASCIIDomain()
	if domain == "" || f.env.Local(domain) {
		return nil, nil
	}

	var found []filters.Finding
	add := func(symbol, evidence string) {
		found = append(found, filters.Finding{Symbol: symbol, Evidence: filters.Printable(evidence)})
	}
	if p := f.platform(domain); p != "" {
		add(fromPlatform, author.String()+" is of "+p)
	}
	if filters.IsFreemail(domain) {
		add(freemailFrom, author.String())
	}
	if f.isNew(ctx, domain) {
		add(fromNewDomain, filters.RegisteredDomain(domain))
	}
	if text := disagree(tx, domain); text != "" {
		add(originDisagree, text)
	}

	return found, nil
}

// platform is the platform that a domain is a default name of, "" for none.
func (f filter) platform(domain string) string {
	for name := domain; name != ""; {
		if f.platforms[name] {
			return name
		}
		_, rest, found := strings.Cut(name, ".")
		if !found {
			return ""
		}
		if f.platforms["."+rest] {
			return rest
		}
		name = rest
	}

	return ""
}

// The kinds of what is remembered.
const (
	kindSeen  = "domain-seen"
	kindBegan = "domain-began"
)

// isNew says whether a domain never wrote before, once enough was learned to say that.
func (f filter) isNew(ctx context.Context, domain string) bool {
	began, ok := f.env.State.Get(ctx, state.Key(kindBegan))
	if !ok {
		return false
	}
	since, err := time.Parse(time.RFC3339, string(began))
	if err != nil || f.env.Now().Sub(since) < f.settings.Learning.Std() {
		return false
	}
	_, seen := f.env.State.Get(ctx, state.Key(kindSeen, filters.RegisteredDomain(domain)))

	return !seen
}

// Decided implements filters.MessageLearner: a domain is known once somebody here was let to have its mail.
func (f filter) Decided(ctx context.Context, tx *mail.Transaction, judged []filters.Decision) {
	if tx.Session.Outbound() {
		return
	}
	domain := filters.Author(tx.Message).ASCIIDomain()
	if domain == "" {
		return
	}
	for _, j := range judged {
		if j.Disposition == mail.Accept {
			keep := f.settings.Keep.Std()
			f.env.State.Put(ctx, state.Key(kindSeen, filters.RegisteredDomain(domain)), []byte{1}, keep)
			f.began(ctx)
			return
		}
	}
}

// began keeps since when domains are remembered.
func (f filter) began(ctx context.Context) {
	keep := f.settings.Keep.Std()
	old, stored := f.env.State.PutNew(ctx, state.Key(kindBegan), []byte(f.env.Now().UTC().Format(time.RFC3339)), keep)
	if !stored {
		f.env.State.Put(ctx, state.Key(kindBegan), old, keep)
	}
}

// disagree names the organisations of envelope, author and Message-ID if they are three and the author's is not proven.
// Services that send for others have their own envelope and Message-ID; a forwarder changes the envelope alone.
func disagree(tx *mail.Transaction, from string) string {
	h := tx.Message.Header()
	id := h.Get("Message-ID")
	at := strings.LastIndexByte(id, '@')
	envelope := tx.From.ASCIIDomain()
	if at < 0 || envelope == "" || h.Count("List-Id") > 0 {
		return ""
	}
	made := mail.ASCIIDomain(strings.Trim(id[at+1:], "> \t"))
	if !strings.Contains(made, ".") {
		return ""
	}
	a, b, c := filters.RegisteredDomain(from), filters.RegisteredDomain(envelope), filters.RegisteredDomain(made)
	if a == b || b == c || a == c {
		return ""
	}
	spf, dkim := filters.ProvenDomains(tx)
	for _, d := range append(spf, dkim...) {
		if filters.RegisteredDomain(mail.ASCIIDomain(d)) == a {
			return ""
		}
	}

	return "From " + a + ", envelope " + b + ", Message-ID " + c
}
