package access

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/filters"
	"postern/internal/mail"
	"postern/policy"
	"postern/policy/records/ledger"
	"postern/proxy/sasl"
)

// Visit is one session of a POP3 or IMAP door as the gate sees it. It is used by one goroutine at a time.
type Session struct {
	g        *Gate
	s        *mail.Session
	protocol mail.Protocol
	user     string // the user that occupies a place, "" for none
	mailbox  string
	failed   int
}

// Mailbox is the user whose mail the session reads: the login, or the user acted as. It is "" if unknown, as with
// Kerberos: then nothing stored by user name may be read or written.
func (v *Session) Mailbox() string { return v.mailbox }

// Visit begins a session; the protocol is "imap" or "pop3". End must be called once.
func (g *Gate) Session(s *mail.Session, protocol mail.Protocol) *Session {
	return &Session{g: g, s: s, protocol: protocol}
}

// maxFindings bounds what is kept of one session.
const maxFindings = 50

// Observe adds a finding of the door itself.
func (v *Session) Observe(f mail.Finding) {
	if len(v.s.Findings) < maxFindings {
		v.s.Findings = append(v.s.Findings, f)
	}
}

// Mechanisms are the SASL mechanisms that are offered.
func (v *Session) Mechanisms() []string {
	all := []string{sasl.Plain, sasl.Login}
	if v.g.o.Tokens {
		all = append(all, sasl.XOAuth2, sasl.OAuthBearer)
	}
	return all
}

// OpaqueMechanisms are those offered besides, whose octets mean something to the backend only.
func (v *Session) OpaqueMechanisms() []string { return v.g.o.OpaqueMechanisms }

// Login handles a login: permission, identity, backend, and the backend's own check. It calls enter for one backend
// after the other until one answers. If it gives an error although enter succeeded, the connection that enter made is
// to be closed.
//
// The error is ErrRefused, given a fixed time after the call whatever the cause, or ErrUnavailable.
func (v *Session) Login(ctx context.Context, a Attempt, enter Enter) error {
	begun := v.g.o.Now()
	user := key(a.User)
	err := v.login(ctx, user, a, enter)
	switch {
	case err == nil:
		v.s.User, v.mailbox = a.User, a.User
		if a.Authzid != "" && key(a.Authzid) != user {
			v.mailbox = a.Authzid
		}
		v.g.o.Bans.Passed(ctx, v.s.Client, user)
		v.g.greet(ctx, v, user)
		v.g.o.Log.Info("login", "id", v.s.ID, "door", v.s.Door, "client", v.s.Client.String(), "user", user, "mechanism", a.Mechanism)
	case errors.Is(err, ErrUnavailable):
		v.note("BACKEND_AWAY", user, err)
	default:
		v.failed++
		v.refused(user, err)
		v.g.refuse(ctx, begun)
		return ErrRefused
	}
	return err
}

// refusal is a login refused without a password check.
type refusal struct{ why string }

func (r refusal) Error() string { return r.why }

func (v *Session) refused(user string, err error) {
	symbol := "LOGIN_FAILED"
	if _, ok := errors.AsType[refusal](err); ok {
		symbol = "LOGIN_REFUSED"
	}
	v.note(symbol, user, err)
}

func (v *Session) note(symbol, user string, err error) {
	v.Observe(mail.Finding{Symbol: symbol, Evidence: filters.Printable(user) + ": " + filters.Printable(err.Error())})
	v.g.o.Log.Info("login failed", "id", v.s.ID, "door", v.s.Door, "client", v.s.Client.String(), "user", filters.Printable(user), "why", err.Error())
}

// login runs all checks, the cheapest first.
func (v *Session) login(ctx context.Context, user string, a Attempt, enter Enter) error {
	g := v.g
	if why := v.barred(ctx, user, a); why != "" {
		return refusal{why}
	}
	answer, err := v.authorize(ctx, a)
	if err != nil {
		return err
	}
	w, err := v.way(ctx, user, answer)
	if err != nil {
		return err
	}
	as, err := v.credentials(ctx, user, a, w)
	if err == nil {
		err = v.g.resting.tryAll(ctx, &v.g.o, w.backends, as, enter)
	}

	wrong := errors.Is(err, ErrPassword)
	if wrong {
		g.o.Bans.Failed(ctx, v.s.Client, user, a.Password+a.Token)
	}
	if g.o.Authorizer != nil && (err == nil || wrong) {
		g.o.Authorizer.Report(ctx, v.s, v.protocol, a, err == nil)
	}
	if err != nil {
		return err
	}
	if !g.take(user) {
		return fmt.Errorf("%w: the user has %d sessions already", ErrUnavailable, g.o.MaxSessions)
	}
	v.user = user

	return nil
}

