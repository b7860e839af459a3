package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/internal/mail"
)

// Config is postern.toml with its defaults filled in.
type Config struct {
	// Hostname is the gateway's own name: greeting, HELO, Received, Authentication-Results.
	Hostname string `toml:"hostname"`
	DataDir  string `toml:"data_dir"`
	// Domains are those whose mail comes in here; ".example.com" holds for all names below it.
	Domains []string `toml:"domains"`
	// TrustedNetworks may send outbound without a login.
	TrustedNetworks Networks `toml:"trusted_networks"`

	Doors    []Door             `toml:"door"`
	SMTP     SMTP               `toml:"smtp"`
	NextHops map[string]NextHop `toml:"next_hop"`
	Outbound Outbound           `toml:"outbound"`
	TLS      TLS                `toml:"tls"`
	DKIM     map[string]DKIM    `toml:"dkim"`
	ARC      ARC                `toml:"arc"`
	Reports  Reports            `toml:"dmarc_reports"`
	DNS      DNS                `toml:"dns"`
	// LearnFolders are mailboxes of labelled mail that are read by themselves.
	LearnFolders []LearnFolder `toml:"learn_folder"`
	// ReportAddresses are where users send what was judged wrongly.
	ReportAddresses ReportAddresses           `toml:"report_addresses"`
	Filters         map[string]map[string]any `toml:"filters"`
	Policy          Policy                    `toml:"policy"`
	Rules           Rules                     `toml:"rules"`
	// Maps are files that content rules and policy look values up in, by name.
	Maps map[string]Map `toml:"maps"`
	// PolicyBreaker mutes symbols that suddenly convict mail all by themselves.
	PolicyBreaker PolicyBreaker `toml:"breaker"`
	Quarantine    Quarantine    `toml:"quarantine"`
	Digest        Digest        `toml:"digest"`
	Ledger        Ledger        `toml:"ledger"`
	Database      Database      `toml:"database"`
	State         State         `toml:"state"`
	Bans          Bans          `toml:"bans"`
	Recipients    Recipients    `toml:"recipients"`
	Geo           Geo           `toml:"geo"`
	Metrics       Endpoint      `toml:"metrics"`
	Alerts        Alerts        `toml:"alerts"`
	Probe         Probe         `toml:"probe"`
	Console       Console       `toml:"console"`
	Scan          Endpoint      `toml:"scan"`
	MailAccess    MailAccess    `toml:"mail_access"`
	// MailBackends are the servers with the mailboxes, by a name that stands for them in the ledger.
	MailBackends map[string]MailBackend `toml:"mail_backend"`
	Log          Log                    `toml:"log"`

	file  string
	lines Lines
}

// Door is an address at which clients knock.
type Door struct {
	Name     string        `toml:"name"`
	Protocol mail.Protocol `toml:"protocol"`
	Listen   Listen        `toml:"listen"`
	TLS      string        `toml:"tls"`
	// ProxyProtocol wants a PROXY header from each client in ProxyNetworks.
	ProxyProtocol bool     `toml:"proxy_protocol"`
	ProxyNetworks Networks `toml:"proxy_networks"`
	// XClientNetworks may claim another client's address with XCLIENT.
	XClientNetworks Networks `toml:"xclient_networks"`
	// Auth says who checks logins: "" nobody, "smtp" the next hop AuthRoute, "imap" the [mail_backend] named AuthBackend, the
	// server at AuthAddress or, where both are "", the [mail_backend] that serves the user.
	Auth              string `toml:"auth"`
	AuthRoute         string `toml:"auth_route"`
	AuthBackend       string `toml:"auth_backend"`
	AuthAddress       string `toml:"auth_address"`
	RequireTLSForAuth Switch `toml:"require_tls_for_auth"`
	MaxConnections    int    `toml:"max_connections"`
	// BareNewline is that of [smtp] for this door alone, "" for the same.
	BareNewline string `toml:"bare_newline"`
	// Transparent takes each client where it wanted to go: the machine redirects connections to this door.
	Transparent bool `toml:"transparent"`
	// FromClient connects to the server behind from the client's own address.
	FromClient bool       `toml:"from_client"`
	Extensions Extensions `toml:"extensions"`
}

