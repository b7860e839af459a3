package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"postern/internal/mail"
	"postern/proxy"
)

// Relay knows the routes. It implements proxy.Relay.
type Relay struct {
	routes map[string]*route
	names  []string // sorted
	o      Options
	log    *slog.Logger
	blocks sync.Pool // of *[]byte with room for a block
}

type route struct {
	Route
	hops []*hopState
}

// New makes a Relay. It sends nothing yet; see Probe.
func New(o Options) (*Relay, error) {
	r := &Relay{routes: make(map[string]*route, len(o.Routes)), log: o.Log}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.blocks.New = func() any { b := make([]byte, 0, blockSize); return &b }
	if o.HeloName == "" {
		o.HeloName = "localhost"
	}
	if !mail.ValidDomain(o.HeloName) {
		if _, ok := mail.ParseLiteral(o.HeloName); !ok {
			return nil, fmt.Errorf("our own name %q is no host name", o.HeloName)
		}
	}
	for name, set := range o.Routes {
		made, err := newRoute(set.withDefaults(name), o, r.log)
		if err != nil {
			return nil, fmt.Errorf("next hop %s: %w", name, err)
		}
		r.routes[name] = made
		r.names = append(r.names, name)
	}
	slices.Sort(r.names)
	r.o = o
	return r, nil
}

func newRoute(set Route, o Options, log *slog.Logger) (*route, error) {
	if len(set.Hops) == 0 {
		return nil, errors.New("no server is named")
	}
	switch set.Protocol {
	case SMTP, LMTP:
	default:
		return nil, fmt.Errorf("protocol %q: want smtp or lmtp", set.Protocol)
	}
	made := &route{Route: set}
	for _, hop := range set.Hops {
		if err := hop.check(); err != nil {
			return nil, err
		}
		config, err := hop.tlsConfig()
		if err != nil {
			return nil, err
		}
		made.hops = append(made.hops, &hopState{
			Hop: hop, tlsConfig: config, protocol: set.Protocol, names: o.Names, helo: o.HeloName, times: o.Timeouts.withDefaults(), log: log,
			maxIdle: set.MaxIdle, inbound: set.Inbound, places: newPlaces(set.MaxConnections),
		})
	}
	return made, nil
}

// Open begins a transaction; nothing is sent before the first Rcpt.
func (r *Relay) Open(to mail.Route, e proxy.Envelope) proxy.Delivery {
	d := &delivery{relay: r, route: r.route(to), envelope: e, log: r.log.With("id", e.ID, "route", to.String())}
	if d.route == nil {
		d.log.Error("no such route for mail")
	}
	return d
}

// route finds the hops of a route. The route to the original destination of a transparent door's client is made when
// needed, and its connections carry one transaction.
func (r *Relay) route(to mail.Route) *route {
	if !to.Transparent() {
		return r.routes[to.NextHop]
	}
	hop := Hop{Address: to.To.String(), TLS: TLSOpportunistic, Source: to.Client}
	made, err := newRoute(Route{Hops: []Hop{hop}}.withDefaults(to.String()), r.o, r.log)
	if err != nil {
		r.log.Error("transparent route", "route", to.String(), "error", err)
		return nil
	}
	made.hops[0].flush(true)
	return made
}

