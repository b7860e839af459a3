package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// Login asks the hops of a route whether this is the user's password: by AUTH in SMTP, by LOGIN in IMAP. An error means that
// none could be asked, which says nothing about the password. It goes over a connection of its own, closed afterwards.
func (r *Relay) Login(ctx context.Context, name, user, password string) (bool, error) {
	rt := r.routes[name]
	if rt == nil {
		return false, fmt.Errorf("login at %s: %w", name, errNoRoute)
	}
	ctx, cancel := context.WithTimeout(ctx, rt.hops[0].times.Command)
	defer cancel()
	var last error
	for _, h := range rt.hops {
		ask := h.loginSMTP
		if rt.Protocol == IMAP {
			ask = h.loginIMAP
		}
		ok, err := ask(ctx, user, password)
		if err == nil {
			return ok, nil
		}
		last = err
		r.log.Warn("login could not be checked", "route", name, "hop", h.Address, "error", err)
	}
	return false, fmt.Errorf("login at %s: %w", name, last)
}

func (h *hopState) loginSMTP(ctx context.Context, user, password string) (bool, error) {
	c, err := h.dialTLS(ctx, h.Hop.TLS)
	if err != nil {
		return false, err
	}
	defer c.close()
	if !c.mayAuth() {
		return false, fmt.Errorf("%w: no login without it", errInsecure)
	}
	return c.auth(ctx, user, password)
}

// loginIMAP is LOGIN of RFC 9051 section 6.2.3.
func (h *hopState) loginIMAP(ctx context.Context, user, password string) (bool, error) {
	client, err := h.dialIMAP(ctx)
	if err != nil {
		return false, err
	}
	stop := context.AfterFunc(ctx, func() { _ = client.Close() }) // the command under way then fails
	defer func() {
		stop()
		_ = client.Close() // nothing is kept on it
	}()
	// RFC 9051 section 7.1.4: PREAUTH means that someone is logged in already, so our question would mean nothing.
	if client.State() != imap.ConnStateNotAuthenticated {
		return false, errors.New("imap: the hop did not wait for a login")
	}
	// RFC 9051 section 6.2.3: a client must not LOGIN where LOGINDISABLED is shown.
	if client.Caps().Has(imap.CapLoginDisabled) {
		return false, errors.New("imap: LOGIN is disabled")
	}
	err = client.Login(user, password).Wait()
	var refused *imap.Error
	switch {
	case err == nil:
		_ = client.Logout().Wait() // a courtesy
		return true, nil
	case errors.As(err, &refused) && refused.Type == imap.StatusResponseTypeNo && aboutPassword(refused.Code):
		return false, nil
	}
	return false, fmt.Errorf("imap: %w", err)
}

// aboutPassword says whether a NO speaks of the credentials: RFC 9051 section 7.1 (RFC 5530). UNAVAILABLE, SERVERBUG and
// their like do not; most servers give no code at all.
func aboutPassword(code imap.ResponseCode) bool {
	switch code {
	case "", imap.ResponseCodeAuthenticationFailed, imap.ResponseCodeAuthorizationFailed, imap.ResponseCodeExpired:
		return true
	}
	return false
}

func (h *hopState) dialIMAP(ctx context.Context) (*imapclient.Client, error) {
	nc, err := h.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := &conn{hop: h, nc: nc, times: h.times}
	if h.Hop.TLS == TLSImplicit {
		if err := c.handshake(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("%w: %w", errInsecure, err), nc.Close())
		}
	}
	// The library sets deadlines of its own behind the greeting; until then this one holds.
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() }) // what waits on it then fails
	defer stop()
	var client *imapclient.Client
	switch {
	case h.Hop.TLS == TLSImplicit || h.onSocket() || h.Hop.TLS == TLSNone && h.ClearAuth:
		client = imapclient.New(c.nc, nil)
		err = client.WaitGreeting()
	case h.Hop.TLS == TLSNone:
		return nil, errors.Join(fmt.Errorf("%w: no login without it", errInsecure), nc.Close())
	default:
		// Opportunistic means required here: a password is worth more than a message.
		_ = nc.SetDeadline(earlier(ctx, time.Now().Add(h.times.Command)))
		client, err = imapclient.NewStartTLS(nc, &imapclient.Options{TLSConfig: h.tlsConfig.Clone()})
	}
	if err != nil {
		if client != nil {
			_ = client.Close() // the error that counts is the first
		}
		_ = nc.Close() // once more does no harm
		return nil, fmt.Errorf("imap: %w", err)
	}
	return client, nil
}