// barred gives the reason for refusing without a password check, "" if there is none.
func (v *Session) barred(ctx context.Context, user string, a Attempt) string {
	switch {
	case !plainName(a.User) || a.Authzid != "" && !plainName(a.Authzid):
		return "the name can't be one"
	case a.Authzid != "" && key(a.Authzid) != user && !v.g.o.Authzid:
		return "another authorization id"
	case !v.g.o.Bans.Admit(ctx, v.s.Client, user):
		return "banned"
	}
	if why := v.ruledOut(user); why != "" {
		return "a rule on the " + why
	}
	return ""
}

// ruledOut says which kind of rule keeps the user out, "" for none.
func (v *Session) ruledOut(user string) string {
	o := &v.g.o
	for i := range o.Rules {
		r := o.Rules[i]
		if !r.names(user) {
			continue
		}
		if o.Trusted(v.s.Client) {
			r.Networks, r.Countries = nil, nil
		}
		country := ""
		if len(r.Countries) > 0 {
			country = o.Country(v.s.Client)
		}
		if why := r.refuses(v.protocol, v.s.Client.Unmap(), country, o.Now()); why != "" {
			return why
		}
	}
	return ""
}

// maxWait bounds the delay that an authorizer may ask for.
const maxWait = 30 * time.Second

func (v *Session) authorize(ctx context.Context, a Attempt) (Answer, error) {
	if v.g.o.Authorizer == nil {
		return Answer{}, nil
	}
	answer, err := v.g.o.Authorizer.Authorize(ctx, v.s, v.protocol, a)
	if err != nil {
		return Answer{}, fmt.Errorf("%w: authorizer: %w", ErrUnavailable, err)
	}
	pause(ctx, min(answer.Wait, maxWait))
	if answer.Refused {
		return Answer{}, fmt.Errorf("%w: the authorizer says no", ErrPassword)
	}
	return answer, nil
}

