// Package dns is the one resolver: the servers the admin names (or the system's), a cache that honours TTLs, one query
// in flight per question, errors as *net.DNSError so that every user tells "no such name" from "no answer".
//
// It asks recursive resolvers and nobody else. What it takes from an answer is bounded: only records that belong to the
// question count, an alias is followed MaxAliases times, a cache holds so many octets and no more.
package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Limits that no setting changes.
const (
	// MaxAliases is how many CNAME records stand between a question and its answer at most.
	MaxAliases = 8
	// MaxRecords is how many records of one answer are used; the rest is dropped.
	MaxRecords = 512
	// maxInFlight is how many questions may be on their way at once.
	maxInFlight = 8192
)

// Options are the settings of a Resolver. The zero value is usable.
type Options struct {
	// Servers are the recursive resolvers as HOST, HOST:PORT or [IPV6]:PORT. Empty: those of /etc/resolv.conf.
	Servers []string
	// Timeout bounds one try at one server; 0 is 3 s.
	Timeout time.Duration
	// Attempts is how often the list of servers is gone through; 0 is 2.
	Attempts int
	// MinTTL and MaxTTL bound how long an answer is kept; 0 is 5 s and 1 day. MaxNegativeTTL bounds how long "there is
	// none" is kept; 0 is 15 min.
	MinTTL, MaxTTL, MaxNegativeTTL time.Duration
	// CacheSize bounds the cache in octets; 0 is 32 MiB, negative is no cache.
	CacheSize int
	// RandomCase asks in random upper and lower case and wants the same back: harder to forge an answer for, but a few
	// name servers don't keep to it.
	RandomCase bool
	// Exchange carries one query to one server; nil is UDP and TCP.
	Exchange Exchanger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Exchanger carries a query to a server and brings its answer, by the network "udp" or "tcp".
type Exchanger interface {
	Exchange(ctx context.Context, query *dns.Msg, server, network string) (*dns.Msg, error)
}

// Resolver asks. It serves many goroutines at once.
type Resolver struct {
	servers    []*server
	timeout    time.Duration
	attempts   int
	randomCase bool
	exchange   Exchanger
	now        func() time.Time
	cache      *cache
	flights    flights
}

// New makes a resolver.
func New(o Options) (*Resolver, error) {
	r := &Resolver{
		timeout: or(o.Timeout, 3*time.Second), attempts: or(o.Attempts, 2), randomCase: o.RandomCase,
		exchange: o.Exchange, now: o.Now, flights: flights{calls: map[question]*call{}},
	}
	if r.exchange == nil {
		r.exchange = wire{}
	}
	if r.now == nil {
		r.now = time.Now
	}
	servers := o.Servers
	if len(servers) == 0 && o.Exchange == nil {
		system, err := dns.ClientConfigFromFile("/etc/resolv.conf")
		if err != nil {
			return nil, fmt.Errorf("no DNS servers are set and the system's can't be read: %w: set servers in [dns]", err)
		}
		for _, s := range system.Servers {
			servers = append(servers, net.JoinHostPort(s, system.Port))
		}
	}
	if len(servers) == 0 {
		servers = []string{"127.0.0.1:53"}
	}
	for _, s := range servers {
		address, err := serverAddress(s)
		if err != nil {
			return nil, err
		}
		r.servers = append(r.servers, &server{address: address, trusted: isLoopback(address)})
	}
	r.cache = newCache(or(o.CacheSize, 32<<20), ttls{
		min: or(o.MinTTL, 5*time.Second), max: or(o.MaxTTL, 24*time.Hour), negative: or(o.MaxNegativeTTL, 15*time.Minute),
	})
	return r, nil
}

func or[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// isLoopback says whether an address with its port is on this machine.
func isLoopback(address string) bool {
	ap, err := netip.ParseAddrPort(address)
	return err == nil && ap.Addr().IsLoopback()
}

func serverAddress(text string) (string, error) {
	if ip, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return net.JoinHostPort(ip.String(), "53"), nil
	}
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.String(), nil
	}
	return "", fmt.Errorf("DNS server %q is not an IP address with or without a port, as in 192.0.2.53 or [2001:db8::53]:53", text)
}

// LookupTXT gives the TXT records of a name, the strings of each joined without a space (RFC 7208 section 3.3).
func (r *Resolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	records, _, err := r.lookup(ctx, name, dns.TypeTXT)
	var texts []string
	for _, rr := range records {
		if txt, ok := rr.(*dns.TXT); ok {
			texts = append(texts, unescape(strings.Join(txt.Txt, "")))
		}
	}
	return texts, err
}

// LookupMX gives the mail exchangers of a name by preference. A null MX (RFC 7505) is the host ".".
func (r *Resolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	records, _, err := r.lookup(ctx, name, dns.TypeMX)
	var hosts []*net.MX
	for _, rr := range records {
		if mx, ok := rr.(*dns.MX); ok {
			hosts = append(hosts, &net.MX{Host: mx.Mx, Pref: mx.Preference})
		}
	}
	sortMX(hosts)
	return hosts, err
}