// Extensions are the service extensions of SMTP that a door offers if what stands behind it can carry them.
type Extensions struct {
	Size                Switch `toml:"size"`
	EightBitMIME        Switch `toml:"8bitmime"`
	SMTPUTF8            Switch `toml:"smtputf8"`
	Pipelining          Switch `toml:"pipelining"`
	Chunking            Switch `toml:"chunking"`
	DSN                 Switch `toml:"dsn"`
	EnhancedStatusCodes Switch `toml:"enhancedstatuscodes"`
	StartTLS            Switch `toml:"starttls"`
	Auth                Switch `toml:"auth"`
	RequireTLS          Switch `toml:"requiretls"`
	Limits              Switch `toml:"limits"`
}

// SMTP holds for all doors that speak it.
type SMTP struct {
	MaxMessageSize Size `toml:"max_message_size"`
	MaxRecipients  int  `toml:"max_recipients"`
	MaxErrors      int  `toml:"max_errors"`
	MaxConnections int  `toml:"max_connections"`
	// MaxPerNetwork bounds the connections of one /24 of IPv4 or /64 of IPv6.
	MaxPerNetwork  int      `toml:"max_per_network"`
	IdleTimeout    Duration `toml:"idle_timeout"`
	SessionTimeout Duration `toml:"session_timeout"`
	BareNewline    string   `toml:"bare_newline"`
	// NormaliseNetworks are clients whose bare line ends are mended whatever BareNewline says.
	NormaliseNetworks Networks `toml:"normalise_networks"`
	EarlyInput        string   `toml:"early_input"`
	GreetDelay        Duration `toml:"greet_delay"`
	Tarpit            Duration `toml:"tarpit"`
	// Reserve is how many connections more, in percent of MaxConnections, there are for clients with a good name.
	Reserve    int    `toml:"reserve"`
	HeaderName string `toml:"header_name"`
	SubjectTag string `toml:"subject_tag"`
	// StripHeaders are fields that only we or the server behind us may set; "*" ends a prefix.
	StripHeaders []string `toml:"strip_headers"`
	Disclose     Disclose `toml:"disclose"`
}

// Disclose says how much a refused sender is told: "full" the reasons, "short" a constant text.
type Disclose struct {
	Inbound  string `toml:"inbound"`
	Outbound string `toml:"outbound"`
}

// NextHop is a server that takes mail from us, with its stand-ins in order.
type NextHop struct {
	Addresses []HostPort `toml:"addresses"`
	Protocol  string     `toml:"protocol"`
	TLS       string     `toml:"tls"`
	CAFile    string     `toml:"ca_file"`
	// ServerName is the name its certificate must have, "" for the host in its address.
	ServerName string `toml:"server_name"`
	// Verify holds for tls = "required" and "implicit"; "opportunistic" can't verify anything.
	Verify       Switch `toml:"verify"`
	XClient      bool   `toml:"xclient"`
	XForward     bool   `toml:"xforward"`
	User         string `toml:"user"`
	PasswordFile string `toml:"password_file"`
	// MaxConnections is how many connections to each address are in use at a time, half of them for questions about
	// recipients.
	MaxConnections int `toml:"max_connections"`
	// WhenDown is "defer" (the sender keeps the mail) or "queue" (we do).
	WhenDown string `toml:"when_down"`
}

// Outbound is where our own users' mail goes.
type Outbound struct {
	NextHop
	// Sign are the domains whose mail is signed with their keys in [dkim].
	Sign []string `toml:"sign"`
}

// TLS holds for all doors.
type TLS struct {
	MinVersion string `toml:"min_version"`
	// Ciphers is "strict", or "compatible" for peers that know no forward secrecy or only CBC.
	Ciphers string `toml:"ciphers"`
	// SessionTickets lets clients resume sessions (RFC 5077, RFC 8446 section 2.2).
	SessionTickets bool          `toml:"session_tickets"`
	Certificates   []Certificate `toml:"certificate"`
	ACME           ACME          `toml:"acme"`
}

