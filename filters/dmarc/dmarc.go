// Package dmarc checks whether SPF or DKIM authenticates the domain in From, and what that domain's policy is if not:
// RFC 9989.
//
// What a domain wants is asked first, as soon as From is known, and whatever SPF and DKIM do meanwhile. What DNS leaves
// open comes again a few times, and is then held: it never gets through for being slow.
package dmarc

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
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
	// MaxAuthors is how many author domains of a message are judged; mail with more is refused.
	MaxAuthors int `toml:"max_authors"`
	// MailingLists says what becomes of mail that fails a p=reject and comes from a mailing list, which changes what its
	// members sign: "hold", or "policy" for what the author's domain asks for.
	MailingLists string `toml:"mailing_lists"`
	// UnknownPolicy says what becomes of unproven mail if DNS can't tell what the author's domain asks for, and never
	// could before: "defer", then hold, or "accept". NoResolver says the same for the time in which no DNS server of ours
	// is there at all, which no stranger can bring about.
	UnknownPolicy string `toml:"unknown_policy"`
	NoResolver    string `toml:"no_resolver"`
	// UndecidedTries and UndecidedFor are how often, and for how long, a message is deferred that DNS leaves undecided.
	// It is held when the first of them is reached.
	UndecidedTries int             `toml:"undecided_tries"`
	UndecidedFor   config.Duration `toml:"undecided_for"`
	// RememberPolicy is how long it is remembered what a domain asked for, for when DNS can't tell.
	RememberPolicy config.Duration `toml:"remember_policy"`
}

func defaults() Settings {
	const day = config.Duration(24 * time.Hour)
	return Settings{OrganizationalDomain: "tree", MaxAuthors: 10, MailingLists: "hold", UnknownPolicy: "defer", NoResolver: "accept",
		UndecidedTries: 6, UndecidedFor: day / 6, RememberPolicy: 30 * day}
}

func (s Settings) check() error {
	word := func(key, value string, words ...string) error {
		if slices.Contains(words, value) {
			return nil
		}
		return fmt.Errorf("[filters.dmarc]: %s = %q: set it to %q or %q", key, value, words[0], words[1])
	}
	switch {
	case s.MaxAuthors < 1 || s.MaxAuthors > 50:
		return fmt.Errorf("[filters.dmarc]: max_authors = %d: set it from 1 to 50", s.MaxAuthors)
	case s.UndecidedTries < 0 || s.UndecidedTries > 1000:
		return fmt.Errorf("[filters.dmarc]: undecided_tries = %d: set it from 0 to 1000", s.UndecidedTries)
	case s.UndecidedFor.Std() > maxPatience:
		return fmt.Errorf("[filters.dmarc]: undecided_for: no sender tries for longer than 5d; set it from \"0s\" to \"5d\"")
	}
	return cmp.Or(
		word("organizational_domain", s.OrganizationalDomain, "tree", "psl"),
		word("mailing_lists", s.MailingLists, "hold", "policy"),
		word("unknown_policy", s.UnknownPolicy, "defer", "accept"),
		word("no_resolver", s.NoResolver, "defer", "accept"),
	)
}

