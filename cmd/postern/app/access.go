package app

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"postern/internal/config"
	"postern/internal/dns/asn"
	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/recall"
	"postern/proxy"
	"postern/proxy/access"
	"postern/proxy/relay/recipients"
	"postern/proxy/retrieval"
	"postern/proxy/retrieval/seal"
)

// AppPasswordsFile is where the app passwords are.
func AppPasswordsFile(cfg *config.Config) string {
	return filepath.Join(cfg.DataDir, "app-passwords.json")
}

// newGate makes the gate of all POP3 and IMAP doors.
func (a *App) newGate() (*access.Gate, error) {
	door := a.cfg.MailAccess
	o := access.Options{
		AppPasswords: access.OpenAppPasswords(AppPasswordsFile(a.cfg), door.AppPasswordsOnly), Bans: a.bans, State: a.out.State,
		Ledger: a.Ledger, Trusted: a.trusted, Opaque: door.OpaqueBackend, OpaqueMechanisms: door.Opaque, Tokens: door.Tokens, Authzid: door.Authzid,
		MaxSessions: door.MaxSessions, FailDelay: time.Duration(door.FailDelay), FromClient: map[string]bool{}, Transparent: map[string]access.Backend{},
		Now: a.out.Now, Log: a.out.Log,
	}
	var err error
	if o.Routes, err = MailRoutes(a.cfg); err != nil {
		return nil, err
	}
	for _, d := range a.cfg.Doors {
		o.FromClient[d.Name] = d.FromClient
		if d.Transparent && !d.Receives() {
			o.Transparent[d.Name] = access.Backend{Name: "transparent", TLS: access.TLSMode(d.TLS), Trust: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // the client does not name the server it wanted
		}
	}
	for _, r := range door.Rules {
		o.Rules = append(o.Rules, accessRule(r))
	}
	if a.cfg.Geo.Country != "" {
		db, err := asn.Open(a.cfg.Geo.Country) // for as long as the program runs
		if err != nil {
			return nil, fmt.Errorf("geo.country: %w", err)
		}
		o.Country = db.Country
	}
	if a.directory != nil {
		o.Directory, o.HostAttribute = a.directory, door.LDAP.Attribute
	}
	o.Away = a.mailboxesAway
	if door.HTTP.URL != "" {
		if o.Authorizer, err = newAuthorizer(door.HTTP); err != nil {
			return nil, err
		}
	}
	if door.NotifyFrom != "" {
		o.Notify = a.notifyLogin
	}
	return access.New(o), nil
}

func accessRule(r config.AccessRule) access.Rule {
	rule := access.Rule{Users: r.Users, Protocols: r.Protocols, Networks: prefixes(r.Networks), Countries: r.Countries}
	// what can't be read was refused when the configuration was checked
	rule.From, rule.To, _ = r.Minutes()
	for _, name := range r.Days {
		if d, ok := config.Weekday(name); ok {
			rule.Days = append(rule.Days, d)
		}
	}
	return rule
}

func newAuthorizer(c config.AccessHTTP) (access.Authorizer, error) {
	o := access.HTTPOptions{URL: c.URL, Timeout: time.Duration(c.Timeout)}
	var err error
	if o.Nonce, err = firstLine("mail_access.http.nonce_file", c.NonceFile); err != nil {
		return nil, err
	}
	if o.Bearer, err = firstLine("mail_access.http.token_file", c.TokenFile); err != nil {
		return nil, err
	}
	if c.Form == "dovecot" {
		return access.NewDovecotForm(o), nil
	}
	return access.NewNginxForm(o), nil
}

// MailRoutes are the servers with the mailboxes, in the order of their names.
func MailRoutes(cfg *config.Config) ([]access.Route, error) {
	var routes []access.Route
	for _, name := range slices.Sorted(maps.Keys(cfg.MailBackends)) {
		b := cfg.MailBackends[name]
		trust, err := clientTLS(b.CAFile)
		if err != nil {
			return nil, fmt.Errorf("mail_backend %s: %w", name, err)
		}
		// RFC 8446 section 2.2: a session that is resumed costs a fraction of a handshake, and each login makes one
		trust.ClientSessionCache = tls.NewLRUClientSessionCache(64)
		trust.ServerName, trust.InsecureSkipVerify = b.ServerName, !b.Verify.On()
		r := access.Route{Name: name, Users: b.Users, Domains: b.Domains, Rewrite: b.LoginAs, MasterUser: b.MasterUser, Separator: b.MasterSeparator}
		if b.Pattern != "" {
			if r.Pattern, err = regexp.Compile(b.Pattern); err != nil {
				return nil, fmt.Errorf("mail_backend %s: pattern: %w", name, err)
			}
		}
		if r.MasterPassword, err = firstLine("mail_backend."+name+".master_password_file", b.MasterPasswordFile); err != nil {
			return nil, err
		}
		list := func(addresses []config.HostPort) (all []access.Backend) {
			for _, a := range addresses {
				all = append(all, access.Backend{Name: name, Address: string(a), TLS: access.TLSMode(b.TLS), Trust: trust, Forward: b.ForwardClient})
			}
			return all
		}
		r.IMAP, r.POP3 = list(b.IMAP), list(b.POP3)
		routes = append(routes, r)
	}
	return routes, nil
}

// openLDAP opens the directory that knows recipients and users.
func openLDAP(cfg *config.Config) (*recipients.LDAP, error) {
	l := cfg.Recipients.LDAP
	password, err := firstLine("recipients.ldap.password_file", l.PasswordFile)
	if err != nil {
		return nil, err
	}
	trust, err := clientTLS(l.CAFile)
	if err != nil {
		return nil, fmt.Errorf("recipients.ldap.%w", err)
	}
	recipients.BoundLDAP()
	return &recipients.LDAP{URL: l.URL, StartTLS: l.StartTLS, TLS: trust, BindDN: l.BindDN, Password: password, BaseDN: l.BaseDN,
		Filter: l.Filter, Timeout: time.Duration(l.Timeout)}, nil
}

// keyFile reads a secret key from its file, or makes it. Gateways that serve the same mailboxes share it.
func keyFile(file string) ([]byte, error) {
	key, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		key = make([]byte, 32)
		_, _ = rand.Read(key) // it never fails
		return key, os.WriteFile(file, key, 0o600)
	case err == nil && len(key) < 32:
		return nil, fmt.Errorf("%s holds less than 32 octets: remove it, and a new one is made", file)
	}
	return key, err
}

