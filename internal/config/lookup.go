package config

import (
	"path/filepath"
	"strings"

	"postern/internal/mail"
)

// Local says whether a domain is one of ours.
func (c *Config) Local(domain string) bool {
	domain = mail.ASCIIDomain(domain)
	if domain == "" {
		return false
	}
	for _, own := range c.Domains {
		if matches(own, domain) {
			return true
		}
	}
	return false
}

// matches compares a domain with an entry, "example.com" or ".example.com" for all names below it.
func matches(entry, domain string) bool {
	if strings.HasPrefix(entry, ".") {
		return len(domain) > len(entry) && strings.EqualFold(domain[len(domain)-len(entry):], entry)
	}
	return mail.ASCIIDomain(entry) == domain
}

// Route leads to the next hop of a domain: its own, that of the nearest domain above it, or "default". It is zero if the
// domain has none.
func (c *Config) Route(domain string) mail.Route { return mail.RouteTo(c.nextHop(domain)) }

func (c *Config) nextHop(domain string) string {
	domain = mail.ASCIIDomain(domain)
	for name := range c.NextHops {
		if !strings.HasPrefix(name, ".") && mail.ASCIIDomain(name) == domain {
			return name
		}
	}
	best := ""
	for name := range c.NextHops {
		if strings.HasPrefix(name, ".") && matches(name, domain) && len(name) > len(best) {
			best = name
		}
	}
	if best != "" {
		return best
	}
	if _, ok := c.NextHops["default"]; ok {
		return "default"
	}
	return ""
}

// Filter is the section of a filter, without the switch that all of them have.
func (c *Config) Filter(name string) Section {
	values := map[string]any{}
	for key, value := range c.Filters[name] {
		if key != "enabled" {
			values[key] = value
		}
	}
	path := JoinKey("filters", name)
	return Section{path: path, values: values, file: c.file, lines: c.lines}
}

// FilterEnabled says whether a filter is switched on; byDefault holds where the file is silent.
func (c *Config) FilterEnabled(name string, byDefault bool) bool {
	if enabled, ok := c.Filters[name]["enabled"].(bool); ok {
		return enabled
	}
	return byDefault
}

// Store is where one kind of record is kept: the file of this name in data_dir, or the server that several gateways share.
func (c *Config) Store(file string) string {
	if c.SharedDatabase() {
		return c.Database.URL
	}
	return filepath.Join(c.DataDir, file)
}

// SharedDatabase says whether the database is a PostgreSQL server, which several gateways can share.
func (c *Config) SharedDatabase() bool {
	return strings.HasPrefix(c.Database.URL, "postgres://") || strings.HasPrefix(c.Database.URL, "postgresql://")
}

// LedgerURL is where the ledger is: the server of [database] url, or LedgerFile.
func (c *Config) LedgerURL() string {
	if c.SharedDatabase() {
		return c.Database.URL
	}
	return c.LedgerFile()
}

// LedgerFile is the database file: that of [database] url = "sqlite:PATH", else one in data_dir.
func (c *Config) LedgerFile() string {
	if path, ok := strings.CutPrefix(c.Database.URL, "sqlite:"); ok && path != "" {
		return under(filepath.Dir(c.file), path)
	}
	return filepath.Join(c.DataDir, "ledger.db")
}

// PolicyFile is the policy's file, "" for the built-in policy.
func (c *Config) PolicyFile() string { return c.Policy.File }

// File is the file this configuration was read from, "" if it was made of flags.
func (c *Config) File() string { return c.file }
