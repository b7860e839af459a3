package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"postern/internal/config"
	"postern/internal/mail"
	"postern/proxy/access"
	"postern/proxy/imapd"
	"postern/proxy/pop3d"
)

// openCheckers makes the login checkers of submission doors at servers with mailboxes: same settings and rules as for
// the IMAP doors.
func (a *App) openCheckers() error {
	a.checkers = map[string]*access.Checker{}
	if err := a.openMailboxDirectory(); err != nil {
		return err
	}
	for _, d := range a.cfg.Doors {
		if d.Auth != "imap" {
			continue
		}
		routes, err := loginRoutes(a.cfg, d)
		if err != nil {
			return err
		}
		o := access.Options{Routes: routes, Away: a.mailboxesAway, Now: a.out.Now, Log: a.out.Log}
		if a.directory != nil && d.AuthAddress == "" && d.AuthBackend == "" {
			o.Directory, o.HostAttribute = a.directory, a.cfg.MailAccess.LDAP.Attribute
		}
		a.checkers[d.Name] = access.NewChecker(o, imapd.Prove)
	}
	return nil
}

// openMailboxDirectory opens the directory of users' mailbox servers.
func (a *App) openMailboxDirectory() error {
	l := a.cfg.MailAccess.LDAP
	asks := func(d config.Door) bool { return !d.Receives() || d.Auth == "imap" }
	if l.Attribute == "" || !slices.ContainsFunc(a.cfg.Doors, asks) {
		return nil
	}
	directory, err := openLDAP(a.cfg)
	if err != nil {
		return err
	}
	directory.Filter = cmp.Or(l.Filter, directory.Filter)
	a.directory = directory
	a.laterPlain(directory.Close)
	return nil
}

// loginRoutes are the servers that check the logins of a submission door.
func loginRoutes(cfg *config.Config, d config.Door) ([]access.Route, error) {
	if d.AuthAddress != "" { // the short form: TLS at once at its well-known port (RFC 8314 section 3.2), else STARTTLS
		trust, err := clientTLS("")
		if err != nil {
			return nil, err
		}
		b := access.Backend{Name: "logins", Address: d.AuthAddress, TLS: access.TLSStartTLS, Trust: trust, Forward: true}
		if strings.HasSuffix(d.AuthAddress, ":993") {
			b.TLS = access.TLSImplicit
		}
		return []access.Route{{Name: b.Name, IMAP: []access.Backend{b}}}, nil
	}
	routes, err := MailRoutes(cfg)
	if err != nil || d.AuthBackend == "" {
		return routes, err
	}
	i := slices.IndexFunc(routes, func(r access.Route) bool { return r.Name == d.AuthBackend })
	if i < 0 { // refused when the configuration was checked
		return nil, fmt.Errorf("door %s: auth_backend: there is no [mail_backend.%q]", d.Name, d.AuthBackend)
	}
	one := routes[i]
	one.Users, one.Domains, one.Pattern = nil, nil, nil // it was named for all
	return []access.Route{one}, nil
}

// mailboxes are the servers with mailboxes that users log in at, by the name of their row in the health table, and how
// each is pinged.
func (a *App) mailboxes() (map[string]mailbox, error) {
	all := map[string]mailbox{}
	take := func(routes []access.Route, imap, pop3 bool) {
		for _, r := range routes {
			for i := range r.IMAP {
				if imap {
					all[mailboxName(&r.IMAP[i])] = mailbox{&r.IMAP[i], imapd.Probe}
				}
			}
			for i := range r.POP3 {
				if pop3 {
					all[mailboxName(&r.POP3[i])] = mailbox{&r.POP3[i], pop3d.Probe}
				}
			}
		}
	}
	routes, err := MailRoutes(a.cfg)
	if err != nil {
		return nil, err
	}
	for _, d := range a.cfg.Doors {
		switch {
		case d.Auth == "imap":
			asked, err := loginRoutes(a.cfg, d)
			if err != nil {
				return nil, err
			}
			take(asked, true, false)
		case !d.Receives() && !d.Transparent:
			take(routes, d.Protocol == mail.ProtocolIMAP, d.Protocol == mail.ProtocolPOP3)
		}
	}
	return all, nil
}

// mailbox is a server with mailboxes in the health table.
type mailbox struct {
	backend *access.Backend
	ping    func(context.Context, *access.Backend) error
}

func mailboxName(b *access.Backend) string { return b.Name + " " + b.Address }

// mailboxesAway notes a server that could not be asked for a login: it is checked now.
func (a *App) mailboxesAway(b *access.Backend) { a.table.Hurry("mail_backend", mailboxName(b)) }
