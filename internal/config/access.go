package config

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/mail"
)

// MailAccess holds for all POP3 and IMAP doors.
type MailAccess struct {
	// Mask is the disposition from which on a message is masked when it is fetched: "quarantine" or "reject".
	Mask string `toml:"mask"`
	// Notice stands in a masked message; {id} is what the admin can look up.
	Notice      string   `toml:"notice"`
	ScanTimeout Duration `toml:"scan_timeout"`
	// OnTimeout is "later" or "pass"; "mask" is an old word for "later".
	OnTimeout string `toml:"on_timeout"`
	// Trust is how long a verdict holds before a message is scanned again.
	Trust Duration `toml:"trust"`
	// KeepMasked holds the original of each masked message in the quarantine: a client may delete what it has fetched.
	KeepMasked Switch `toml:"keep_masked"`
	// Learn makes lessons of what users move into and out of Junk; Junk names it where the server does not.
	Learn Switch   `toml:"learn"`
	Junk  []string `toml:"junk"`

	MaxConnections int      `toml:"max_connections"`
	MaxPerNetwork  int      `toml:"max_per_network"`
	MaxSessions    int      `toml:"max_sessions_per_user"`
	FailDelay      Duration `toml:"fail_delay"`
	MaxAppend      Size     `toml:"max_append"`
	// Tokens offers XOAUTH2 and OAUTHBEARER, Opaque relays these mechanisms to OpaqueBackend.
	Tokens        bool     `toml:"tokens"`
	Opaque        []string `toml:"opaque"`
	OpaqueBackend string   `toml:"opaque_backend"`
	Authzid       bool     `toml:"authorization_ids"`
	// AppPasswordsOnly keeps those out with other passwords who have an app password.
	AppPasswordsOnly bool `toml:"app_passwords_only"`
	// NotifyFrom is the sender of notices on logins from new networks, "" for none.
	NotifyFrom string `toml:"notify_from"`

	LDAP  AccessLDAP   `toml:"ldap"`
	HTTP  AccessHTTP   `toml:"http"`
	Rules []AccessRule `toml:"rule"`
}

// AccessLDAP finds a user's server in the directory of [recipients.ldap].
type AccessLDAP struct {
	// Attribute holds the server's name, "" for no look-up. Filter is as in [recipients.ldap], whose own is taken if "".
	Attribute string `toml:"attribute"`
	Filter    string `toml:"filter"`
}

// AccessHTTP asks a server about every login.
type AccessHTTP struct {
	URL string `toml:"url"`
	// Form is "nginx" or "dovecot".
	Form      string   `toml:"form"`
	Timeout   Duration `toml:"timeout"`
	NonceFile string   `toml:"nonce_file"`
	TokenFile string   `toml:"token_file"`
}

// AccessRule limits when and from where users may log in.
type AccessRule struct {
	Users     []string        `toml:"users"`
	Protocols []mail.Protocol `toml:"protocols"`
	Networks  Networks        `toml:"networks"`
	Countries []string        `toml:"countries"`
	// Hours is "08:00-18:00" in local time, Days are "mon" to "sun".
	Hours string   `toml:"hours"`
	Days  []string `toml:"days"`
}

// MailBackend is a server with mailboxes, with its stand-ins in order.
type MailBackend struct {
	IMAP []HostPort `toml:"imap"`
	POP3 []HostPort `toml:"pop3"`
	// TLS is "implicit", "starttls" or "none".
	TLS        string `toml:"tls"`
	CAFile     string `toml:"ca_file"`
	ServerName string `toml:"server_name"`
	Verify     Switch `toml:"verify"`
	// ForwardClient tells the server the client's address.
	ForwardClient bool `toml:"forward_client"`
	// Users, Domains and Pattern say whom it serves.
	Users   []string `toml:"users"`
	Domains []string `toml:"domains"`
	Pattern string   `toml:"pattern"`
	// LoginAs is the user's name there, from {user}, {local} and {domain}.
	LoginAs            string `toml:"login_as"`
	MasterUser         string `toml:"master_user"`
	MasterSeparator    string `toml:"master_separator"`
	MasterPasswordFile string `toml:"master_password_file"`
}

