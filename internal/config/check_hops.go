package config

import (
	"crypto/tls"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/mail"
)

func (k *checker) nextHops() {
	names := slices.Sorted(maps.Keys(k.c.NextHops))
	for _, name := range names {
		hop := k.c.NextHops[name]
		path := JoinKey("next_hop", name)
		if name != "default" {
			k.domain(path, name)
			if !k.serves(name) {
				k.bad(path, "%q is none of our domains; add it to domains, or take this next hop away", name)
			}
		}
		if len(hop.Addresses) == 0 {
			k.bad(path+".addresses", "is missing; name the mail server, as in [\"exchange.internal:25\"]")
		}
		k.hop(path, &hop)
	}
}

// serves says whether mail for this name can come in at all.
func (k *checker) serves(name string) bool {
	return slices.ContainsFunc(k.c.Domains, func(own string) bool {
		return strings.EqualFold(own, name) || matches(own, strings.TrimPrefix(name, ".")) || matches(name, strings.TrimPrefix(own, "."))
	})
}

func (k *checker) hop(path string, h *NextHop) {
	k.oneOf(path+".protocol", h.Protocol, "smtp", "lmtp")
	k.oneOf(path+".tls", h.TLS, "none", "opportunistic", "required", "implicit")
	if h.MaxConnections < 2 {
		k.bad(path+".max_connections", "is %d; write at least 2: one for questions about recipients, one for mail", h.MaxConnections)
	}
	k.oneOf(path+".when_down", h.WhenDown, "defer", "queue")
	k.readable(path+".ca_file", h.CAFile)
	if h.CAFile != "" && !h.Verify.On() {
		k.bad(path+".ca_file", "has no effect with verify = false; take one of the two away")
	}
	k.hopLogin(path, h)
}

// hopLogin checks the login at a next hop: a user and its password, which must not cross the net in the clear.
func (k *checker) hopLogin(path string, h *NextHop) {
	if h.User != "" && h.PasswordFile == "" {
		k.bad(path+".password_file", "is missing; put the password of user into a file and name it here")
	}
	k.readable(path+".password_file", h.PasswordFile)
	if h.User != "" && (h.TLS == "none" || h.TLS == "opportunistic") {
		k.bad(path+".tls", "%q would send the password in the clear; set tls = \"required\" or \"implicit\"", h.TLS)
	}
	if h.User == "" && h.PasswordFile != "" {
		k.bad(path+".user", "is missing; name whom the password belongs to")
	}
}

func (k *checker) outbound() {
	o := &k.c.Outbound
	if len(o.Addresses) > 0 {
		k.hop("outbound", &o.NextHop)
	} else if slices.ContainsFunc(k.c.Doors, func(d Door) bool { return d.Protocol == mail.ProtocolSubmission }) {
		k.bad("outbound.addresses", "is missing; name the smart host that takes your users' mail, as in [\"smtp.provider.example:25\"]")
	}
	for i, domain := range o.Sign {
		key := "outbound.sign[" + strconv.Itoa(i) + "]"
		k.domain(key, domain)
		if _, ok := k.c.DKIM[domain]; !ok {
			k.bad(key, "%q has no key; add [dkim.%q] with keys = { selector = \"file.pem\" }", domain, domain)
		}
	}
}

func (k *checker) tls() {
	t := &k.c.TLS
	k.oneOf("tls.min_version", t.MinVersion, "1.2", "1.3") // RFC 8996: the older ones must not be used
	k.oneOf("tls.ciphers", t.Ciphers, "strict", "compatible")
	for i, c := range t.Certificates {
		path := "tls.certificate[" + strconv.Itoa(i) + "]"
		if c.Cert == "" || c.Key == "" {
			k.bad(path, "is half a certificate; name both cert and key, as PEM files")
			continue
		}
		before := len(k.found)
		k.readable(path+".cert", c.Cert)
		k.readable(path+".key", c.Key)
		if len(k.found) > before {
			continue
		}
		if _, err := tls.LoadX509KeyPair(c.Cert, c.Key); err != nil {
			k.bad(path, "%s; the two files must hold a PEM certificate and its key", strings.TrimPrefix(err.Error(), "tls: "))
		}
	}
	if len(t.ACME.Names) == 0 && (t.ACME.Email != "" || t.ACME.Directory != "") {
		k.bad("tls.acme.names", "is missing; list the host names that certificates are wanted for")
	}
	for _, name := range t.ACME.Names {
		k.domain("tls.acme.names", name)
	}
}

func (k *checker) dkim() {
	for _, domain := range slices.Sorted(maps.Keys(k.c.DKIM)) {
		path := JoinKey("dkim", domain)
		k.domain(path, domain)
		keys, from := k.c.DKIM[domain].Keys, k.c.DKIM[domain].UseFrom
		if len(keys) == 0 {
			k.bad(path+".keys", "is missing; write keys = { selector = \"file.pem\" }")
		}
		for _, selector := range slices.Sorted(maps.Keys(keys)) {
			k.domain(JoinKey(path+".keys", selector), selector)
			k.readable(JoinKey(path+".keys", selector), keys[selector])
		}
		for _, selector := range slices.Sorted(maps.Keys(from)) {
			key := JoinKey(path+".use_from", selector)
			if _, ok := keys[selector]; !ok {
				k.bad(key, "there is no key of this selector in keys; add it there, or take this day away")
			}
			if _, err := time.Parse(time.DateOnly, from[selector]); err != nil {
				k.bad(key, "%q is not a day; write year, month and day, as in \"2027-01-31\"", from[selector])
			}
		}
	}
}