// way finds the servers to try.
func (v *Session) way(ctx context.Context, user string, answer Answer) (way, error) {
	g := v.g
	if b, ok := g.o.Transparent[v.s.Door]; ok {
		b.Address = v.s.Local.String()
		return way{route: &Route{}, backends: v.source([]Backend{b})}, nil
	}
	w, err := g.o.choose(ctx, user, v.protocol)
	if err != nil {
		return way{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if answer.Host != "" {
		named, ok := g.o.byHost([]string{answer.Host}, v.protocol)
		if !ok {
			return way{}, fmt.Errorf("%w: the authorizer names %q, which is no address of a mail_backend", ErrUnavailable, filters.Printable(answer.Host))
		}
		w = named
	}
	if len(w.backends) == 0 { // no server serves the user: same answer as for a wrong password
		return way{}, fmt.Errorf("%w: no mail_backend serves him", ErrPassword)
	}
	w.backends = v.source(w.backends)
	w.user, w.password = answer.User, answer.Password
	return w, nil
}

func (v *Session) source(all []Backend) []Backend {
	if !v.g.o.FromClient[v.s.Door] {
		return all
	}
	all = slices.Clone(all)
	for i := range all {
		all[i] = *all[i].sourced(v.s.Client.Unmap())
	}
	return all
}

// credentials are those sent to the backend: the client's, the authorizer's, or those behind an app password.
func (v *Session) credentials(ctx context.Context, user string, a Attempt, w way) (Attempt, error) {
	as := a
	as.User = w.route.rewritten(a.User)
	if sep := w.route.Separator; sep != "" && strings.Contains(a.User, sep) {
		return as, refusal{"the name holds the separator of master users"}
	}
	if w.user != "" {
		as.User = w.user
	}
	if w.password != "" {
		as.Password = w.password
	}
	if v.g.o.AppPasswords == nil || a.Token != "" {
		return as, nil
	}
	found, err := v.g.o.AppPasswords.Check(ctx, user, a.Password, v.protocol)
	switch {
	case err != nil:
		return as, fmt.Errorf("%w: app passwords: %w", ErrUnavailable, err)
	case found.Only && !found.OK:
		return as, fmt.Errorf("%w: only app passwords let this user in", ErrPassword)
	case !found.OK:
		return as, nil
	}
	v.Observe(mail.Finding{Symbol: "LOGIN_APP_PASSWORD", Evidence: filters.Printable(found.Name)})
	if a.Authzid != "" && key(a.Authzid) != user { // the backend would check the rights of the master user, which has all
		return as, refusal{"an app password does not let act as somebody else"}
	}
	as.Authzid = ""
	if found.Password != "" {
		as.Password = found.Password
		return as, nil
	}
	return w.route.master(as)
}

// Master makes the login of the master user on behalf of a user.
func (r *Route) Master(user string) (Attempt, error) {
	if !plainName(user) || r.Separator != "" && strings.Contains(user, r.Separator) {
		return Attempt{}, errors.New("the name can't be one")
	}
	if r.MasterUser == "" {
		return Attempt{}, fmt.Errorf("[mail_backend.%q] has no master_user", r.Name)
	}
	return r.master(Attempt{Mechanism: "LOGIN", User: r.rewritten(user)})
}

// master makes the login of a master user on behalf of a user.
func (r *Route) master(as Attempt) (Attempt, error) {
	switch {
	case r.MasterUser == "":
		return as, fmt.Errorf("%w: [mail_backend.%q] has no master_user, and the app password holds no other", ErrUnavailable, r.Name)
	case r.Separator != "":
		as.User += r.Separator + r.MasterUser
	default: // RFC 4616 section 2: authzid and authcid
		as.Mechanism, as.Authzid, as.User = "SASL PLAIN", as.User, r.MasterUser
	}
	as.Password = r.MasterPassword
	return as, nil
}

// Opaque relays a mechanism whose octets only the one fixed backend understands. The user is known once relay reports
// it, if at all.
func (v *Session) Opaque(ctx context.Context, mechanism string, relay func(ctx context.Context, b *Backend) (user string, err error)) error {
	g, begun := v.g, v.g.o.Now()
	i := slices.IndexFunc(g.o.Routes, func(r Route) bool { return r.Name == g.o.Opaque })
	if i < 0 || !slices.Contains(g.o.OpaqueMechanisms, mechanism) {
		return ErrUnavailable
	}
	user := ""
	err := error(refusal{"banned"})
	if g.o.Bans.Admit(ctx, v.s.Client, "") {
		err = g.resting.tryAll(ctx, &g.o, v.source(g.o.Routes[i].addresses(v.protocol)), Attempt{}, func(ctx context.Context, b *Backend, _ Attempt) (err error) {
			user, err = relay(ctx, b)
			return err
		})
	}
	user = key(user)
	if err == nil {
		if why := v.ruledOut(user); why != "" {
			err = refusal{"a rule on the " + why}
		} else if user != "" && !g.take(user) { // unknown users are not all the same one
			err = ErrUnavailable
		}
	}
	switch {
	case err == nil:
		v.user, v.s.User, v.mailbox = user, user, user
		g.o.Bans.Passed(ctx, v.s.Client, user)
		return nil
	case errors.Is(err, ErrUnavailable):
		v.note("BACKEND_AWAY", user, err)
		return ErrUnavailable
	case errors.Is(err, ErrPassword):
		g.o.Bans.Failed(ctx, v.s.Client, user, "")
	}
	v.failed++
	v.refused(user, err)
	g.refuse(ctx, begun)
	return ErrRefused
}

// End writes the one record of the connection and frees the user's place. The octets are those sent to the client.
func (v *Session) End(how string, octets int64) {
	if v.user != "" {
		v.g.leave(v.user)
		v.user = ""
	}
	s := v.s
	record := ledger.Connection{ID: s.ID, Door: s.Door, Started: s.Started, Ended: v.g.o.Now(), Peer: s.Peer, Client: s.Client,
		User: s.User, End: how, Counts: ledger.Counts{Errors: v.failed, Octets: octets}}
	if s.TLS != nil {
		record.TLSVersion, record.TLSCipher = tls.VersionName(s.TLS.Version), tls.CipherSuiteName(s.TLS.CipherSuite)
	}
	help := map[string]string{}
	if len(s.Findings) > 0 {
		for _, symbol := range Symbols() {
			help[symbol.Name] = symbol.Help
		}
	}
	for _, f := range s.Findings {
		i := slices.IndexFunc(record.Findings, func(r policy.Reason) bool { return r.Symbol == f.Symbol })
		if i < 0 {
			i = len(record.Findings)
			record.Findings = append(record.Findings, policy.Reason{Symbol: f.Symbol, Help: help[f.Symbol]})
		}
		if f.Evidence != "" {
			record.Findings[i].Evidence = append(record.Findings[i].Evidence, f.Evidence)
		}
	}
	v.g.o.Ledger.Connection(record)
	v.g.o.Log.Info("connection", "id", s.ID, "door", s.Door, "client", s.Client.String(), "user", filters.Printable(s.User), "ended", how)
}