// defaultAccess are the defaults of the sections above.
func (c *Config) defaultAccess() {
	c.MailAccess = MailAccess{
		Mask: "quarantine", OnTimeout: "later", ScanTimeout: Duration(time.Minute), Trust: Duration(24 * time.Hour),
		Notice:         "This message was withheld by the mail gateway, because its content is dangerous or not wanted here. If you need it, give your administrator this id: {id}",
		MaxConnections: 5000, MaxPerNetwork: 200, MaxSessions: 32, FailDelay: Duration(3 * time.Second), MaxAppend: 100e6,
		HTTP: AccessHTTP{Form: "nginx", Timeout: Duration(2 * time.Second)},
	}
}

func (b *MailBackend) fill() {
	orElse(&b.TLS, "implicit")
	b.Verify.fill(true)
}

// Receives says whether a door takes mail in: SMTP, not POP3 or IMAP.
func (d *Door) Receives() bool {
	return d.Protocol == mail.ProtocolSMTP || d.Protocol == mail.ProtocolSubmission
}

// accessDoor checks a door for POP3 or IMAP.
func (k *checker) accessDoor(path string, d *Door) {
	for _, key := range []struct {
		name string
		set  bool
	}{{"auth", d.Auth != ""}, {"auth_route", d.AuthRoute != ""}, {"auth_backend", d.AuthBackend != ""}, {"auth_address", d.AuthAddress != ""}, {"xclient_networks", len(d.XClientNetworks) > 0}} {
		if key.set {
			k.bad(path+"."+key.name, "has no effect at a door for %s; the servers in [mail_backend] check logins", d.Protocol)
		}
	}
	if d.Transparent {
		if d.TLS == "none" && d.RequireTLSForAuth.On() {
			k.bad(path+".tls", "nobody can log in without TLS; set tls = \"implicit\" or \"starttls\", or require_tls_for_auth = false in a lab")
		}
		return
	}
	port := map[mail.Protocol]string{mail.ProtocolIMAP: "993", mail.ProtocolPOP3: "995"}[d.Protocol]
	if port == "" { // no such protocol: that has been said
		return
	}
	if !slices.ContainsFunc(slices.Collect(maps.Values(k.c.MailBackends)), func(b MailBackend) bool { return len(b.addresses(d.Protocol)) > 0 }) {
		k.bad("mail_backend", "no server is named for door %q; add [mail_backend.\"default\"] with %s = [\"exchange.internal:%s\"]", d.Name, d.Protocol, port)
	}
	if d.TLS == "none" && d.RequireTLSForAuth.On() {
		k.bad(path+".tls", "nobody can log in without TLS; set tls = \"implicit\" or \"starttls\", or require_tls_for_auth = false in a lab")
	}
}

func (b MailBackend) addresses(protocol mail.Protocol) []HostPort {
	if protocol == mail.ProtocolPOP3 {
		return b.POP3
	}
	return b.IMAP
}

// access checks [mail_access] and [mail_backend].
func (k *checker) access() {
	a := &k.c.MailAccess
	k.oneOf("mail_access.mask", a.Mask, "quarantine", "reject")
	k.oneOf("mail_access.on_timeout", a.OnTimeout, "later", "pass", "mask")
	if a.ScanTimeout < Duration(time.Second) || a.ScanTimeout > Duration(10*time.Minute) {
		k.bad("mail_access.scan_timeout", "is out of range; write a duration from \"1s\" to \"10m\"")
	}
	if len(a.Notice) > 1000 || strings.ContainsFunc(a.Notice, isNotPlain) {
		k.bad("mail_access.notice", "is not plain ASCII of up to 1000 characters; it must fit into any message")
	}
	k.positive("mail_access.max_connections", a.MaxConnections)
	k.positive("mail_access.max_per_network", a.MaxPerNetwork)
	k.positive("mail_access.max_sessions_per_user", a.MaxSessions)
	if a.FailDelay > Duration(30*time.Second) {
		k.bad("mail_access.fail_delay", "is more than half a minute; clients give up before that")
	}
	k.opaque(a)
	if a.LDAP.Attribute != "" && k.c.Recipients.LDAP.URL == "" {
		k.bad("mail_access.ldap.attribute", "has no effect without a directory; name it with [recipients.ldap] url")
	}
	k.accessHTTP(&a.HTTP)
	for i := range a.Rules {
		k.accessRule("mail_access.rule["+strconv.Itoa(i)+"]", &a.Rules[i])
	}
	k.backends()
}