// acquire gives a connection to the first reachable hop of the route. Hops in tried are left out; those that failed a
// short while ago come last.
func (rt *route) acquire(ctx context.Context, e proxy.Envelope, why purpose, tried map[*hopState]bool) (*conn, error) {
	now := time.Now()
	order := make([]*hopState, 0, len(rt.hops))
	for _, down := range []bool{false, true} {
		for _, h := range rt.hops {
			if !tried[h] && h.isDown(now) == down {
				order = append(order, h)
			}
		}
	}
	err := errGone
	for _, h := range order {
		var c *conn
		// A connection with a client's XCLIENT must not carry mail without a client.
		c, err = h.acquire(ctx, partyOf(e, why), h.XClient && !e.Client.Addr.IsValid())
		if err == nil {
			return c, nil
		}
		tried[h] = true
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

// partyOf is the client for which a connection is taken: networks are those that the doors count by.
func partyOf(e proxy.Envelope, why purpose) party {
	who := party{purpose: why, known: e.Client.Known}
	if addr := e.Client.Addr.Unmap().WithZone(""); addr.IsValid() {
		bits := 24
		if addr.Is6() {
			bits = 64
		}
		who.network, _ = addr.Prefix(bits) // fits any address of its family
	}

	return who
}

// Offers is what all hops of the inbound routes offer. A hop that has not answered yet counts as one of today's plain
// servers: 8BITMIME, nothing more.
func (r *Relay) Offers() proxy.Extensions {
	all := proxy.Extensions{EightBitMIME: true}
	first := true
	for _, name := range r.names {
		rt := r.routes[name]
		if !rt.Inbound {
			continue
		}
		for _, h := range rt.hops {
			one, known := h.extensions()
			if !known && rt.answered() { // a fallback hop that was never up says nothing about the server it replaces
				continue
			}
			if first {
				all, first = one, false
				continue
			}
			all.EightBitMIME = all.EightBitMIME && one.EightBitMIME
			all.SMTPUTF8 = all.SMTPUTF8 && one.SMTPUTF8
			all.DSN = all.DSN && one.DSN
			all.RequireTLS = all.RequireTLS && one.RequireTLS
			if one.MaxSize > 0 && (all.MaxSize == 0 || one.MaxSize < all.MaxSize) {
				all.MaxSize = one.MaxSize
			}
		}
	}
	return all
}

// TakesEightBit says whether every hop of a route that has answered yet takes 8-bit text. Of a route that none has answered
// on nothing is known.
func (r *Relay) TakesEightBit(to mail.Route) bool {
	rt := r.routes[to.NextHop]
	if rt == nil || !rt.answered() {
		return false
	}
	return !slices.ContainsFunc(rt.hops, func(h *hopState) bool {
		one, known := h.extensions()
		return known && !one.EightBitMIME
	})
}

// answered says whether a hop of the route has answered since the start.
func (rt *route) answered() bool {
	return slices.ContainsFunc(rt.hops, func(h *hopState) bool { _, known := h.extensions(); return known })
}

// extensions is what the hop offers, and whether it has answered yet.
func (h *hopState) extensions() (offers proxy.Extensions, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.known {
		return proxy.Extensions{EightBitMIME: true}, false
	}
	o := h.offered
	return proxy.Extensions{
		EightBitMIME: o.eightBit, SMTPUTF8: o.smtputf8, DSN: o.dsn, MaxSize: o.size,
		// RFC 8689 section 4.2.1: only over TLS, with a certificate that was checked.
		RequireTLS: o.requireTLS && h.secure,
	}, true
}

// Probe asks every hop what it offers, side by side. It returns when all have answered or failed; run it in the
// background at the start and now and then, so that Offers and Health cover hops without traffic.
func (r *Relay) Probe(ctx context.Context) {
	var wait sync.WaitGroup
	for _, name := range r.names {
		for _, h := range r.routes[name].hops {
			wait.Go(func() {
				c, err := h.acquire(ctx, party{purpose: handover}, true)
				if err == nil {
					h.release(c)
				}
			})
		}
	}
	wait.Wait()
}

// Health gives the health of the hops, in the order of names and failover.
func (r *Relay) Health() []HopHealth {
	var all []HopHealth
	for _, name := range r.names {
		for _, h := range r.routes[name].hops {
			all = append(all, h.health(name))
		}
	}
	return all
}

// Close closes unused connections and keeps no new ones. Transactions under way go on to their end.
func (r *Relay) Close() {
	for _, name := range r.names {
		for _, h := range r.routes[name].hops {
			h.flush(true)
		}
	}
}