// Certificate is a pair of PEM files.
type Certificate struct {
	Cert string `toml:"cert"`
	Key  string `toml:"key"`
}

// ACME gets certificates by itself: RFC 8555.
type ACME struct {
	Names     []string `toml:"names"`
	Email     string   `toml:"email"`
	Directory string   `toml:"directory"`
	// Listen answers the challenges of HTTP-01.
	Listen Listen `toml:"listen"`
}

// DKIM are the signing keys of a domain: selector to PEM file.
type DKIM struct {
	Keys map[string]string `toml:"keys"`
	// UseFrom is the day from which on a selector signs, "2027-01-31"; without one it does at once. The latest that has
	// come signs, so that a key can be published days before its time.
	UseFrom map[string]string `toml:"use_from"`
}

// ARC says which inbound mail we seal: RFC 8617.
type ARC struct {
	// Domain is the one whose key in [dkim] seals, "" for none; Seal is "changed" or "all".
	Domain string `toml:"domain"`
	Seal   string `toml:"seal"`
}

// Reports are the aggregate reports we send to others: RFC 9990.
type Reports struct {
	// From is their sender, "" for no reports; OrgName says who we are.
	From    string `toml:"from"`
	OrgName string `toml:"org_name"`
	Contact string `toml:"contact"`
}

// DNS names the resolvers; none are those of the system.
type DNS struct {
	Servers []Server `toml:"servers"`
	Timeout Duration `toml:"timeout"`
}

// Policy names the policy's file.
type Policy struct {
	File string `toml:"file"`
}

// PolicyBreaker says when a symbol is muted.
type PolicyBreaker struct {
	Enabled Switch `toml:"enabled"`
	// Convictions of the last 200 messages by one symbol alone mute it for Mute.
	Convictions int      `toml:"convictions"`
	Mute        Duration `toml:"mute"`
	Never       []string `toml:"never"`
}

// Rules names the folder of the admin's own content rules.
type Rules struct {
	Dir string `toml:"dir"`
	// SpamAssassin are folders of rules for that program. Lookups lets such rules ask the DNS, and scores those that do.
	SpamAssassin []string `toml:"spamassassin"`
	Lookups      bool     `toml:"lookups"`
}

// Map is a file with one entry a line.
type Map struct {
	File string `toml:"file"`
	// Kind is "address", "domain", "cidr" or "regex", "" for each line what it looks like.
	Kind string `toml:"kind"`
}

// Quarantine says how long mail is held.
type Quarantine struct {
	Keep Duration `toml:"keep"`
	// HoldRejected is how long mail that was refused is kept all the same, 0 for not.
	HoldRejected Duration `toml:"hold_rejected"`
	// Seal encrypts what is held.
	Seal bool `toml:"seal"`
}

// Ledger says how long it is known what was decided and why, and how much of it.
type Ledger struct {
	Keep Duration `toml:"keep"`
	// Subjects is "keep", "hash" or "none".
	Subjects string `toml:"subjects"`
	// MaskAddresses is the age from which on no full address is kept, 0 for ever.
	MaskAddresses Duration `toml:"mask_addresses"`
	// Waiting is the room for records that wait while the database is away.
	Waiting Size `toml:"waiting"`
}

// Database is where ledger, quarantine index, lists and policy versions are.
type Database struct {
	URL string `toml:"url" show:"hidden"`
}

// Console is the admin's console. Without a password it only shows.
type Console struct {
	Listen       Listen `toml:"listen"`
	PasswordFile string `toml:"password_file"`
}

// Alerts say whom trouble is told to.
type Alerts struct {
	// Webhook is a URL that gets JSON, MailTo an address; "" for none.
	Webhook string `toml:"webhook" show:"hidden"`
	MailTo  string `toml:"mail_to"`
	// After is how long trouble must last before it is told.
	After Duration `toml:"after"`
}

