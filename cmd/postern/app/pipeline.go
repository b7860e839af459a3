// Package app puts the parts together: configuration in, a gateway that runs out. It is the only place that knows all
// of them.
package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"postern/filters"
	"postern/filters/all"
	"postern/filters/brands"
	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/dns/asn"
	"postern/internal/mail"
	"postern/internal/state"
	"postern/policy"
	"postern/proxy"
	"postern/rules"
	defaultrules "postern/rules/default"
	"postern/rules/mapfile"
)

// Outside holds the external parts that a test or the demo may replace.
type Outside struct {
	Log *slog.Logger
	Now func() time.Time
	// Resolver replaces the configured DNS servers.
	Resolver *dns.Resolver
	// State is the gateway's state; nil is in-process memory that begins empty.
	State *state.State
	// Muted are symbols whose weight is 0 for now. Entries are those of the lists kept beside the policy's file.
	Muted   []string
	Entries []policy.ListEntry
	// ASN gives the autonomous system of an address; nil opens the configured database, if there is one.
	ASN func(netip.Addr) (number uint32, name string)
	// Logins gives the logins that own an address of ours, not ok if the directory can't be asked; nil without a
	// directory.
	Logins func(ctx context.Context, a mail.Address) (logins []string, ok bool)
	// Shelved is called when a filter adds a row to its table, see filters.Env.
	Shelved func(filter string)
	// Classifier judges by what it was taught; nil opens what data_dir knows, to read only.
	Classifier filters.Classifier
	// RuleCosts remembers what content rules take, nil for nobody who does.
	RuleCosts *rules.Costs
	// QueueExpiry is when queued mail is given up, the usual five days where it is 0.
	QueueExpiry time.Duration
	// DiskLeft gives the free space of a folder's disk in octets; nil asks the system.
	DiskLeft func(dir string) (int64, error)
	// compiled is the set of rules in force: it is used again while its files are the same.
	compiled *defaultrules.Loaded
	// Unwatched switches health checks off, for servers that record all connections.
	Unwatched bool
}

func (o Outside) withDefaults() Outside {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.DiskLeft == nil {
		o.DiskLeft = diskLeft
	}
	return o
}

// Pipeline judges messages: the filters that are switched on, and the policy.
type Pipeline struct {
	Specs []filters.Spec
	Chain *filters.Chain
	// Fetched is the part of the chain that judges mail as it is fetched from a mailbox.
	Fetched *filters.Chain
	Policy  *policy.Policy
	// Epoch changes with everything that decides on the content of a message.
	Epoch string
	// DNS is the resolver that the filters ask.
	DNS *dns.Resolver
	// Problems are those of single content rules; the rest of the rules work.
	Problems []rules.Problem
	// Maps are those of the configuration.
	Maps mapfile.Set

	config *config.Config
	rules  *defaultrules.Loaded
}

// NewPipeline makes the pipeline of a configuration. Filters in without are left out.
func NewPipeline(cfg *config.Config, out Outside, without ...string) (*Pipeline, error) {
	out = out.withDefaults()
	loaded, err := defaultrules.LoadAgain(ruleFolders(cfg), takenNames(), out.compiled)
	if err != nil {
		return nil, err
	}
	if err := out.complete(cfg); err != nil {
		return nil, err
	}

	tables, err := ReadMaps(cfg)
	if err != nil {
		return nil, err
	}
	j := &Pipeline{DNS: out.Resolver, Maps: tables, Specs: all.Specs(loaded.Set), Problems: loaded.Problems, config: cfg, rules: loaded}
	if err := j.link(cfg, out, without); err != nil {
		return nil, err
	}
	text, err := PolicyText(cfg)
	if err != nil {
		return nil, err
	}
	if j.Policy, err = compilePolicy(cfg, j.Maps, Symbols(j.Specs), cfg.PolicyFile(), text, out.Muted, out.Entries...); err != nil {
		return nil, err
	}
	j.Epoch, err = epoch(cfg, j.Policy, loaded)

	return j, err
}

// complete opens what filters need and the caller has not given.
func (o *Outside) complete(cfg *config.Config) (err error) {
	if o.Resolver == nil {
		if o.Resolver, err = NewResolver(cfg); err != nil {
			return err
		}
	}
	if o.State == nil {
		if o.State, err = state.NewMemory(state.MemoryOptions{Now: o.Now, Log: o.Log}); err != nil {
			return err
		}
	}
	if o.ASN == nil && cfg.Geo.ASN != "" {
		db, err := asn.Open(cfg.Geo.ASN) // for as long as the program runs
		if err != nil {
			return fmt.Errorf("geo.asn: %w", err)
		}
		o.ASN = db.Lookup
	}
	if o.Classifier == nil {
		c, err := knownClassifier(cfg, o.Log)
		if err != nil {
			o.Log.Warn("judged without the classifier", "error", err)
		} else if c != nil {
			o.Classifier = c
		}
	}

	return nil
}

