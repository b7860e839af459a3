package config

import (
	"net/netip"
	"strings"
	"time"
)

// State is where the gateway keeps what it remembers of clients: in its memory, or in Redis, where many gateways share
// it.
type State struct {
	// Redis are its addresses: one server, several of a cluster, or the Sentinels that know the master.
	Redis  []HostPort `toml:"redis"`
	Master string     `toml:"master"`
	// Cluster says that one address is that of a cluster; several without a master always are.
	Cluster              bool   `toml:"cluster"`
	User                 string `toml:"user"`
	PasswordFile         string `toml:"password_file"`
	SentinelPasswordFile string `toml:"sentinel_password_file"`
	TLS                  bool   `toml:"tls"`
	CAFile               string `toml:"ca_file"`
	Database             int    `toml:"database"`
	Prefix               string `toml:"prefix"`
	MaxKeys              int    `toml:"max_keys"`
}

// Bans say when who guesses passwords is kept out.
type Bans struct {
	PerUser    int      `toml:"per_user"`
	PerClient  int      `toml:"per_client"`
	PerNetwork int      `toml:"per_network"`
	Window     Duration `toml:"window"`
	First      Duration `toml:"first"`
	Longest    Duration `toml:"longest"`
	Never      Networks `toml:"never"`
}

// Recipients say how it is known who is a recipient: from a list, a directory, or from what the next hop said before.
type Recipients struct {
	List    string   `toml:"list"`
	Known   Duration `toml:"known"`
	Unknown Duration `toml:"unknown"`
	LDAP    LDAP     `toml:"ldap"`
}

// LDAP is a directory that knows the recipients: RFC 4511.
type LDAP struct {
	URL          string `toml:"url"`
	StartTLS     bool   `toml:"starttls"`
	CAFile       string `toml:"ca_file"`
	BindDN       string `toml:"bind_dn"`
	PasswordFile string `toml:"password_file"`
	BaseDN       string `toml:"base_dn"`
	Filter       string `toml:"filter"`
	// GroupAttribute holds the groups of a user, as names or as the DNs of the groups; "" asks for none.
	GroupAttribute string `toml:"group_attribute"`
	// LoginAttribute holds the name that a user logs in with: it says who may write as an address. "" asks for none.
	LoginAttribute string   `toml:"login_attribute"`
	Timeout        Duration `toml:"timeout"`
}

// Geo names databases in MaxMind's form that say where an address belongs.
type Geo struct {
	ASN     string `toml:"asn"`
	Country string `toml:"country"`
}

// defaultKnocking are the defaults of the sections above.
func (c *Config) defaultKnocking() {
	c.State = State{Prefix: "postern:", MaxKeys: 5_000_000}
	c.Bans = Bans{PerUser: 5, PerClient: 20, PerNetwork: 100, Window: Duration(30 * time.Minute), First: Duration(time.Minute),
		Longest: Duration(24 * time.Hour)}
	c.Recipients = Recipients{Known: Duration(time.Hour), Unknown: Duration(10 * time.Minute), LDAP: LDAP{
		Filter: "(|(proxyAddresses=smtp:{address})(mail={address}))", LoginAttribute: "sAMAccountName", Timeout: Duration(5 * time.Second)}}
}

// knocking checks the sections above.
func (k *checker) knocking() {
	k.redis(&k.c.State)
	if k.c.State.MaxKeys < 10_000 {
		k.bad("state.max_keys", "is %d; below 10000 even a small site forgets its friends", k.c.State.MaxKeys)
	}
	b := &k.c.Bans
	k.positive("bans.per_user", b.PerUser)
	k.positive("bans.per_client", b.PerClient)
	k.positive("bans.per_network", b.PerNetwork)
	if b.Longest < b.First {
		k.bad("bans.longest", "is shorter than first; make it longer, as in \"1d\"")
	}
	k.readable("recipients.list", k.c.Recipients.List)
	k.ldap(&k.c.Recipients.LDAP)
	k.readable("geo.asn", k.c.Geo.ASN)
	k.readable("geo.country", k.c.Geo.Country)
	k.readable("console.password_file", k.c.Console.PasswordFile)
	if listen := k.c.Console.Listen; listen != "" && !HostPort(listen).onThisMachine() && k.c.Console.PasswordFile == "" {
		k.bad("console.password_file", "is missing: at %s everybody who reaches it could read about all mail; name a file with a password in its first line, or listen = \"127.0.0.1:8025\"", listen)
	}
}

// redis checks the servers that several gateways share, and what goes with which kind of them.
func (k *checker) redis(s *State) {
	switch {
	case len(s.Redis) == 0:
		k.withoutRedis(s)
	case s.Master != "" && s.Cluster:
		k.bad("state.cluster", "a cluster has no Sentinels; take away master or cluster")
	case s.Database != 0 && (s.Cluster || len(s.Redis) > 1 && s.Master == ""):
		k.bad("state.database", "a cluster has only database 0; take the key away")
	case s.CAFile != "" && !s.TLS: // or the password crosses the net in the clear, and nobody notices
		k.bad("state.ca_file", "has no effect without TLS; set tls = true")
	}
	k.readable("state.password_file", s.PasswordFile)
	k.readable("state.sentinel_password_file", s.SentinelPasswordFile)
	k.readable("state.ca_file", s.CAFile)
}

// withoutRedis names the keys that have no effect while no server is listed.
func (k *checker) withoutRedis(s *State) {
	for _, key := range []struct {
		name string
		set  bool
	}{{"master", s.Master != ""}, {"cluster", s.Cluster}, {"user", s.User != ""}, {"tls", s.TLS}} {
		if key.set {
			k.bad("state."+key.name, "has no effect; list the servers in redis")
		}
	}
}

func (k *checker) ldap(l *LDAP) {
	if l.URL == "" {
		return
	}
	u, isServer := serverURL(l.URL, "ldap", "ldaps")
	if !isServer {
		k.bad("recipients.ldap.url", "is not the URL of a directory; write it as in \"ldaps://dc1.corp.example\"")
	}
	inClear := u != nil && u.Scheme == "ldap" && !l.StartTLS
	if inClear && l.PasswordFile != "" && !onThisMachine(u.Hostname()) {
		k.bad("recipients.ldap.password_file", "the password would cross the net in the clear; write ldaps:// in url, or starttls = true")
	}
	if l.BaseDN == "" {
		k.bad("recipients.ldap.base_dn", "is missing; name the branch with the users, as in \"dc=corp,dc=example\"")
	}
	if !strings.Contains(l.Filter, "{address}") {
		k.bad("recipients.ldap.filter", "does not say where the address goes; write {address} in it")
	}
	k.readable("recipients.ldap.ca_file", l.CAFile)
	k.readable("recipients.ldap.password_file", l.PasswordFile)
}

// onThisMachine says whether a host of a URL is a loopback address.
func onThisMachine(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