// isNotPlain holds for all but printable ASCII and the line end.
func isNotPlain(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }

// opaque checks the mechanisms whose words are handed on as they are.
func (k *checker) opaque(a *MailAccess) {
	if len(a.Opaque) == 0 {
		return
	}

	if _, ok := k.c.MailBackends[a.OpaqueBackend]; !ok {
		k.bad("mail_access.opaque_backend", "there is no [mail_backend.%q]; name the one that takes these mechanisms", a.OpaqueBackend)
	}
	for i, m := range a.Opaque {
		k.oneOf(fmt.Sprintf("mail_access.opaque[%d]", i), m, "NTLM", "GSSAPI", "GSS-SPNEGO")
	}
}

// backends checks [mail_backend].
func (k *checker) backends() {
	all := 0
	for _, name := range slices.Sorted(maps.Keys(k.c.MailBackends)) {
		b := k.c.MailBackends[name]
		k.backend(JoinKey("mail_backend", name), &b)
		if len(b.Users)+len(b.Domains) == 0 && b.Pattern == "" {
			all++
		}
	}

	if all > 1 {
		k.bad("mail_backend", "%d of them serve everybody; give all but one its users, domains or pattern", all)
	}
}

func (k *checker) accessHTTP(h *AccessHTTP) {
	k.oneOf("mail_access.http.form", h.Form, "nginx", "dovecot")
	k.readable("mail_access.http.nonce_file", h.NonceFile)
	k.readable("mail_access.http.token_file", h.TokenFile)
	if h.URL == "" {
		return
	}
	u, isServer := serverURL(h.URL, "http", "https")
	if !isServer {
		k.bad("mail_access.http.url", "is not the URL of a server; write it as in \"https://auth.internal/mail\"")
	} else if u.Scheme == "http" && h.Form == "nginx" && !onThisMachine(u.Hostname()) {
		k.bad("mail_access.http.url", "would send passwords over the net in the clear; use https")
	}
}

// serverURL reads a URL, nil if the text is none. ok says that it names a server, by one of these schemes.
func serverURL(text string, schemes ...string) (u *url.URL, ok bool) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, false
	}
	return u, u.Host != "" && slices.Contains(schemes, u.Scheme)
}

func (k *checker) accessRule(path string, r *AccessRule) {
	if len(r.Users) == 0 {
		k.bad(path+".users", "is missing; name users, \"@example.com\" for all of a domain, or \"*\" for everybody")
	}
	for i, p := range r.Protocols {
		k.oneOf(fmt.Sprintf("%s.protocols[%d]", path, i), string(p), "imap", "pop3")
	}
	if len(r.Countries) > 0 && k.c.Geo.Country == "" {
		k.bad(path+".countries", "can't be told; name a database with [geo] country")
	}
	for i, c := range r.Countries {
		if len(c) != 2 {
			k.bad(fmt.Sprintf("%s.countries[%d]", path, i), "%q is not a country; write the two letters of ISO 3166, as in \"DE\"", c)
		}
	}
	if _, _, err := r.Minutes(); err != nil {
		k.bad(path+".hours", "%v", err)
	}
	for i, d := range r.Days {
		if _, ok := Weekday(d); !ok {
			k.bad(fmt.Sprintf("%s.days[%d]", path, i), "%q is not a day; write \"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\" or \"sun\"", d)
		}
	}
}

