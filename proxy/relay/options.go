// Package relay is the client towards the next hops: recipients verified live, the message in the same transaction, the
// hop's own replies back. It speaks SMTP (RFC 5321) and LMTP (RFC 2033), with pipelining, and shares connections.
//
// Three things hold whatever a hop does. A positive reply is only ever the hop's own. What a hop does wrong (silence,
// an endless line, an unsolicited reply) becomes a 4xx of ours within a deadline, never a refusal. And a connection
// that showed something unexpected is never used again.
package relay

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// Protocol is what the hops of a route speak.
type Protocol string

// The protocols.
const (
	SMTP Protocol = "smtp"
	LMTP Protocol = "lmtp"
)

// TLSPolicy says how a connection to a hop is protected.
type TLSPolicy string

// The policies. Opportunistic takes STARTTLS where it is offered, checks no certificate and goes on in clear where it
// fails (RFC 7435). Required and Implicit never send a message in clear.
const (
	TLSNone          TLSPolicy = "none"
	TLSOpportunistic TLSPolicy = "opportunistic"
	TLSRequired      TLSPolicy = "required"
	TLSImplicit      TLSPolicy = "implicit"
)

// Options are what a Relay needs to know. Zero values mean the defaults.
type Options struct {
	Routes map[string]Route
	// HeloName is our name in EHLO.
	HeloName string
	// Names finds the addresses of hops; nil is the system's resolver.
	Names    *net.Resolver
	Timeouts Timeouts
	Log      *slog.Logger
}

// Timeouts bound each step of a dialogue: RFC 5321 section 4.5.3.2, shorter where the hop is a machine of our own. Each
// is a total for its step, so a hop that dribbles gains nothing. The context's deadline bounds them all.
type Timeouts struct {
	Connect  time.Duration // 10 s, the TLS handshake has as much again
	Command  time.Duration // 60 s: the greeting, and each reply to a command
	DataInit time.Duration // 120 s: the reply to DATA
	Block    time.Duration // 60 s: each block of the message that we write
	Transfer time.Duration // 30 min: the whole of the message
	DataTerm time.Duration // 600 s: the reply to the dot
	Idle     time.Duration // 30 s: how long an unused connection is kept
	Wait     time.Duration // 30 s: how long a transaction waits for a free connection
	Hold     time.Duration // 5 s: how long a transaction keeps its connection while its client is silent
}

// Route is a named way to a mail system.
type Route struct {
	Name string
	// Hops are tried in this order.
	Hops     []Hop
	Protocol Protocol // default SMTP
	// Inbound is set if our own offers to the outside depend on this route.
	Inbound bool
	// MaxConnections (default 40) and MaxIdle (default 10) are per hop.
	MaxConnections, MaxIdle int
}

// Hop is one server.
type Hop struct {
	// Address is HOST:PORT, or a socket's path, which begins with "/".
	Address string
	TLS     TLSPolicy // default TLSOpportunistic, on a socket TLSNone
	// CAFile holds the certificates that may vouch for the hop; empty is the system's.
	CAFile string
	// ServerName is the name the certificate must have; empty is the host of Address.
	ServerName string
	// Insecure takes any certificate.
	Insecure bool
	// Source, if valid, is the address that connections come from.
	Source netip.Addr
	// XClient and XForward tell the hop the true client, where it offers so (Postfix XCLIENT_README, XFORWARD_README).
	XClient, XForward bool
	// User and Password log in at the hop. In clear only if ClearAuth is set.
	User, Password string
	ClearAuth      bool
}

// LogValue keeps the password out of logs.
func (h Hop) LogValue() slog.Value { return slog.StringValue(h.Address) }

func (t Timeouts) withDefaults() Timeouts {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&t.Connect, 10*time.Second)
	set(&t.Command, time.Minute)
	set(&t.DataInit, 2*time.Minute)
	set(&t.Block, time.Minute)
	set(&t.Transfer, 30*time.Minute)
	set(&t.DataTerm, 10*time.Minute)
	set(&t.Idle, 30*time.Second)
	set(&t.Wait, 30*time.Second)
	set(&t.Hold, 5*time.Second)
	return t
}

func (r Route) withDefaults(name string) Route {
	r.Name = name
	if r.Protocol == "" {
		r.Protocol = SMTP
	}
	if r.MaxConnections <= 0 {
		r.MaxConnections = 40
	}
	if r.MaxIdle <= 0 {
		r.MaxIdle = min(10, r.MaxConnections)
	}
	return r
}

func (h Hop) onSocket() bool { return strings.HasPrefix(h.Address, "/") }

// check says what is wrong with a hop and fills in its defaults.
func (h *Hop) check() error {
	if h.TLS == "" {
		h.TLS = TLSOpportunistic
		if h.onSocket() {
			h.TLS = TLSNone
		}
	}
	switch h.TLS {
	case TLSNone, TLSOpportunistic, TLSRequired, TLSImplicit:
	default:
		return fmt.Errorf("tls = %q: want none, opportunistic, required or implicit", h.TLS)
	}
	if !h.onSocket() {
		host, _, err := net.SplitHostPort(h.Address)
		if err != nil {
			return fmt.Errorf("address %q: want HOST:PORT or the path of a socket", h.Address)
		}
		if h.ServerName == "" {
			h.ServerName = host
		}
	}
	if h.User != "" && !h.ClearAuth && h.TLS == TLSNone && !h.onSocket() {
		return errors.New("a login needs tls = \"required\" or \"implicit\"")
	}
	return nil
}

// tlsConfig makes the client's settings for this hop.
func (h Hop) tlsConfig() (*tls.Config, error) {
	c := &tls.Config{
		ServerName: h.ServerName,
		// RFC 8996: TLS 1.0 and 1.1 are deprecated.
		MinVersion:         tls.VersionTLS12,
		ClientSessionCache: tls.NewLRUClientSessionCache(4),
		// RFC 7435 section 3: where clear text is the fallback, refusing a certificate gains nothing.
		InsecureSkipVerify: h.Insecure || h.TLS == TLSOpportunistic,
	}
	if h.CAFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(h.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca file: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca file %s: no certificate in it", h.CAFile)
	}
	return c, nil
}
