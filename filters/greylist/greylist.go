// Package greylist defers unknown senders (RFC 6647). Spam programs mostly don't retry. An honest sender waits once at
// most: one with an authenticated domain is known by it from then on, from every address.
package greylist

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
	// Mode is "off", "odd": only messages that look odd, once they are here, or "all": all unknown senders, at RCPT.
	Mode string `toml:"mode"`
	// Delay is how long a sender must wait, Retry how long it may take to retry, Pass how long it is then known after its
	// last mail.
	Delay config.Duration `toml:"delay"`
	Retry config.Duration `toml:"retry"`
	Pass  config.Duration `toml:"pass"`
	// Odd are the symbols that make a message look odd; "*" ends a prefix. Unproven makes a message odd that neither SPF
	// nor DKIM authenticates.
	Odd      []string `toml:"odd"`
	Unproven bool     `toml:"unproven"`
}

func defaults() Settings {
	const day = config.Duration(24 * time.Hour)
	return Settings{Mode: "off", Delay: config.Duration(4 * time.Minute), Retry: 2 * day, Pass: 36 * day, Odd: []string{
		"HELO_*", "SPF_HELO_FAIL", "R_SPF_FAIL", "R_SPF_SOFTFAIL", "R_SPF_PERMFAIL", "R_DKIM_REJECT", "DMARC_POLICY_SOFTFAIL",
		"DMARC_POLICY_QUARANTINE", "RBL_*", "URIBL_*", "DBL_*", "ZRD_*", "ABUSE_SURBL", "CRACKED_SURBL",
		"LOOKALIKE_*", "HOMOGRAPH_DOMAIN", "SPOOF_*", "NAME_INVISIBLE", "REPLYTO_FREEMAIL", "SPAMTRAP_*", "IP_REPUTATION_SPAM",
		"ASN_REPUTATION_SPAM", "SPF_REPUTATION_SPAM", "DKIM_REPUTATION_SPAM", "URL_REPUTATION_SPAM", "BAYES_SPAM",
	}}
}

const symbol = "GREYLIST"

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:   "greylist",
	Help:   "Asks unknown senders, or those of odd messages, to come again in a few minutes.",
	Stages: mail.StageRcpt | mail.StageMessage,
	Inline: true,
	After: []string{"harvest", "helo", "dnslists", "spf", "dkim", "arc", "dmarc", "reputation", "correspondents", "headers",
		"impersonation", "mime", "attachments", "content", "classifier"},
	Symbols: []filters.Symbol{
		{Name: symbol, Score: 0, Action: filters.ActionDeferIfPermit, Help: "The sender is not known yet and was asked to come again",
			Reply: "We do not know you yet. Please try again in a few minutes; nothing else is needed"},
	},
	Settings: func() any { s := defaults(); return &s },
	New:      newFilter,
}

type filter struct {
	env      filters.Env
	settings Settings
	odd      map[string]bool
	prefixes []string
}

func newFilter(section config.Section, env filters.Env) (filters.Filter, error) {
	s := defaults()
	if err := section.Decode(&s); err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"off", "odd", "all"}, s.Mode) {
		return nil, fmt.Errorf("[filters.greylist]: mode = %q: set it to \"off\", \"odd\" or \"all\"", s.Mode)
	}
	if s.Delay >= s.Retry || s.Pass == 0 {
		return nil, fmt.Errorf("[filters.greylist]: retry must be longer than delay, and pass longer than nothing")
	}
	f := &filter{env: env, settings: s, odd: map[string]bool{}}
	for _, o := range s.Odd {
		if prefix, all := strings.CutSuffix(o, "*"); all {
			f.prefixes = append(f.prefixes, prefix)
		} else {
			f.odd[o] = true
		}
	}
	return f, nil
}

// Inspect implements filters.Filter. Not greylisted are our own users and servers, addresses with a good reputation,
// and senders that the recipient has written to.
func (f *filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	all := f.settings.Mode == "all"
	switch {
	case f.settings.Mode == "off", tx.Session.Outbound(), !filters.Public(tx.Session.Client):
		return nil, nil
	case tx.Stage == mail.StageRcpt && !all, tx.Stage == mail.StageMessage && !all && !f.looksOdd(tx):
		return nil, nil
	case filters.GoodClient(ctx, f.env.State, tx.Session.Client):
		return nil, nil
	case tx.Stage == mail.StageRcpt:
		return f.atRcpt(ctx, tx, filters.LastRecipient(tx)), nil
	}
	return f.atMessage(ctx, tx), nil
}