// LookupA and LookupAAAA give the addresses of a name in one family.
func (r *Resolver) LookupA(ctx context.Context, name string) ([]netip.Addr, error) {
	return r.addresses(ctx, name, dns.TypeA)
}

// LookupAAAA gives the IPv6 addresses of a name.
func (r *Resolver) LookupAAAA(ctx context.Context, name string) ([]netip.Addr, error) {
	return r.addresses(ctx, name, dns.TypeAAAA)
}

// LookupIPAddr gives the addresses of a name in both families. It fails only if neither has one.
func (r *Resolver) LookupIPAddr(ctx context.Context, name string) ([]net.IPAddr, error) {
	four, err4 := r.LookupA(ctx, name)
	six, err6 := r.LookupAAAA(ctx, name)
	var all []net.IPAddr
	for _, ip := range append(four, six...) {
		all = append(all, net.IPAddr{IP: ip.AsSlice()})
	}
	switch {
	case len(all) > 0:
		return all, nil
	case err4 != nil && !IsNotFound(err4):
		return nil, err4
	case err6 != nil:
		return nil, err6
	}
	return nil, err4
}

// LookupAddr gives the names that an address claims, unverified.
func (r *Resolver) LookupAddr(ctx context.Context, address string) ([]string, error) {
	arpa, err := dns.ReverseAddr(address)
	if err != nil {
		return nil, &net.DNSError{Err: "not an IP address", Name: address, IsNotFound: true}
	}
	records, _, err := r.lookup(ctx, arpa, dns.TypePTR)
	var names []string
	for _, rr := range records {
		if ptr, ok := rr.(*dns.PTR); ok {
			names = append(names, ptr.Ptr)
		}
	}
	return names, err
}

// LookupSecure gives the records of a name and type, and whether DNSSEC vouches for them and for every alias on the way.
// Only a resolver on this machine is believed that: on any network in between the AD bit is anybody's (RFC 6698 section
// 10.1.1, RFC 4035 section 4.9.3). It is for DANE.
func (r *Resolver) LookupSecure(ctx context.Context, name string, kind uint16) (records []dns.RR, secure bool, err error) {
	return r.lookup(ctx, name, kind)
}

// Exists says whether a name exists at all, with or without records (RFC 8020: NXDOMAIN alone says that it does not).
func (r *Resolver) Exists(ctx context.Context, name string) (bool, error) {
	q, err := newQuestion(name, dns.TypeA)
	if err != nil {
		return false, nil
	}
	a, err := r.ask(ctx, q)
	if err != nil {
		return false, err
	}
	return !a.nx, nil
}

func (r *Resolver) addresses(ctx context.Context, name string, kind uint16) ([]netip.Addr, error) {
	records, _, err := r.lookup(ctx, name, kind)
	return addressesOf(records, kind), err
}

func addressesOf(records []dns.RR, kind uint16) (list []netip.Addr) {
	for _, rr := range records {
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A
		case *dns.AAAA:
			ip = rr.AAAA
		}
		if a, ok := netip.AddrFromSlice(ip); ok {
			if kind == dns.TypeA {
				a = a.Unmap()
			}
			list = append(list, a)
		}
	}
	return list
}

// lookup follows aliases that the server did not follow by itself. Its error is a *net.DNSError or nil.
func (r *Resolver) lookup(ctx context.Context, name string, kind uint16) (records []dns.RR, secure bool, err error) {
	q, err := newQuestion(name, kind)
	if err != nil {
		return nil, false, err
	}
	left := MaxAliases
	secure = true
	for {
		a, err := r.ask(ctx, q)
		if err != nil {
			return nil, false, err
		}
		secure = secure && a.secure
		left -= a.aliases
		if left < 0 {
			return nil, false, &net.DNSError{Err: "too many aliases", Name: name}
		}
		if len(a.records) > 0 {
			return a.records, secure, nil
		}
		if a.alias == "" || a.nx {
			return nil, secure, &net.DNSError{Err: "no such name or no such record", Name: name, IsNotFound: true}
		}
		q.name = a.alias
	}
}

// IsNotFound says whether the error means that there is no such name or record, for certain.
func IsNotFound(err error) bool {
	var e *net.DNSError
	return errors.As(err, &e) && e.IsNotFound
}

// IsTemporary says whether the error means that nobody could tell.
func IsTemporary(err error) bool { return err != nil && !IsNotFound(err) }

// IsNobody says whether the error means that none of the resolvers that are set is there: their hosts refuse such packets.
// No stranger's domain can be the cause of that, as it can be of silence and of SERVFAIL.
func IsNobody(err error) bool { return errors.Is(err, errNobody) }