// Minutes are the bounds of the hours in minutes since midnight, both 0 for the whole day.
func (r *AccessRule) Minutes() (from, to int, err error) {
	if r.Hours == "" {
		return 0, 0, nil
	}
	first, last, ok := strings.Cut(r.Hours, "-")
	a, err1 := time.Parse("15:04", strings.TrimSpace(first))
	b, err2 := time.Parse("15:04", strings.TrimSpace(last))
	if !ok || err1 != nil || err2 != nil {
		return 0, 0, fmt.Errorf("%q is not a span of hours; write it as in \"08:00-18:00\"", r.Hours)
	}
	return a.Hour()*60 + a.Minute(), b.Hour()*60 + b.Minute(), nil
}

// Weekday reads "mon" to "sun".
func Weekday(name string) (time.Weekday, bool) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if strings.EqualFold(d.String()[:3], name) {
			return d, true
		}
	}
	return 0, false
}

func (k *checker) backend(path string, b *MailBackend) {
	k.oneOf(path+".tls", b.TLS, "implicit", "starttls", "none")
	if len(b.IMAP)+len(b.POP3) == 0 {
		k.bad(path+".imap", "is missing; name the server, as in [\"exchange.internal:993\"], or with pop3 that of POP3")
	}
	if b.TLS == "none" {
		k.onlyLocal(path+".imap", b.IMAP)
		k.onlyLocal(path+".pop3", b.POP3)
	}
	k.readable(path+".ca_file", b.CAFile)
	k.readable(path+".master_password_file", b.MasterPasswordFile)
	if b.CAFile != "" && !b.Verify.On() {
		k.bad(path+".ca_file", "has no effect with verify = false; take one of the two away")
	}
	if _, err := regexp.Compile(b.Pattern); err != nil {
		k.bad(path+".pattern", "is not a regular expression: %v; write it as in \"^sales-\"", err)
	}
	if (b.MasterUser == "") != (b.MasterPasswordFile == "") {
		k.bad(path+".master_user", "needs both master_user and master_password_file; name the missing one")
	}
	if rest := strings.NewReplacer("{user}", "", "{local}", "", "{domain}", "").Replace(b.LoginAs); strings.ContainsAny(rest, "{}") {
		k.bad(path+".login_as", "%q holds what is not known; {user}, {local} and {domain} are", b.LoginAs)
	}
}

// onlyLocal checks that servers that are spoken to without TLS are on this machine.
func (k *checker) onlyLocal(path string, servers []HostPort) {
	for i, a := range servers {
		if !onThisMachine(hostOf(string(a))) {
			k.bad(fmt.Sprintf("%s[%d]", path, i), "%s would get passwords over the net in the clear; set tls = \"implicit\" or \"starttls\"", a)
		}
	}
}

// alerts checks [alerts] and [probe].
func (k *checker) alerts() {
	a, p := &k.c.Alerts, &k.c.Probe
	k.positive("breaker.convictions", k.c.PolicyBreaker.Convictions)
	if _, isServer := serverURL(a.Webhook, "http", "https"); a.Webhook != "" && !isServer {
		k.bad("alerts.webhook", "is not a URL; write it as in \"https://chat.example.com/hooks/abc\"")
	}
	for key, address := range map[string]string{"alerts.mail_to": a.MailTo, "probe.to": p.To} {
		if _, err := mail.ParseAddress(address); address != "" && err != nil {
			k.bad(key, "%q is not an address; write it as in \"admin@example.com\"", address)
		}
	}
	if p.Every < Duration(10*time.Second) {
		k.bad("probe.every", "is less than 10s; the probe would be most of the mail")
	}
}

func hostOf(address string) string {
	if strings.HasPrefix(address, "/") {
		return "localhost"
	}
	host, _, _ := strings.Cut(address, ":")
	if strings.HasPrefix(address, "[") {
		host, _, _ = strings.Cut(address[1:], "]")
	}
	return host
}
