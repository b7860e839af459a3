package config

import (
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"

	"postern/internal/mail"
)

// Known is what the configuration must know of a filter: its Spec's name, help and settings.
type Known struct {
	Name, Help string
	// Settings is a pointer to the filter's settings with their defaults, nil if it has none.
	Settings any
	// Disabled is set for a filter that is off unless the file switches it on.
	Disabled bool
}

// Check says what can't work, in the order of the file's sections. Without filters their sections are not looked at.
// It reads files that are named, and touches no network.
func (c *Config) Check(filters []Known) Problems {
	k := checker{c: c}
	if !k.top() {
		return k.found
	}
	k.doors()
	k.smtp()
	k.nextHops()
	k.outbound()
	k.tls()
	k.dkim()
	k.access()
	if filters != nil {
		k.filters(filters)
	}
	k.rest()
	return k.found
}

type checker struct {
	c     *Config
	found Problems
}

// bad notes a problem at a key: "what is wrong; what to do".
func (k *checker) bad(key, format string, args ...any) {
	text, remedy, _ := strings.Cut(fmt.Sprintf(format, args...), "; ")
	k.found = append(k.found, Problem{k.c.file, k.c.lines.Line(key), key, text, remedy})
}

func (k *checker) oneOf(key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		k.bad(key, "%q is not possible here; write one of \"%s\"", value, strings.Join(allowed, `", "`))
	}
}

func (k *checker) positive(key string, n int) {
	if n < 1 {
		k.bad(key, "is %d; it must be 1 or more", n)
	}
}

func (k *checker) readable(key, path string) {
	if path == "" {
		return
	}
	f, err := os.Open(path)
	if err != nil {
		k.bad(key, "can't be read: %v; mend the path or the file's permissions", err)
		return
	}
	_ = f.Close() // opened for reading only: nothing can be lost
}

func (k *checker) domain(key, name string) {
	if !mail.ValidDomain(strings.TrimPrefix(name, ".")) {
		k.bad(key, "%q is not a domain; write \"example.com\", or \".example.com\" for all names below it", name)
	}
}

// top checks the keys above all sections. It is false for a configuration with nothing in it.
func (k *checker) top() bool {
	c := k.c
	if len(c.Domains) == 0 && len(c.NextHops) == 0 && len(c.Doors) == 0 {
		k.bad("", "nothing is configured; it needs domains = [\"example.com\"], a [[door]] with listen = \":25\", and "+
			"[next_hop.\"default\"] with addresses = [\"exchange.internal:25\"]")
		return false
	}
	if !mail.ValidDomain(c.Hostname) {
		k.bad("hostname", "%q is not a host name; write the gateway's full name, as in \"mx.example.com\"", c.Hostname)
	}
	if c.DataDir == "" {
		k.bad("data_dir", "is empty; name a folder, as in \"/var/lib/postern\"")
	}
	k.domains()
	for i, n := range c.TrustedNetworks {
		if n.Bits() == 0 {
			k.bad(fmt.Sprintf("trusted_networks[%d]", i), "%q is the whole internet, which would make this an open relay; name your own networks", n)
		}
	}
	return true
}

// domains checks that each domain is named once and, if a door takes mail in for it, has a next hop.
func (k *checker) domains() {
	c := k.c
	receives := slices.ContainsFunc(c.Doors, func(d Door) bool { return d.Receives() })
	seen := map[string]bool{}
	for i, d := range c.Domains {
		key := fmt.Sprintf("domains[%d]", i)
		k.domain(key, d)
		if lower := strings.ToLower(d); seen[lower] {
			k.bad(key, "%q stands there twice; take one away", d)
		} else {
			seen[lower] = true
		}
		if receives && !strings.HasPrefix(d, ".") && c.Route(d).IsZero() {
			k.bad(key, "%q has no next hop; add [next_hop.%q] or [next_hop.\"default\"]", d, d)
		}
	}
}

func (k *checker) doors() {
	c := k.c
	if len(c.Doors) == 0 {
		k.bad("door", "there is none; add [[door]] with listen = \":25\"")
	}
	names, addresses := map[string]bool{}, map[Listen]bool{}
	for i := range c.Doors {
		d := &c.Doors[i]
		path := fmt.Sprintf("door[%d]", i)
		k.door(path, d)
		if names[d.Name] {
			k.bad(path+".name", "another door is called %q; give each door a name of its own", d.Name)
		}
		if addresses[d.Listen] && !strings.HasSuffix(string(d.Listen), ":0") {
			k.bad(path+".listen", "another door listens on %s; give each door an address of its own", d.Listen)
		}
		names[d.Name], addresses[d.Listen] = true, true
	}
}