func (k *checker) filters(known []Known) {
	names := make([]string, len(known))
	byName := map[string]Known{}
	for i, f := range known {
		names[i] = f.Name
		byName[f.Name] = f
	}
	for _, name := range slices.Sorted(maps.Keys(k.c.Filters)) {
		path := JoinKey("filters", name)
		f, ok := byName[name]
		if !ok {
			remedy := "the filters are " + strings.Join(names, ", ")
			if near := Nearest(name, names); near != "" {
				remedy = "did you mean " + near + "?"
			}
			k.bad(path, "there is no such filter; %s", remedy)
			continue
		}
		if enabled, set := k.c.Filters[name]["enabled"]; set {
			if _, ok := enabled.(bool); !ok {
				k.bad(path+".enabled", "is neither true nor false; write true or false, without quotes")
			}
		}
		into := f.Settings
		if into == nil {
			into = &struct{}{}
		}
		// on a copy: reading a section over the defaults must not change what others see as defaults
		k.found = append(k.found, k.c.Filter(name).problems(fresh(into))...)
	}
}

// reports checks what we say to others of their mail: seals and aggregate reports.
func (k *checker) reports() {
	c := k.c
	k.oneOf("arc.seal", c.ARC.Seal, "changed", "all")
	if _, ok := c.DKIM[c.ARC.Domain]; c.ARC.Domain != "" && !ok {
		k.bad("arc.domain", "%q has no key; add [dkim.%q]", c.ARC.Domain, c.ARC.Domain)
	}
	if c.Reports.From == "" {
		return
	}
	if a, err := mail.ParseAddress(c.Reports.From); err != nil || a.Domain == "" {
		k.bad("dmarc_reports.from", "%q is not an address; write one of your own, as in \"dmarc@example.com\"", c.Reports.From)
	}
	if len(c.Outbound.Addresses) == 0 {
		k.bad("dmarc_reports.from", "reports go out through the smart host; name it in [outbound] addresses")
	}
	if c.Reports.OrgName == "" {
		k.bad("dmarc_reports.org_name", "is missing; say who reports, as in \"Example Ltd\"")
	}
}

func (k *checker) rest() {
	c := k.c
	k.reports()
	k.reportAddresses()
	k.learnFolders()
	if c.DNS.Timeout < 1e8 || c.DNS.Timeout > 60e9 {
		k.bad("dns.timeout", "is out of range; write a duration between \"100ms\" and \"1m\"")
	}
	k.readable("policy.file", c.Policy.File)
	k.folder("rules.dir", c.Rules.Dir)
	for _, dir := range c.Rules.SpamAssassin {
		k.folder("rules.spamassassin", dir)
	}
	k.maps()
	k.kept()
	k.digest()
	k.knocking()
	k.alerts()
	if c.Scan.Listen != "" {
		k.bad("scan.listen", "the scanning service is not built into this version; take the key away")
	}
	k.oneOf("log.format", c.Log.Format, "text", "json")
	k.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
}

// maps checks that each map has a name that rules can write, and a file.
func (k *checker) maps() {
	for _, name := range slices.Sorted(maps.Keys(k.c.Maps)) {
		m, path := k.c.Maps[name], JoinKey("maps", name)
		if name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '\'' || r == '"' }) {
			k.bad(path, "%.40q can't be the name of a map; write up to 64 characters of ASCII without spaces and quotes", name)
		}
		if m.File == "" {
			k.bad(path+".file", "is missing; name the file with the entries, one a line")
		}
		k.readable(path+".file", m.File)
		if m.Kind != "" {
			k.oneOf(path+".kind", m.Kind, "address", "domain", "cidr", "regex")
		}
	}
}

// kept checks what is kept of mail, and where: [quarantine], [ledger] and [database].
func (k *checker) kept() {
	c := k.c
	if c.Quarantine.Keep < 24*3600e9 {
		k.bad("quarantine.keep", "is less than a day; nobody could look at held mail in time")
	}
	if h := c.Quarantine.HoldRejected; h > 0 && h < Duration(time.Hour) || h > Duration(14*24*time.Hour) {
		k.bad("quarantine.hold_rejected", "is out of range; write \"0s\" for not at all, or from \"1h\" to \"14d\"")
	}
	k.ledger(&c.Ledger)
	if !c.SharedDatabase() && c.Database.URL != "" && !strings.HasPrefix(c.Database.URL, "sqlite:") {
		k.bad("database.url", "is not a database we know; write \"sqlite:/path/to/ledger.db\" or \"postgres://user:password@host/name\"")
	}
}

func (k *checker) ledger(l *Ledger) {
	if l.Keep < 24*3600e9 {
		k.bad("ledger.keep", "is less than a day; nobody could ask why in time")
	}
	k.oneOf("ledger.subjects", l.Subjects, "keep", "hash", "none")
	if m := l.MaskAddresses; m > 0 && m < Duration(24*time.Hour) {
		k.bad("ledger.mask_addresses", "is less than a day; it is done once a day")
	}
	if l.Waiting < 1<<20 {
		k.bad("ledger.waiting", "is less than 1MiB, which a busy minute fills; write for example \"1GiB\"")
	}
}

// folder says whether a folder of rules is there.
func (k *checker) folder(key, dir string) {
	if dir == "" {
		return
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		k.bad(key, "%q is not a folder; make it, or take this key away", dir)
	}
}