// Spec is what is known of the filter.
var Spec = filters.Spec{
	Name:    "dmarc",
	Help:    "Asks whether SPF and DKIM stand for the domain in From, and what it wants done if not (RFC 9989).",
	Stages:  mail.StageMessage,
	After:   []string{"spf", "dkim", "arc"},
	Timeout: 15 * time.Second,
	Symbols: []filters.Symbol{
		{Name: "DMARC_POLICY_ALLOW", Score: -0.5, Help: "DMARC: the domain in From is authenticated"},
		{Name: "DMARC_POLICY_REJECT", Score: 6, Help: "DMARC: the domain in From is not authenticated and asks for such mail to be rejected", Action: filters.ActionReject,
			Reply: "This mail says it is from a domain that did not send it, and that domain asks us to reject such mail (DMARC)"},
		{Name: "DMARC_POLICY_REJECT_LIST", Score: 4, Help: "DMARC: as DMARC_POLICY_REJECT, but the mail comes by a mailing list or a forwarder that sealed it (ARC)", Action: filters.ActionQuarantine},
		{Name: "DMARC_POLICY_QUARANTINE", Score: 4, Help: "DMARC: the domain in From is not authenticated and asks for such mail to be set aside", Action: filters.ActionQuarantine},
		{Name: "DMARC_POLICY_SOFTFAIL", Score: 0.5, Help: "DMARC: the domain in From is not authenticated and asks for nothing"},
		{Name: "DMARC_NA", Score: 0, Help: "DMARC: the domain in From has no DMARC record"},
		{Name: "DMARC_DNSFAIL", Score: 0, Help: "DMARC: DNS gave no answer, and nothing depends on it"},
		{Name: "DMARC_UNDECIDED", Score: 0, Help: "DMARC: DNS gives no answer, and without it nobody can tell whether the domain in From sent this", Action: filters.ActionDefer,
			Reply: "DNS gives no answer about the domain in From, so we can not tell whether it sent this mail. Please try again later"},
		{Name: "DMARC_UNDECIDED_LIMIT", Score: 2, Help: "DMARC: DNS still gave no answer when the message had come as often or for as long as it may", Action: filters.ActionQuarantine},
		{Name: "DMARC_BAD_POLICY", Score: 0.5, Help: "DMARC: the domain's record can't be used"},
		{Name: "DMARC_AMBIGUOUS", Score: 2, Help: "DMARC: SPF or DKIM stand for a domain in From, but readers may show another one"},
		{Name: "DMARC_MULTIPLE_AUTHORS", Score: 2, Help: "DMARC: From names authors of different organizations", Action: filters.ActionQuarantine},
		{Name: "DMARC_AUTHOR_LIMIT", Score: 6, Help: "DMARC: From names more authors than are judged", Action: filters.ActionReject,
			Reply: "From names too many authors for us to tell who sent this mail. Please name one author"},
		{Name: "DMARC_OVERRIDE_ARC", Score: 0, Help: "DMARC: fails here, but passed where a trusted forwarder received the mail (ARC)"},
		{Name: "DMARC_MAILING_LIST", Score: 0, Help: "DMARC: fails, and the mail looks like that of a mailing list"},
	},
	Settings: func() any { s := defaults(); return &s },
	New: func(section config.Section, env filters.Env) (filters.Filter, error) {
		s := defaults()
		if err := section.Decode(&s); err != nil {
			return nil, err
		}
		if err := s.check(); err != nil {
			return nil, err
		}
		if env.Local == nil {
			env.Local = func(string) bool { return false }
		}
		return filter{env, s}, nil
	},
}

type filter struct {
	env      filters.Env
	settings Settings
}

// judgement is the filter at work on one message.
type judgement struct {
	filter
	from     authors
	searches []*search // one for each author's domain, so that no author waits for another
}

// Prepare implements filters.Preparer: it asks what the authors' domains want.
func (f filter) Prepare(ctx context.Context, tx *mail.Transaction) filters.Filter {
	j := &judgement{filter: f}
	if tx.Session.Outbound() {
		return j
	}
	j.from = readAuthors(tx.Message.Header(), f.settings.MaxAuthors)
	for range j.from.domains {
		j.searches = append(j.searches, newSearch(f.env.DNS, f.settings.OrganizationalDomain == "psl", nil))
	}
	j.each(func(i int) { j.searches[i].prepare(ctx, j.from.domains[i]) })
	return j
}

// each does something for all authors at once.
func (j *judgement) each(work func(i int)) {
	var all sync.WaitGroup
	failures := make([]any, len(j.searches))
	for i := range j.searches {
		all.Go(func() {
			defer func() { failures[i] = recover() }()
			work(i)
		})
	}
	all.Wait()
	for _, failure := range failures {
		if failure != nil {
			panic(failure) // the chain makes a finding of it
		}
	}
}

// Inspect implements filters.Filter for a chain that does not ask ahead.
func (f filter) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	return f.Prepare(ctx, tx).Inspect(ctx, tx)
}

