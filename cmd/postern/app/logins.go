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
func (h *App) openCheckers() error {
	h.checkers = map[string]*access.Checker{}
	if err := h.openMailboxDirectory(); err != nil {
		return err
	}
	for _, d := range h.cfg.Doors {
		if d.Auth != "imap" {
			continue
		}
		routes, err := loginRoutes(h.cfg, d)
		if err != nil {
			return err
		}
		o := access.Options{Routes: routes, Away: h.mailboxesAway, Now: h.out.Now, Log: h.out.Log}
		if h.directory != nil && d.AuthAddress == "" && d.AuthBackend == "" {
			o.Directory, o.HostAttribute = h.directory, h.cfg.MailAccess.LDAP.Attribute
		}
		h.checkers[d.Name] = access.NewChecker(o, imapd.Prove)
	}
	return nil
}

// openMailboxDirectory opens the directory of users' mailbox servers.
func (h *App) openMailboxDirectory() error {
	l := h.cfg.MailAccess.LDAP
	asks := func(d config.Door) bool { return !d.Receives() || d.Auth == "imap" }
	if l.Attribute == "" || !slices.ContainsFunc(h.cfg.Doors, asks) {
		return nil
	}
	directory, err := openLDAP(h.cfg)
	if err != nil {
		return err
	}
	directory.Filter = cmp.Or(l.Filter, directory.Filter)
	h.directory = directory
	h.laterPlain(directory.Close)
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
func (h *App) mailboxes() (map[string]mailbox, error) {
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
	routes, err := MailRoutes(h.cfg)
	if err != nil {
		return nil, err
	}
	for _, d := range h.cfg.Doors {
		switch {
		case d.Auth == "imap":
			asked, err := loginRoutes(h.cfg, d)
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
func (h *App) mailboxesAway(b *access.Backend) { h.table.Hurry("mail_backend", mailboxName(b)) }