// looksOdd says whether something was found that speaks against the message, by the list in the settings: what a symbol
// weighs is policy's secret.
func (f *filter) looksOdd(tx *mail.Transaction) bool {
	for _, list := range [][]filters.Finding{tx.Session.Findings, tx.Findings} {
		for i := range list {
			name := list[i].Symbol
			if f.odd[name] {
				return true
			}
			for _, p := range f.prefixes {
				if strings.HasPrefix(name, p) {
					return true
				}
			}
		}
	}
	if !f.settings.Unproven {
		return false
	}
	spf, dkim := filters.ProvenDomains(tx)
	return len(spf)+len(dkim) == 0
}

// atRcpt decides what can be decided before authentication. A domain that has passed, or the second try of the same
// sender from elsewhere (a pool), is let in as far as the message, where SPF and DKIM authenticate it.
func (f *filter) atRcpt(ctx context.Context, tx *mail.Transaction, to mail.Address) []filters.Finding {
	if filters.Corresponds(ctx, f.env.State, to, tx.From) {
		return nil
	}
	k := f.keysOf(tx, to)
	if f.known(ctx, k) || !tx.From.IsNull() && f.passed(ctx, domainKey(tx.From.ASCIIDomain())) {
		return nil
	}
	left := f.wait(ctx, k)
	pool := f.waitAnywhere(ctx, k)
	if left <= 0 || pool <= 0 {
		return nil
	}
	return f.finding(k.text(), left)
}

// maxRecipients bounds how many recipients of one message are looked at.
const maxRecipients = 50

// atMessage decides with the authenticated domains. A sender that has one is known by it: it waits once for all
// recipients and addresses. One that has none waits for each recipient, by network or HELO.
func (f *filter) atMessage(ctx context.Context, tx *mail.Transaction) []filters.Finding {
	domains, spf := proven(tx)
	if f.knownDomain(ctx, tx, domains) {
		return nil
	}

	// the same sender from another address of its pool is known by what SPF proves
	pool := f.settings.Mode == "all" && spf != "" && spf == registered(tx.From.ASCIIDomain())
	var found []filters.Finding
	for i, r := range tx.Recipients {
		if i == maxRecipients || found != nil && len(domains) > 0 {
			break
		}
		if filters.Corresponds(ctx, f.env.State, r.Address, tx.From) {
			continue
		}
		k := f.keysOf(tx, r.Address)
		if f.known(ctx, k) || pool && f.waited(ctx, k.anywhere) {
			continue
		}
		if waits := f.waits(ctx, domains, k); found == nil {
			found = waits
		}
	}

	if found == nil {
		f.pass(ctx, domains)
	}

	return found
}

// waits gives the finding if a sender has to wait: once by its domain if it proves one, else for each recipient.
func (f *filter) waits(ctx context.Context, domains []string, k *keys) []filters.Finding {
	if len(domains) > 0 {
		if left := f.waitDomain(ctx, domains, k); left > 0 {
			return f.finding(domains[0], left)
		}
		return nil
	}
	if left := f.wait(ctx, k); left > 0 {
		return f.finding(k.text(), left)
	}

	return nil
}

// proven are the registered domains that authenticate the message, SPF's first, and that of SPF alone.
func proven(tx *mail.Transaction) (domains []string, spf string) {
	bySPF, byDKIM := filters.ProvenDomains(tx)
	for i, d := range append(bySPF, byDKIM...) {
		d = registered(mail.ASCIIDomain(d))
		if d == "" {
			continue
		}
		if i < len(bySPF) {
			spf = d
		}
		if !slices.Contains(domains, d) && len(domains) < maxDomains {
			domains = append(domains, d)
		}
	}
	return domains, spf
}

// maxDomains bounds how many proven domains count.
const maxDomains = 4

func registered(domain string) string {
	if domain == "" {
		return ""
	}
	return filters.RegisteredDomain(domain)
}

func (f *filter) finding(who string, left time.Duration) []filters.Finding {
	return []filters.Finding{{Symbol: symbol, Evidence: filters.Printable(fmt.Sprintf("%s: wait %s", who[:min(len(who), 120)], left.Round(time.Second)))}}
}
