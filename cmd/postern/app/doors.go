package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"postern/internal/config"
	"postern/internal/dns"
	"postern/internal/mail"
	"postern/proxy"
	"postern/proxy/listen"
	"postern/proxy/outbound"
	"postern/proxy/relay"
	"postern/proxy/smtpd"
)

// outboundHop names the next hop that no domain can have.
const outboundHop = "(outbound)"

func outboundRoute() mail.Route { return mail.RouteTo(outboundHop) }

// doorOptions translates the settings of a door.
func (a *App) doorOptions(d config.Door) smtpd.Options {
	s := a.cfg.SMTP
	o := smtpd.Options{
		Name: d.Name, Hostname: a.cfg.Hostname, Implicit: d.TLS == "implicit", Submission: d.Protocol == mail.ProtocolSubmission,
		AuthInClear: !d.RequireTLSForAuth.On(), XClient: prefixes(d.XClientNetworks), Trusted: prefixes(a.cfg.TrustedNetworks),
		MaxSize: int64(s.MaxMessageSize), MaxRecipients: s.MaxRecipients, MaxErrors: s.MaxErrors,
		Idle: time.Duration(s.IdleTimeout), Total: time.Duration(s.SessionTimeout), GreetDelay: time.Duration(s.GreetDelay),
		NormaliseLines: cmp.Or(d.BareNewline, s.BareNewline) == "normalise", NormaliseFrom: prefixes(s.NormaliseNetworks), ReportEarlyInput: s.EarlyInput == "report", SpoolDir: a.dir("spool"),
	}
	o.Tarpit, o.Guard = time.Duration(s.Tarpit), a.bans
	e := d.Extensions
	o.Extensions = smtpd.Extensions{
		Size: e.Size.On(), EightBitMIME: e.EightBitMIME.On(), SMTPUTF8: e.SMTPUTF8.On(), Pipelining: e.Pipelining.On(),
		Chunking: e.Chunking.On(), DSN: e.DSN.On(), EnhancedStatusCodes: e.EnhancedStatusCodes.On(), StartTLS: e.StartTLS.On(),
		Auth: e.Auth.On(), RequireTLS: e.RequireTLS.On(), Limits: e.Limits.On(),
	}
	if d.TLS != "none" {
		o.TLS = a.doorTLS()
	}
	switch d.Auth {
	case "smtp":
		o.Login = a.login(d.AuthRoute)
	case "imap":
		o.Login = a.checkers[d.Name].Login
	}
	return o
}

func prefixes(networks config.Networks) []netip.Prefix {
	list := make([]netip.Prefix, len(networks))
	for i, n := range networks {
		list[i] = n.Prefix
	}
	return list
}

func (a *App) doorTLS() *tls.Config {
	t := a.certificates.Config()
	t.SessionTicketsDisabled = !a.cfg.TLS.SessionTickets
	if a.cfg.TLS.MinVersion == "1.3" {
		t.MinVersion = tls.VersionTLS13
	}
	t.SessionTicketsDisabled = !a.cfg.TLS.SessionTickets
	if a.cfg.TLS.Ciphers == "compatible" {
		t.CipherSuites = compatibleCiphers()
	}
	return t
}

// compatibleCiphers are those of TLS 1.2 that are not broken, the good ones among them; crypto/tls puts them in order. TLS 1.3
// has its own. RFC 9325 section 4.2 advises against the rest, and clear text would be worse.
func compatibleCiphers() []uint16 {
	var all []uint16
	for _, s := range tls.CipherSuites() {
		all = append(all, s.ID)
	}

	return append(all, tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA, tls.TLS_RSA_WITH_AES_128_CBC_SHA256)
}

// login checks logins at a next hop.
func (a *App) login(route string) func(context.Context, *mail.Session, string, string) (bool, error) {
	return func(ctx context.Context, s *mail.Session, user, password string) (bool, error) {
		client := proxy.Client{Addr: s.Client, Name: s.ClientName, Helo: s.Helo, Proto: "ESMTP"}
		if s.Peer.Addr().Unmap() == s.Client.Unmap() {
			client.Port = s.Peer.Port()
		}
		return a.Relay.Login(ctx, route, client, user, password)
	}
}