// notifyLogin notifies a user by mail of a login from a new network.
func (a *App) notifyLogin(ctx context.Context, n access.Notice) {
	to, err := mail.ParseAddress(n.User)
	if err != nil || !a.cfg.Local(to.ASCIIDomain()) { // the login is not a mail address: no mail can be sent
		return
	}
	from, err := mail.ParseAddress(a.cfg.MailAccess.NotifyFrom)
	if err == nil {
		id := mail.NewID(n.Time)
		item := proxy.QueueItem{ID: id, Route: a.cfg.Route(to.ASCIIDomain()), Recipients: []mail.Recipient{{Address: to}}, Why: "login notice"}
		err = a.Queue.Put(ctx, item, mail.Copy{Message: mail.NewMessage(loginNotice(a.cfg.Hostname, id, from, to, n))})
	}
	if err != nil {
		a.out.Log.Error("login notice", "user", n.User, "error", err)
	}
}

// loginNotice is the message. Its reverse-path is null, so that nothing answers it (RFC 3834 section 3.3).
func loginNotice(host, id string, from, to mail.Address, n access.Notice) []byte {
	country := ""
	if n.Country != "" {
		country = " (" + n.Country + ")"
	}
	return fmt.Appendf(nil, "From: <%s>\r\nTo: <%s>\r\nSubject: New login to your mailbox\r\nDate: %s\r\nMessage-ID: <%s@%s>\r\n"+
		"Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"+
		"Somebody logged in to your mailbox from a network that was not used for it before:\r\n\r\n"+
		"  when   %s\r\n  where  %s%s\r\n  how    %s\r\n\r\n"+
		"If this was you, there is nothing to do. If not, change your password now and tell your administrator.\r\n",
		from, to, n.Time.Format(time.RFC1123Z), id, host, n.Time.Format("2 January 2006 15:04 MST"), n.Client, country, strings.ToUpper(string(n.Protocol)))
}

// newVerdictCache makes the verdicts that POP3 and IMAP doors ask for messages.
func (a *App) newVerdictCache() (*retrieval.VerdictCache, error) {
	door := a.cfg.MailAccess
	key, err := keyFile(a.dir("judged.key"))
	if err != nil {
		return nil, err
	}
	a.Gateway.SealHeader = func(id string, sum [sha256.Size]byte) []byte {
		return seal.Field(key, id, a.Gateway.Epoch(), a.out.Now(), sum)
	}
	a.letIn = func(id string, sum [sha256.Size]byte) []byte {
		return seal.LetIn(key, id, a.Gateway.Epoch(), a.out.Now(), sum)
	}
	a.Gateway.LetIn = a.letIn
	o := retrieval.Options{
		Judge: a.Gateway.JudgeFetched, Decide: a.Gateway.DecideFetched, Grants: grants{a.Recalls}, State: a.out.State, Recalls: a.Recalls, Ledger: a.masking, SealKey: key, Epoch: a.Gateway.Epoch,
		Mask: policy.Quarantine, Timeout: time.Duration(door.ScanTimeout), OnTimeout: door.OnTimeout, Trust: time.Duration(door.Trust), Now: a.out.Now, Log: a.out.Log,
	}
	if door.Mask == "reject" {
		o.Mask = policy.Reject
	}
	if door.KeepMasked.On() {
		o.Originals = originals{quarantine: a.Quarantine, hostname: a.cfg.Hostname, route: releaseRoute(a.cfg), protocol: a.protocol}
	}
	return retrieval.New(o), nil
}

// protocol is the protocol of a door.
func (a *App) protocol(door string) mail.Protocol {
	for _, d := range a.cfg.Doors {
		if d.Name == door {
			return d.Protocol
		}
	}
	return ""
}

// fetches says whether there is a door for POP3 or IMAP.
func (a *App) fetches() bool {
	return slices.ContainsFunc(a.cfg.Doors, func(d config.Door) bool { return !d.Receives() })
}

// openAccess makes what the POP3 and IMAP doors share.
func (a *App) openAccess() (err error) {
	if a.Recalls, err = recall.Open(RecallStore(a.cfg), a.out.Now); err != nil {
		return err
	}
	a.laterPlain(a.Recalls.Close)
	a.Recalls.Tell(recallTold(a.Ledger, a.fate))
	if err = a.openCheckers(); err != nil {
		return err
	}
	if !a.fetches() {
		return nil
	}
	if err := a.Recalls.Ready(context.Background()); err != nil {
		a.out.Log.Error("nobody reads mail before it is known what was called back", "error", err)
	}
	a.masking = a.newMasking()
	if a.verdicts, err = a.newVerdictCache(); err != nil {
		return err
	}
	if err = a.openLessons(); err != nil {
		return err
	}
	a.gate, err = a.newGate()
	return err
}

// RecallStore is where the recalls are.
func RecallStore(cfg *config.Config) string { return cfg.Store("recall.db") }