func (k *checker) door(path string, d *Door) {
	c := k.c
	k.oneOf(path+".protocol", string(d.Protocol), "smtp", "submission", "imap", "pop3")
	k.oneOf(path+".bare_newline", d.BareNewline, "", "reject", "normalise")
	k.oneOf(path+".tls", d.TLS, "none", "starttls", "implicit")
	if d.Listen == "" {
		k.bad(path+".listen", "is missing; write an address, as in \":25\" or \"127.0.0.1:2525\"")
	}
	if d.MaxConnections < 0 {
		k.bad(path+".max_connections", "is %d; write 0 for no limit of its own, or a number", d.MaxConnections)
	}
	k.proxies(path, d)
	if d.Protocol == mail.ProtocolSMTP && len(c.Domains) == 0 {
		k.bad("domains", "is missing; list the domains whose mail comes in at door %q", d.Name)
	}
	if d.FromClient && d.Receives() && !d.Transparent {
		k.bad(path+".from_client", "has no effect without transparent = true; for a fixed next hop there is xclient")
	}
	if d.Receives() {
		k.auth(path, d)
	} else {
		k.accessDoor(path, d)
	}
}

// proxies checks that the PROXY protocol and the networks that may speak it are set together.
func (k *checker) proxies(path string, d *Door) {
	if d.ProxyProtocol && len(d.ProxyNetworks) == 0 {
		k.bad(path+".proxy_protocol", "says nothing of who may use it; list the proxies in proxy_networks")
	}
	if !d.ProxyProtocol && len(d.ProxyNetworks) > 0 {
		k.bad(path+".proxy_networks", "has no effect; add proxy_protocol = true")
	}
}

func (k *checker) auth(path string, d *Door) {
	k.oneOf(path+".auth", d.Auth, "", "smtp", "imap")
	switch {
	case d.Auth == "" && d.Protocol == mail.ProtocolSubmission:
		k.bad(path+".auth", "is missing; say who checks logins: \"smtp\" (the next hop of auth_route) or \"imap\" (the server in [mail_backend], or at auth_address)")
	case d.Auth == "imap":
		k.authIMAP(path, d)
	case d.Auth == "smtp":
		k.authSMTP(path, d)
	}
	k.authServer(path, d)
	if d.Auth != "" && d.TLS == "none" && d.RequireTLSForAuth.On() {
		k.bad(path+".auth", "nobody can log in without TLS; set tls = \"starttls\", or require_tls_for_auth = false in a lab")
	}
}

// authServer checks the keys that name the server of auth = "imap".
func (k *checker) authServer(path string, d *Door) {
	if d.AuthBackend != "" && d.Auth != "imap" {
		k.bad(path+".auth_backend", "has no effect without auth = \"imap\"; set that, or take it away")
	}
	if d.AuthAddress != "" {
		var h HostPort
		if err := h.UnmarshalText([]byte(d.AuthAddress)); err != nil {
			k.bad(path+".auth_address", "%v", err)
		}
	}
}

// authSMTP checks the next hop that logins are checked at.
func (k *checker) authSMTP(path string, d *Door) {
	hop, ok := k.c.NextHops[d.AuthRoute]
	switch {
	case !ok:
		k.bad(path+".auth_route", "there is no [next_hop.%q]; name one that there is", d.AuthRoute)
	case hop.TLS == "opportunistic", hop.TLS == "none" && !hop.onThisMachine():
		// RFC 4954 section 9: whoever sits between would have all users' passwords
		k.bad(path+".auth", "would send users' passwords to [next_hop.%q] over tls = %q, which proves nothing; set tls = \"required\" or \"implicit\" there, and ca_file for a certificate of your own", d.AuthRoute, hop.TLS)
	}
}

