// Package filters defines filters and runs a chain of them. A filter examines one transaction and reports findings:
// facts with evidence. It never decides; policy does.
//
// Adding one touches one new folder and one line in filters/all. Its Spec is the single home of what is known about it.
package filters

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/mail"
	"postern/internal/state"
	"postern/rules"
	"postern/rules/mapfile"
)

// Finding is a fact, mail.Finding.
type Finding = mail.Finding

// Filter looks at a transaction at one of its stages. It only reads tx, keeps nothing of it after it has returned, and
// returns when ctx ends. An error is a failure of the filter itself (FILTER_FAILED), never a property of the message.
type Filter interface {
	Inspect(ctx context.Context, tx *mail.Transaction) ([]Finding, error)
}

// Server is a filter whose work is done by a server or program of its own, which may be away.
type Server interface {
	// Ping asks the server for a sign of life that only it can give, within the context.
	Ping(ctx context.Context) error
	// Address says where it is.
	Address() string
	// Required says that no mail is to pass that it has not looked at.
	Required() bool
}

// Watcher knows which servers of filters are away.
type Watcher interface {
	// Away says whether the server of this filter was away when it was last asked.
	Away(filter string) bool
	// Failed is called when a filter failed: its server may be down.
	Failed(filter string)
}

// Away is the value of FILTER_FAILED for a filter whose server is away and not required: mail is judged without it, and says
// so.
type Away string

// Bounder is a filter whose settings bound what others read of the message. Bound is called once, before any filter of the
// stage, and must not read the message.
type Bounder interface {
	Bound(tx *mail.Transaction)
}

// Spec is all that is known of a filter: the console, the CLI, the docs and the example configuration are drawn from it.
type Spec struct {
	// Name is its folder and its section in postern.toml, [filters.NAME].
	Name string
	// Help is one sentence for the admin.
	Help string
	// Stages are those at which it is asked.
	Stages mail.Stage
	// After names the filters whose findings it reads. It runs when they are done.
	After []string
	// Background filters wait on the network: started at their stage, awaited when the message is judged.
	Background bool
	// Inline filters never wait: they only compute, or ask Env.State, which answers in time by itself. They run in the
	// session's own goroutine, which for the dozen of them at the edge costs less than their work.
	Inline bool
	// Timeout bounds one Inspect; 0 is DefaultTimeout.
	Timeout time.Duration
	// Content filters look at the message alone, so that they can also judge one that is fetched from a mailbox.
	Content bool
	// Disabled filters are off unless the configuration switches them on with enabled = true.
	Disabled bool
	// Symbols are all it can report.
	Symbols []Symbol
	// Settings is a pointer to its settings with their defaults, nil if it has none: for `postern config show`.
	Settings func() any
	// New makes it from its section. A wrong section gives an error that names key and remedy.
	New func(config.Section, Env) (Filter, error)
}

// Symbol is what a finding can be called, and what policy makes of it unless the admin says otherwise.
type Symbol struct {
	Name string
	// Score is its default weight; positive is towards spam.
	Score float64
	// Help says in one sentence what was seen.
	Help string
	// Action is the default one.
	Action Action
	// Form says that the symbol is about the form of the mail, not its content or sender: an entry of the allow list
	// overrides its action, and mail that lies in a mailbox already is not masked for it.
	Form bool
	// Unweighed says that nobody weighed the symbol: all such symbols count little together, see policy.
	Unweighed bool `json:",omitempty"`
	// Reply is the reply to the sender where this symbol decides: the reason, and the remedy. "" leaves it to policy.
	Reply string
}

// Env is what a filter may use of the house.
type Env struct {
	DNS *dns.Resolver
	Log *slog.Logger
	Now func() time.Time
	// State is what outlives a transaction.
	State *state.State
	// ASN gives the autonomous system of an address; it is nil without a database.
	ASN func(netip.Addr) (number uint32, name string)
	// Hostname is the gateway's name, Local says whether a domain is one of ours.
	Hostname string
	Local    func(domain string) bool
	// Logins gives the logins that own an address of ours, not ok if the directory can't be asked now; nil without a
	// directory.
	Logins func(ctx context.Context, a mail.Address) (logins []string, ok bool)
	// Shelved is called when a filter adds a row to its AdminTable that the admin should know of at once, unless nil. It
	// must be quick.
	Shelved func(filter string)
	// RulesDir holds the admin's own content rules, "" for none.
	RulesDir string
	// Maps are those of the configuration, which content rules look values up in.
	Maps mapfile.Set
	// Brands knows the hosts of companies and those that are made to be taken for theirs, nil for nobody who does.
	Brands BrandHosts
	// Classifier judges messages by what it was taught, nil for none.
	Classifier Classifier
	// RuleCosts remembers what content rules take, nil for nobody who does.
	RuleCosts *rules.Costs
}

// Classifier judges messages by what people said of others. It lives as long as the program, whatever is reloaded.
type Classifier interface {
	Judge(tx *mail.Transaction) Judgement
	MessageLearner
	LessonLearner
}

// Judgement is what a classifier makes of a message.
type Judgement struct {
	// Odds are the log-odds that it is spam: 0 is an even chance, 3 is 20 to 1 for spam.
	Odds float64
	// Ham and Spam are the numbers of messages that it has learned from.
	Ham, Spam int
	// Why names what speaks most for spam and against it.
	Why func() (spam, ham []string)
}

// BrandHosts knows companies and offices by the hosts of links.
type BrandHosts interface {
	// Of gives the brands that a domain, in A-labels, sends for.
	Of(domain string) []int
	// Within finds a brand that is named in a host or path which is not its own; below a platform, where anybody chooses a
	// name, its name alone is enough.
	Within(host, path string, platform bool) (brand int, name string, ok bool)
}

// DefaultTimeout bounds a filter that names no other.
const DefaultTimeout = 10 * time.Second

// Failed is the finding of a filter that returned an error, ran out of time or panicked. Its evidence is the filter's
// name; policy says per filter whether mail then passes, waits or is held.
const Failed = "FILTER_FAILED"
