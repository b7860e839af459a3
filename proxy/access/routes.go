package access

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"time"

	"postern/internal/mail"
)

// Route is a group of servers that replace each other, and the users they serve.
type Route struct {
	Name string
	// Users, Domains and Pattern select the users it serves; a route without any serves all remaining users.
	Users, Domains []string
	Pattern        *regexp.Regexp
	// IMAP and POP3 are the addresses, tried in their order.
	IMAP, POP3 []Backend
	// Rewrite is the user's name for the backend: {user}, {local} and {domain} in it are replaced by the parts of the
	// client's name.
	Rewrite string
	// Master logs in for users of app passwords: MasterUser and its password, put behind the user's name with Separator
	// (Dovecot: "*"), or by authorization id (RFC 4616) if Separator is "".
	MasterUser, MasterPassword, Separator string
}

func (r *Route) addresses(protocol mail.Protocol) []Backend {
	if protocol == mail.ProtocolPOP3 {
		return r.POP3
	}
	return r.IMAP
}

// serves says whether the route names the user.
func (r *Route) serves(user string) bool {
	_, domain, _ := strings.Cut(user, "@")
	for _, u := range r.Users {
		if key(u) == user {
			return true
		}
	}
	for _, d := range r.Domains {
		if domain != "" && strings.EqualFold(d, domain) {
			return true
		}
	}
	return r.Pattern != nil && r.Pattern.MatchString(user)
}

func (r *Route) forAll() bool { return len(r.Users) == 0 && len(r.Domains) == 0 && r.Pattern == nil }

// rewritten is the user's name at the backend. A placeholder's value is not expanded again.
func (r *Route) rewritten(user string) string {
	if r.Rewrite == "" {
		return user
	}
	local, domain, _ := strings.Cut(user, "@")
	return strings.NewReplacer("{user}", user, "{local}", local, "{domain}", domain).Replace(r.Rewrite)
}

// Directory knows the attributes of a user: LDAP.
type Directory interface {
	// Attribute gives the values of an attribute of the one entry that fits, none if there is no such entry.
	Attribute(ctx context.Context, user mail.Address, attribute string) ([]string, error)
}

// way is what a login is to be tried with.
type way struct {
	route    *Route
	backends []Backend
	// user and password replace those of the client where they are not "".
	user, password string
}

// choose finds the servers of a user: as the answer of the authorizer says, as the directory says, else by the routes.
func (o *Options) choose(ctx context.Context, user string, protocol mail.Protocol) (way, error) {
	if o.Directory != nil && o.HostAttribute != "" {
		if address, err := mail.ParseAddress(user); err == nil {
			hosts, err := o.Directory.Attribute(ctx, address, o.HostAttribute)
			if err != nil {
				return way{}, fmt.Errorf("directory: %w", err)
			}
			if w, ok := o.byHost(hostsOf(hosts), protocol); ok {
				return w, nil
			}
		}
	}
	r := serving(o.Routes, user)
	if r == nil {
		return way{}, nil
	}
	return way{route: r, backends: r.addresses(protocol)}, nil
}

// serving finds the first route that names the user, else the first that serves all others, else none.
func serving(routes []Route, user string) (last *Route) {
	for i := range routes {
		r := &routes[i]
		switch {
		case r.serves(user):
			return r
		case r.forAll() && last == nil:
			last = r
		}
	}
	return last
}

// Serving is the name of the route that serves a user, "" for none.
func Serving(routes []Route, user string) string {
	if r := serving(routes, key(user)); r != nil {
		return r.Name
	}
	return ""
}

// byHost takes the server that a directory or an authorizer names, which must be one of the routes: no answer from there
// sends a password to a server that the admin did not name.
func (o *Options) byHost(hosts []string, protocol mail.Protocol) (way, bool) {
	for _, host := range hosts {
		for i := range o.Routes {
			r := &o.Routes[i]
			for _, b := range r.addresses(protocol) {
				if name, _, err := net.SplitHostPort(b.Address); err == nil && strings.EqualFold(name, host) || strings.EqualFold(b.Address, host) {
					return way{route: r, backends: []Backend{b}}, true
				}
			}
		}
	}
	return way{}, false
}

// resting remembers for a moment which addresses did not answer, so that the next user does not wait for them, too.
type resting struct {
	mu    sync.Mutex
	until map[string]time.Time
}

const (
	// rest is how long an address that did not answer is tried last, and hurried.
	rest = 20 * time.Second
	// hurry is how long such an address has from the connection to the end of the login.
	hurry = 5 * time.Second
	// LoginTime is how long a server may take from the greeting to the end of the login.
	LoginTime = 30 * time.Second
	// GreetingTime is how long a server may be silent behind the connection: one that lives greets at once.
	GreetingTime = 10 * time.Second
)

func (r *resting) failed(address string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == nil {
		r.until = map[string]time.Time{}
	}
	r.until[address] = now.Add(rest)
}

func (r *resting) answered(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.until, address)
}

// order puts the addresses that did not answer behind the others.
func (r *resting) order(all []Backend, now time.Time) []*Backend {
	r.mu.Lock()
	defer r.mu.Unlock()
	var first, late []*Backend
	for i := range all {
		if now.Before(r.until[all[i].Address]) {
			late = append(late, &all[i])
		} else {
			first = append(first, &all[i])
		}
	}
	return append(first, late...)
}

// LoginDeadline is when a login at a server must be over.
func LoginDeadline(ctx context.Context) time.Time {
	latest := time.Now().Add(LoginTime)
	if end, ok := ctx.Deadline(); ok && end.Before(latest) {
		return end
	}

	return latest
}

// try asks one server. One that did not answer a moment ago gets less time.
func (r *resting) try(ctx context.Context, now time.Time, b *Backend, as Attempt, enter Enter) error {
	r.mu.Lock()
	late := now.Before(r.until[b.Address])
	r.mu.Unlock()
	if !late {
		return enter(ctx, b, as)
	}

	soon, cancel := context.WithTimeout(ctx, hurry)
	defer cancel()

	return enter(soon, b, as)
}

// tryAll asks one server after the other until one answers.
func (r *resting) tryAll(ctx context.Context, o *Options, all []Backend, as Attempt, enter Enter) error {
	var errs []error
	for _, b := range r.order(all, o.Now()) {
		err := r.try(ctx, o.Now(), b, as, enter)
		if err == nil || errors.Is(err, ErrPassword) || errors.Is(err, ErrUnavailable) { // the server lives
			r.answered(b.Address)
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		r.failed(b.Address, o.Now())
		o.Away(b)
		o.Log.Warn("backend can't be used", "backend", b.Name, "address", b.Address, "error", err)
		errs = append(errs, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, errors.Join(errs...))
}

// sourced gives a copy that connects from the client's own address.
func (b *Backend) sourced(client netip.Addr) *Backend {
	c := *b
	c.Source = client
	return &c
}
