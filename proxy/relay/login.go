package relay

import (
	"context"
	"fmt"

	"postern/proxy"
)

// Login asks the hops of a route by AUTH whether this is the user's password. An error means that none could be asked,
// which says nothing about the password. It goes over a connection of its own, closed afterwards. A hop with XCLIENT
// gets the client's address: password guessing must not slow down the logins of all others.
func (r *Relay) Login(ctx context.Context, name string, client proxy.Client, user, password string) (bool, error) {
	rt := r.routes[name]
	if rt == nil {
		return false, fmt.Errorf("login at %s: %w", name, errNoRoute)
	}
	ctx, cancel := context.WithTimeout(ctx, rt.hops[0].times.Command)
	defer cancel()
	var last error
	for _, h := range rt.hops {
		ok, err := h.login(ctx, client, user, password)
		if err == nil {
			return ok, nil
		}
		last = err
		r.log.Warn("login could not be checked", "route", name, "hop", h.Address, "error", err)
	}
	return false, fmt.Errorf("login at %s: %w", name, last)
}

func (h *hopState) login(ctx context.Context, client proxy.Client, user, password string) (bool, error) {
	c, err := h.dialTLS(ctx, h.Hop.TLS)
	if err != nil {
		return false, err
	}
	defer c.close()
	if !c.mayAuth() {
		return false, fmt.Errorf("%w: no login without it", errInsecure)
	}
	if c.hop.XClient && len(c.offer.xclient) > 0 && client.Addr.IsValid() {
		if err := c.xclient(ctx, "XCLIENT"+attributes(c.offer.xclient, proxy.Envelope{Client: client}, "LOGIN")); err != nil {
			return false, err
		}
	}
	return c.auth(ctx, user, password)
}