// Probe sends test messages through the gateway.
type Probe struct {
	// To is the mailbox for the honest one, "" for no probe.
	To    string   `toml:"to"`
	Every Duration `toml:"every"`
}

// Endpoint is an HTTP server of ours, off without an address.
type Endpoint struct {
	Listen Listen `toml:"listen"`
}

// Log says how much is logged, and in which form.
type Log struct {
	Format string `toml:"format"`
	Level  string `toml:"level"`
}

// Default is the configuration of an empty file.
func Default() *Config {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	c := &Config{
		Hostname: host,
		DataDir:  "/var/lib/postern",
		SMTP: SMTP{
			MaxMessageSize: 50e6, MaxRecipients: 1000, MaxErrors: 20, MaxConnections: 2000, MaxPerNetwork: 50,
			// RFC 5321 section 4.5.3.2: a server waits five minutes for a command.
			IdleTimeout: Duration(5 * time.Minute), SessionTimeout: Duration(time.Hour),
			Tarpit: Duration(5 * time.Second), Reserve: 20,
			BareNewline: "reject", EarlyInput: "reject", HeaderName: "X-Postern",
			StripHeaders: []string{"X-MS-Exchange-Organization-*", "X-Spam-Flag"},
			Disclose:     Disclose{Inbound: "full", Outbound: "full"},
		},
		TLS:           TLS{MinVersion: "1.2", Ciphers: "strict", ACME: ACME{Listen: ":80"}},
		ARC:           ARC{Seal: "changed"},
		DNS:           DNS{Timeout: Duration(5 * time.Second)},
		Quarantine:    Quarantine{Keep: Duration(30 * 24 * time.Hour)},
		Ledger:        Ledger{Keep: Duration(90 * 24 * time.Hour), Subjects: "keep", Waiting: 1 << 30},
		Log:           Log{Format: "text", Level: "info"},
		PolicyBreaker: PolicyBreaker{Convictions: 10, Mute: Duration(time.Hour)},
		Alerts:        Alerts{After: Duration(2 * time.Second)},
		Probe:         Probe{Every: Duration(10 * time.Minute)},
	}
	c.defaultKnocking()
	c.defaultDigest()
	c.defaultAccess()
	c.fill()
	return c
}

// Load reads postern.toml. Its error is Problems: all keys that don't exist, or the first value that can't be read.
// What is readable and still can't work is Check's to say.
func Load(path string) (*Config, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Problems{{File: path, Text: "there is no such file", Remedy: "name it with -c, or use --domain and --next-hop"}}
	}
	if err != nil {
		return nil, Problems{{Text: "can't be read: " + err.Error()}}
	}
	return Parse(path, text)
}

// Parse reads the text of a configuration. Paths in it are relative to the folder of the file it names.
func Parse(file string, text []byte) (*Config, error) {
	c := Default()
	c.file, c.lines = file, IndexLines(text)
	if problems := Strict(file, text, c); problems != nil {
		return nil, problems
	}
	c.fill()
	c.anchor(filepath.Dir(file))
	return c, nil
}

// FlagsDataDir is data_dir where flags stand for a file: in the folder the program was started in, so that a first try
// needs no rights elsewhere.
const FlagsDataDir = "postern-data"

// FromFlags makes the smallest configuration that works: one domain, one next hop, one door.
func FromFlags(domain, nextHop, listen string) (*Config, error) {
	c := Default()
	if listen == "" {
		listen = ":25"
	}
	var hop HostPort
	var at Listen
	var problems Problems
	note := func(flag string, err error) {
		if err != nil {
			text, remedy, _ := strings.Cut(err.Error(), "; ")
			problems = append(problems, Problem{Key: flag, Text: text, Remedy: remedy})
		}
	}
	if nextHop == "" {
		note("--next-hop", fmt.Errorf("is missing; name the mail server behind the gateway, as in --next-hop exchange.internal:25"))
	} else {
		note("--next-hop", hop.UnmarshalText([]byte(nextHop)))
	}
	if domain == "" {
		note("--domain", fmt.Errorf("is missing; name the domain whose mail comes in here, as in --domain example.com"))
	}
	note("--listen", at.UnmarshalText([]byte(listen)))
	if problems != nil {
		return nil, problems
	}
	c.DataDir = FlagsDataDir
	c.Domains = strings.Split(domain, ",")
	c.Doors = []Door{{Name: "mx", Protocol: mail.ProtocolSMTP, Listen: at}}
	c.NextHops = map[string]NextHop{"default": {Addresses: []HostPort{hop}}}
	c.fill()
	return c, nil
}