// authIMAP checks which server is asked for logins.
func (k *checker) authIMAP(path string, d *Door) {
	backend, ok := k.c.MailBackends[d.AuthBackend]
	switch {
	case d.AuthAddress != "" && d.AuthBackend != "":
		k.bad(path+".auth_address", "and auth_backend name two servers; take one of the two away: auth_backend has all options, auth_address is the short form")
	case d.AuthAddress != "":
	case d.AuthBackend != "" && !ok:
		k.bad(path+".auth_backend", "there is no [mail_backend.%q]; name one that there is, or add it with imap = [\"dovecot.internal:993\"]", d.AuthBackend)
	case d.AuthBackend != "" && len(backend.IMAP) == 0:
		k.bad(path+".auth_backend", "[mail_backend.%q] has no IMAP server; add imap = [\"dovecot.internal:993\"] there", d.AuthBackend)
	case d.AuthBackend == "" && !slices.ContainsFunc(slices.Collect(maps.Values(k.c.MailBackends)), func(b MailBackend) bool { return len(b.IMAP) > 0 }):
		k.bad(path+".auth_address", "is missing; name the IMAP server that checks logins, as in \"dovecot.internal:993\", or one with all its options: [mail_backend.\"default\"] with imap = [\"dovecot.internal:993\"]")
	}
}

// onThisMachine says whether all addresses of a hop are loopback or sockets, so that nothing crosses a network.
func (h NextHop) onThisMachine() bool {
	return !slices.ContainsFunc(h.Addresses, func(a HostPort) bool { return !a.onThisMachine() })
}

func (a HostPort) onThisMachine() bool {
	host, _, err := net.SplitHostPort(string(a))
	return err != nil && strings.HasPrefix(string(a), "/") || err == nil && onThisMachine(host)
}

func (k *checker) smtp() {
	s := &k.c.SMTP
	if s.MaxMessageSize < 64<<10 {
		// RFC 5321 section 4.5.3.1.7: at least 64K octets.
		k.bad("smtp.max_message_size", "is less than 64KiB, the least RFC 5321 allows; write for example \"50MB\"")
	}
	if s.MaxRecipients < 100 {
		// RFC 5321 section 4.5.3.1.8: at least 100 recipients.
		k.bad("smtp.max_recipients", "is %d; RFC 5321 wants room for 100 or more", s.MaxRecipients)
	}
	k.positive("smtp.max_errors", s.MaxErrors)
	k.positive("smtp.max_connections", s.MaxConnections)
	k.positive("smtp.max_per_network", s.MaxPerNetwork)
	if s.IdleTimeout < 1e9 {
		k.bad("smtp.idle_timeout", "is less than a second; \"5m\" is what RFC 5321 asks for")
	}
	if s.SessionTimeout < s.IdleTimeout {
		k.bad("smtp.session_timeout", "is shorter than idle_timeout; make it longer, as in \"1h\"")
	}
	if s.GreetDelay > 60e9 {
		k.bad("smtp.greet_delay", "is more than a minute; honest servers hang up before that")
	}
	if s.Tarpit > 60e9 {
		k.bad("smtp.tarpit", "is more than a minute; it binds our connections as much as theirs")
	}
	if s.Reserve < 0 || s.Reserve > 100 {
		k.bad("smtp.reserve", "is %d; write a share of max_connections in percent, from 0 to 100", s.Reserve)
	}
	k.oneOf("smtp.bare_newline", s.BareNewline, "reject", "normalise")
	k.oneOf("smtp.early_input", s.EarlyInput, "reject", "report")
	k.oneOf("smtp.disclose.inbound", s.Disclose.Inbound, "full", "short")
	k.oneOf("smtp.disclose.outbound", s.Disclose.Outbound, "full", "short")
	k.headerEdits(s)
}

// headerEdits checks what is taken out of headers and what is written into them.
func (k *checker) headerEdits(s *SMTP) {
	for i, name := range s.StripHeaders {
		if !isFieldName(strings.TrimSuffix(name, "*")) {
			k.bad(fmt.Sprintf("smtp.strip_headers[%d]", i), "%q is not the name of a header field; write a name, or the front of one and \"*\", as in \"X-MS-Exchange-Organization-*\"", name)
		}
	}
	if !isFieldName(s.HeaderName) {
		k.bad("smtp.header_name", "%q is not the name of a header field; use letters, digits and hyphens, as in \"X-Postern\"", s.HeaderName)
	}
	if strings.Trim(s.SubjectTag, " !#$%&'()*+,-./0123456789:;<=>@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_abcdefghijklmnopqrstuvwxyz{|}~") != "" {
		k.bad("smtp.subject_tag", "%q holds characters that a header can't; use plain ASCII, as in \"[SPAM]\"", s.SubjectTag)
	}
}

func isFieldName(name string) bool {
	return name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