// link makes the filters that are switched on, and chains them.
func (j *Pipeline) link(cfg *config.Config, out Outside, without []string) (err error) {
	table, err := brands.Configured(cfg.Filter("brands"))
	if err != nil {
		return fmt.Errorf("filter brands: %w", err)
	}
	env := filters.Env{Brands: table, Classifier: out.Classifier, DNS: j.DNS, Log: out.Log, Now: out.Now, State: out.State, ASN: out.ASN,
		Hostname: cfg.Hostname, Local: cfg.Local, RulesDir: cfg.Rules.Dir, Logins: out.Logins, Shelved: out.Shelved, Maps: j.Maps, RuleCosts: out.RuleCosts}
	var links, content []filters.Link
	for _, spec := range j.Specs {
		if !cfg.FilterEnabled(spec.Name, !spec.Disabled) || slices.Contains(without, spec.Name) {
			continue
		}
		f, err := spec.New(cfg.Filter(spec.Name), env)
		if err != nil {
			return fmt.Errorf("filter %s: %w", spec.Name, err)
		}
		links = append(links, filters.Link{Spec: spec, Filter: f})
		if spec.Content {
			content = append(content, filters.Link{Spec: spec, Filter: f})
		}
	}

	if j.Chain, err = filters.NewChain(links, out.Log); err != nil {
		return err
	}
	j.Fetched, err = filters.NewChain(content, out.Log)

	return err
}

// epoch is a short name for policy, content rules and filter settings together.
func epoch(cfg *config.Config, p *policy.Policy, loaded *defaultrules.Loaded) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, p.Version(), cfg.Filters) // maps are printed in the order of their keys
	h.Write(loaded.Sum[:])
	if cfg.Rules.Dir == "" {
		return hex.EncodeToString(h.Sum(nil)[:6]), nil
	}
	err := filepath.WalkDir(cfg.Rules.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(text), text)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("folder of rules: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)[:6]), nil
}

// KnownFilters describes the filters to `postern config`. No name, help or setting depends on the content rules: none is
// compiled for it.
func KnownFilters() []config.Known {
	none, _ := rules.Parse()
	var known []config.Known
	for _, s := range all.Specs(none) {
		k := config.Known{Name: s.Name, Help: s.Help, Disabled: s.Disabled}
		if s.Settings != nil {
			k.Settings = s.Settings()
		}
		known = append(known, k)
	}
	return known
}

// LoadRules reads the content rules, the shipped ones and the admin's. No rule may have the name of a symbol of a
// filter, a door or the policy.
func LoadRules(cfg *config.Config) (*rules.Set, []rules.Problem, error) {
	return defaultrules.Load(ruleFolders(cfg), takenNames())
}

func ruleFolders(cfg *config.Config) defaultrules.Folders {
	return defaultrules.Folders{Own: cfg.Rules.Dir, SpamAssassin: cfg.Rules.SpamAssassin, Lookups: cfg.Rules.Lookups, Maps: mapNames(cfg)}
}

// takenNames are those of symbols that no rule may bear.
func takenNames() map[string]bool {
	none, _ := rules.Parse()
	taken := map[string]bool{filters.Failed: true}
	for _, s := range Symbols(all.Specs(none)) {
		taken[s.Name] = true
	}
	for _, name := range policy.OwnSymbols() {
		taken[name] = true
	}
	return taken
}

// Symbols are all symbols with their defaults: those of the filters and those of the doors.
func Symbols(specs []filters.Spec) []filters.Symbol {
	var symbols []filters.Symbol
	for _, s := range specs {
		symbols = append(symbols, s.Symbols...)
	}
	return append(symbols, proxy.Symbols()...)
}

// compilePolicy makes the policy of a text. Muted symbols have weight 0.
func compilePolicy(cfg *config.Config, tables mapfile.Set, symbols []filters.Symbol, name string, text []byte, muted []string, more ...policy.ListEntry) (*policy.Policy, error) {
	settings := policy.Default()
	if len(text) > 0 {
		var problems []config.Problem
		if settings, problems = policy.Parse(name, text); len(problems) > 0 {
			return nil, config.Problems(problems)
		}
	}
	settings.Disclose, settings.Maps = cfg.SMTP.Disclose, tables
	mute(&settings, muted)
	p, problems := policy.Compile(settings, symbols, more...)
	if len(problems) > 0 {
		return nil, config.Problems(problems)
	}
	return p, nil
}

// mute takes the weight of symbols out of a policy, wherever it speaks of it. Their actions stay: an admin set them on
// purpose, and muting must never make a verdict stricter.
func mute(settings *policy.Config, symbols []string) {
	if len(symbols) == 0 {
		return
	}
	quiet := func(scores *map[string]float64) {
		if *scores == nil {
			*scores = map[string]float64{}
		}
		for _, s := range symbols {
			(*scores)[s] = 0
		}
	}
	quiet(&settings.Scores)
	quiet(&settings.Outbound.Scores)
	for _, scopes := range []map[string]policy.Scope{settings.Domains, settings.RecipientGroups, settings.Recipients} {
		for name, s := range scopes {
			quiet(&s.Scores)
			scopes[name] = s
		}
	}
}

func serverNames(cfg *config.Config) (servers []string) {
	for _, s := range cfg.DNS.Servers {
		servers = append(servers, string(s))
	}
	return servers
}

// NewResolver makes the resolver of a configuration.
func NewResolver(cfg *config.Config) (*dns.Resolver, error) {
	r, err := dns.New(dns.Options{Timeout: time.Duration(cfg.DNS.Timeout), Servers: serverNames(cfg)})
	if err != nil {
		return nil, errors.Join(errors.New("[dns]: name a resolver with servers = [\"127.0.0.1\"]"), err)
	}
	return r, nil
}