// certify loads the certificates of all doors, or makes one.
func (a *App) certify(ctx context.Context) (err error) {
	var acme *listen.ACME
	if set := a.cfg.TLS.ACME; len(set.Names) > 0 {
		acme, err = listen.NewACME(ctx, listen.ACMEOptions{
			Names: set.Names, Email: set.Email, CA: set.Directory, Dir: a.dir("tls"), HTTP: string(set.Listen), Log: a.out.Log,
		})
		if err != nil {
			return fmt.Errorf("[tls.acme]: %w", err)
		}
		a.laterPlain(func() error { acme.Close(); return nil })
	}
	o := listen.CertificateOptions{Dir: a.dir("tls"), HostName: a.cfg.Hostname, ACME: acme, Log: a.out.Log}
	for _, c := range a.cfg.TLS.Certificates {
		o.Pairs = append(o.Pairs, listen.Pair{Cert: c.Cert, Key: c.Key})
	}
	a.certificates, err = listen.NewCertificates(o)
	return err
}

// newRelay makes the client towards all next hops and the smart host.
func newRelay(cfg *config.Config, log *slog.Logger) (*relay.Relay, error) {
	routes := map[string]relay.Route{}
	for name, hop := range cfg.NextHops {
		r, err := route(name, hop)
		if err != nil {
			return nil, err
		}
		r.Inbound = true
		routes[name] = r
	}
	if len(cfg.Outbound.Addresses) > 0 {
		r, err := route(outboundHop, cfg.Outbound.NextHop)
		if err != nil {
			return nil, err
		}
		routes[outboundHop] = r
	}
	names, err := dns.Names(serverNames(cfg))
	if err != nil {
		return nil, fmt.Errorf("[dns]: %w", err)
	}
	return relay.New(relay.Options{Routes: routes, HeloName: cfg.Hostname, Log: log, Names: names})
}

func route(name string, hop config.NextHop) (relay.Route, error) {
	r := relay.Route{Name: name, Protocol: relay.Protocol(hop.Protocol), MaxConnections: hop.MaxConnections}
	password := ""
	if hop.PasswordFile != "" {
		text, err := os.ReadFile(hop.PasswordFile)
		if err != nil {
			return r, fmt.Errorf("next hop %s: password_file: %w", name, err)
		}
		password = strings.TrimRight(string(text), "\r\n")
	}
	for _, address := range hop.Addresses {
		r.Hops = append(r.Hops, relay.Hop{
			Address: string(address), TLS: relay.TLSPolicy(hop.TLS), CAFile: hop.CAFile, ServerName: hop.ServerName,
			Insecure: !hop.Verify.On(), XClient: hop.XClient, XForward: hop.XForward, User: hop.User, Password: password,
			ClearAuth: onLoopback(string(address)),
		})
	}
	return r, nil
}

// onLoopback says whether a hop is on this machine: a password then crosses no network.
func onLoopback(address string) bool {
	a, err := netip.ParseAddrPort(address)
	return err == nil && a.Addr().IsLoopback()
}

// newSigner makes the signer of outbound mail and sealer of inbound mail, nil if there is nothing to sign or to seal.
func newSigner(cfg *config.Config, out Outside) (*outbound.Signer, error) {
	domains := slices.Clone(cfg.Outbound.Sign)
	if d := cfg.ARC.Domain; d != "" && !slices.Contains(domains, d) {
		domains = append(domains, d)
	}
	var keys []outbound.Key
	for _, domain := range domains {
		for selector, file := range cfg.DKIM[domain].Keys {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("[dkim.%q]: %w", domain, err)
			}
			// a date that can't be read was refused when the configuration was checked
			from, _ := time.Parse(time.DateOnly, cfg.DKIM[domain].UseFrom[selector])
			keys = append(keys, outbound.Key{Domain: domain, Selector: selector, PEM: text, From: from})
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	s, err := outbound.NewSigner(keys, out.Now)
	if err != nil {
		return nil, fmt.Errorf("[dkim]: %w", err)
	}
	return s, nil
}

// Open is how many connections are open at all doors.
func (a *App) Open() int64 {
	n := int64(0)
	for _, d := range a.doors {
		n += d.listener.Counts().Open
	}
	return n
}