// fill puts the defaults of tables of which there can be several.
func (c *Config) fill() {
	for i := range c.Doors {
		c.Doors[i].fill()
	}
	for i := range c.LearnFolders {
		c.LearnFolders[i].fill()
	}
	for name, hop := range c.NextHops {
		hop.fill()
		c.NextHops[name] = hop
	}
	c.Outbound.fill()
	c.MailAccess.Learn.fill(true)
	c.MailAccess.KeepMasked.fill(true)
	c.PolicyBreaker.Enabled.fill(true)
	for name, b := range c.MailBackends {
		b.fill()
		c.MailBackends[name] = b
	}
}

func (d *Door) fill() {
	orElse(&d.Protocol, mail.ProtocolSMTP)
	orElse(&d.Name, string(d.Protocol))
	orElse(&d.TLS, "starttls") // without a certificate of the admin's, one is made
	if d.Auth == "smtp" {
		orElse(&d.AuthRoute, "default")
	}
	d.RequireTLSForAuth.fill(true)
	e := &d.Extensions
	for _, s := range []*Switch{&e.Size, &e.EightBitMIME, &e.SMTPUTF8, &e.Pipelining, &e.Chunking, &e.DSN,
		&e.EnhancedStatusCodes, &e.StartTLS, &e.Auth, &e.RequireTLS, &e.Limits} {
		s.fill(true)
	}
}

func (h *NextHop) fill() {
	orElse(&h.Protocol, "smtp")
	orElse(&h.TLS, "opportunistic")
	orElse(&h.WhenDown, "defer")
	orElse(&h.MaxConnections, 40)
	h.Verify.fill(true)
}

func orElse[T comparable](v *T, value T) {
	var none T
	if *v == none {
		*v = value
	}
}

// anchor makes the paths of files independent of where the program was started.
func (c *Config) anchor(dir string) {
	paths := []*string{&c.DataDir, &c.Policy.File, &c.Rules.Dir, &c.Outbound.CAFile, &c.Outbound.PasswordFile,
		&c.State.PasswordFile, &c.State.SentinelPasswordFile, &c.State.CAFile, &c.Recipients.List, &c.Recipients.LDAP.CAFile,
		&c.Recipients.LDAP.PasswordFile, &c.Geo.ASN, &c.Geo.Country, &c.Console.PasswordFile,
		&c.MailAccess.HTTP.NonceFile, &c.MailAccess.HTTP.TokenFile}
	for i := range c.TLS.Certificates {
		paths = append(paths, &c.TLS.Certificates[i].Cert, &c.TLS.Certificates[i].Key)
	}
	for _, p := range paths {
		*p = under(dir, *p)
	}
	for name, hop := range c.NextHops {
		hop.CAFile, hop.PasswordFile = under(dir, hop.CAFile), under(dir, hop.PasswordFile)
		c.NextHops[name] = hop
	}
	for name, b := range c.MailBackends {
		b.CAFile, b.MasterPasswordFile = under(dir, b.CAFile), under(dir, b.MasterPasswordFile)
		c.MailBackends[name] = b
	}
	for name, m := range c.Maps {
		m.File = under(dir, m.File)
		c.Maps[name] = m
	}
	for _, d := range c.DKIM {
		for selector, key := range d.Keys {
			d.Keys[selector] = under(dir, key)
		}
	}
}

func under(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