// Inspect implements filters.Filter.
func (j *judgement) Inspect(ctx context.Context, tx *mail.Transaction) ([]filters.Finding, error) {
	if tx.Session.Outbound() {
		return nil, nil
	}
	results := make([]filters.DMARC, len(j.searches))
	j.each(func(i int) {
		s, domain := j.searches[i], j.from.domains[i]
		s.again() // a slow answer may be there by now
		b := j.backgroundOf(ctx, domain)
		results[i] = s.evaluate(ctx, tx.AllFindings(), domain, b)
		j.remember(ctx, s, domain, b.last)
	})
	worst := filters.DMARC{Result: mail.AuthNone, Why: "no domain in From"}
	rank := -1
	for _, v := range results {
		if _, r := symbolOf(v); r > rank {
			rank, worst = r, v
		}
	}
	return append(j.report(ctx, tx, worst), j.from.odd(j.env.Local)...), nil
}

// report names the result, or the reason why it does not hold.
func (j *judgement) report(ctx context.Context, tx *mail.Transaction, v filters.DMARC) []filters.Finding {
	// RFC 9989 section 5.3.1: where From is not one readable field, DMARC has no author domain
	if v.Result == mail.AuthPass && j.from.doubt != "" {
		v.Result, v.Why = mail.AuthPermError, j.from.doubt
		return []filters.Finding{{Symbol: "DMARC_AMBIGUOUS", Evidence: filters.Printable(evidence(v)), Value: v}}
	}
	symbol, _ := symbolOf(v)
	found := []filters.Finding{}
	list := ""
	if v.Result == mail.AuthFail {
		list = j.mailingList(ctx, tx)
	}
	switch sealer := vouched(tx.AllFindings(), v.Domain); {
	case (v.Result == mail.AuthFail || v.Undecided) && sealer != "":
		symbol = "DMARC_OVERRIDE_ARC"
		v.Override = filters.DMARCOverride{Type: filters.LocalPolicy, Comment: "arc=pass; dmarc=pass by " + sealer}
		v.Why += ", but passed at " + sealer
		v.Undecided = false
	case v.Undecided:
		return []filters.Finding{j.undecided(ctx, tx, v)}
	case list != "":
		if v.Policy == filters.DMARCReject && j.settings.MailingLists == "hold" && len(j.from.domains) == 1 {
			symbol = "DMARC_POLICY_REJECT_LIST"
			v.Override = filters.DMARCOverride{Type: filters.MailingList, Comment: list}
		}
		found = append(found, filters.Finding{Symbol: "DMARC_MAILING_LIST", Evidence: filters.Printable(list)})
	}
	return append([]filters.Finding{{Symbol: symbol, Evidence: filters.Printable(evidence(v)), Value: v}}, found...)
}

// symbolOf names a result and ranks it: the higher, the worse.
func symbolOf(v filters.DMARC) (string, int) {
	switch v.Result {
	case mail.AuthPass:
		return "DMARC_POLICY_ALLOW", 0
	case mail.AuthNone:
		return "DMARC_NA", 1
	case mail.AuthPermError:
		return "DMARC_BAD_POLICY", 2
	case mail.AuthTempError:
		if v.Undecided {
			return "DMARC_UNDECIDED", 6
		}
		return "DMARC_DNSFAIL", 4
	default: // fail: the policy says what it weighs
		return failed(v.Policy)
	}
}

// failed names and ranks the author domains that neither SPF nor DKIM authenticates.
func failed(policy filters.DMARCPolicy) (string, int) {
	switch policy {
	case filters.DMARCReject:
		return "DMARC_POLICY_REJECT", 7
	case filters.DMARCQuarantine:
		return "DMARC_POLICY_QUARANTINE", 5
	default: // none, or no record that says more
		return "DMARC_POLICY_SOFTFAIL", 3
	}
}

func evidence(v filters.DMARC) string {
	if v.Result == mail.AuthPass {
		return v.Domain + " by " + strings.Join(v.Aligned, ", ")
	}
	return v.Domain + ": " + v.Why
}
