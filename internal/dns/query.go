package dns

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"postern/internal/mail/ascii"
)

// question is what the cache and the flights are keyed by. Its name is fully qualified, in lower case and in the one
// escaped form that names from the wire have.
type question struct {
	name string
	kind uint16
}

// newQuestion checks a name before it goes anywhere. What can't be a name does not exist: no query is sent.
func newQuestion(name string, kind uint16) (question, error) {
	notFound := &net.DNSError{Err: "not a domain name", Name: name, IsNotFound: true}
	for i := range len(name) {
		if name[i] < ' ' || name[i] >= 0x7f {
			return question{}, notFound
		}
	}
	if name == "" {
		return question{}, notFound
	}
	var packed [256]byte
	escaped := strings.ReplaceAll(dns.Fqdn(strings.ToLower(name)), `\`, `\\`)
	if _, err := dns.PackDomainName(escaped, packed[:], 0, nil, false); err != nil {
		return question{}, notFound
	}
	canonical, _, err := dns.UnpackDomainName(packed[:], 0)
	if err != nil {
		return question{}, notFound
	}
	return question{canonical, kind}, nil
}

// answer is what is known of a question. Without records, alias is where the server stopped following, nx whether the
// name does not exist.
type answer struct {
	records []dns.RR
	alias   string
	aliases int
	nx      bool
	// secure is the AD bit of a server that is trusted with it.
	secure bool
	ttl    time.Duration
	size   int
}

// ask gives the answer from the cache or the servers and counts against the budget of ctx either way: what is found
// must not depend on what others asked before.
func (r *Resolver) ask(ctx context.Context, q question) (answer, error) {
	deadline, err := spend(ctx, q.name)
	if err != nil {
		return answer{}, err
	}
	if a, ok := r.cache.get(q, r.now()); ok {
		return a, nil
	}
	c, first := r.flights.join(q)
	if c == nil {
		return answer{}, &net.DNSError{Err: "too many questions under way", Name: q.name, IsTemporary: true}
	}
	if first {
		// On its own time: that one asker goes away is no reason to fail the others.
		go func() {
			c.answer, c.err = r.fetch(context.WithoutCancel(ctx), q)
			if c.err == nil {
				r.cache.put(q, c.answer, r.now())
			}
			r.flights.done(q, c)
		}()
	}
	var late <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		late = t.C
	}
	select {
	case <-c.finished:
		return c.answer, c.err
	case <-late:
		return answer{}, &net.DNSError{Err: "the time allowed for DNS is used up", Name: q.name, IsTimeout: true, IsTemporary: true}
	case <-ctx.Done():
		return answer{}, &net.DNSError{Err: ctx.Err().Error(), Name: q.name, IsTimeout: errors.Is(ctx.Err(), context.DeadlineExceeded), IsTemporary: true}
	}
}

// server is one recursive resolver.
type server struct {
	address string
	// trusted means that its AD bit counts.
	trusted bool
	// shunned is until when others are asked first, in nanoseconds of Unix time.
	shunned atomic.Int64
}

const (
	// shun is how long a server that gave no answer is asked last: else one dead server makes every question wait.
	shun = 30 * time.Second
	// maxFetch bounds one question, whatever the number of servers.
	maxFetch = 30 * time.Second
)

// order gives the servers, those that answer first.
func (r *Resolver) order() []*server {
	now := r.now().UnixNano()
	good := make([]*server, 0, len(r.servers))
	var bad []*server
	for _, s := range r.servers {
		if s.shunned.Load() > now {
			bad = append(bad, s)
		} else {
			good = append(good, s)
		}
	}
	return append(good, bad...)
}

// fetch goes through the servers until one gives an answer that can be used.
func (r *Resolver) fetch(ctx context.Context, q question) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, maxFetch)
	defer cancel()
	failure := &net.DNSError{Err: "no server answers", Name: q.name, IsTemporary: true, UnwrapErr: errNobody}
	for range r.attempts {
		for _, s := range r.order() {
			reply, err := r.try(ctx, q, s)
			if !errors.Is(err, errNobody) {
				failure.UnwrapErr = nil // a server answers there, whatever it says
			}
			if err != nil {
				var timeout net.Error
				failure.Err, failure.Server = err.Error(), s.address
				failure.IsTimeout = errors.As(err, &timeout) && timeout.Timeout()
				s.shunned.Store(r.now().Add(shun).UnixNano())
				continue
			}
			s.shunned.Store(0)
			if reply.Rcode == dns.RcodeSuccess || reply.Rcode == dns.RcodeNameError {
				a := read(q, reply)
				a.secure = s.trusted && reply.AuthenticatedData
				return a, nil
			}
			// SERVFAIL, REFUSED and the like: RFC 2308 section 7 lets them pass for no answer
			failure.Err, failure.Server, failure.IsTimeout = "server says "+dns.RcodeToString[reply.Rcode], s.address, false
		}
	}
	return answer{}, failure
}

var (
	errMismatch = errors.New("the answer is to another question")
	errNoAnswer = errors.New("no answer")
	// errNobody means that at the server's address there is no server.
	errNobody = errors.New("no server is there")
)

// Ping asks the servers in turn, past the memory, until one answers: whatever it answers, it is there.
func (r *Resolver) Ping(ctx context.Context) error {
	q := question{name: ".", kind: dns.TypeNS}
	var failures []error
	for _, s := range r.order() {
		_, err := r.try(ctx, q, s)
		if err == nil {
			return nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", s.address, err))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failures...)
}

// try asks one server by UDP and, when the answer is cut off (RFC 7766 section 5), by TCP.
func (r *Resolver) try(ctx context.Context, q question, s *server) (*dns.Msg, error) {
	query := new(dns.Msg)
	query.SetQuestion(r.disguise(q.name), q.kind)
	// RFC 6840 section 5.7: so one asks for the AD bit without asking for signatures
	query.AuthenticatedData = s.trusted
	// RFC 9715 section 3: 1232 octets travel unfragmented
	query.SetEdns0(1232, false)
	for _, network := range []string{"udp", "tcp"} {
		tryCtx, cancel := context.WithTimeout(ctx, r.timeout)
		reply, err := r.exchange.Exchange(tryCtx, query, s.address, network)
		cancel()
		switch {
		case err != nil && network == "udp" && nobody(err):
			return nil, fmt.Errorf("%w: %w", errNobody, err)
		case err != nil:
			return nil, err
		case reply == nil:
			return nil, errNoAnswer
		case !r.answers(query, reply):
			return nil, errMismatch
		case !reply.Truncated:
			return reply, nil
		}
	}
	return nil, errors.New("cut off even by TCP")
}

// answers says whether a reply is one to this query. RFC 5452 section 9.1: id, question and, where it was mixed, the case
// must match.
func (r *Resolver) answers(query, reply *dns.Msg) bool {
	return reply.Id == query.Id && reply.Response && r.sameQuestion(query, reply)
}

// nobody says whether an error means that a host takes no such packets at all. Silence is something else: whoever we ask
// about can cause that.
func nobody(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH)
}

func (r *Resolver) sameQuestion(query, reply *dns.Msg) bool {
	if len(reply.Question) != 1 {
		// some servers leave it out of an error, which says nothing that could be forged into a record
		return len(reply.Question) == 0 && reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError
	}
	a, b := query.Question[0], reply.Question[0]
	return a.Qtype == b.Qtype && a.Qclass == b.Qclass && (a.Name == b.Name || !r.randomCase && strings.EqualFold(a.Name, b.Name))
}

// disguise mixes the case of a name.
func (r *Resolver) disguise(name string) string {
	if !r.randomCase {
		return name
	}
	b := []byte(name)
	coins := make([]byte, len(b))
	_, _ = rand.Read(coins) // never fails
	for i, c := range b {
		if c >= 'a' && c <= 'z' && coins[i]&1 == 1 {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

// read takes from a reply what belongs to the question: the records of its type at the end of the chain of aliases
// that begins at its name. Everything else is ignored (RFC 5452 section 6).
func read(q question, reply *dns.Msg) answer {
	a := answer{nx: reply.Rcode == dns.RcodeNameError, ttl: -1}
	name := q.name
	for a.aliases <= MaxAliases {
		next := a.takeFrom(reply.Answer, name, q.kind)
		if len(a.records) > 0 || next == "" || next == name {
			break
		}
		name = next
		a.aliases++
	}
	if len(a.records) == 0 {
		if a.aliases > 0 {
			a.alias = name
		}
		a.negativeTTL(reply)
	}
	return a
}

// takeFrom keeps the records of one name and type, and gives the name that it is an alias of.
func (a *answer) takeFrom(records []dns.RR, name string, kind uint16) (alias string) {
	for _, rr := range records {
		h := rr.Header()
		if h.Class != dns.ClassINET || !strings.EqualFold(h.Name, name) {
			continue
		}
		if cname, ok := rr.(*dns.CNAME); ok && kind != dns.TypeCNAME {
			alias = strings.ToLower(cname.Target)
			a.lower(h.Ttl)
		} else if h.Rrtype == kind && len(a.records) < MaxRecords {
			a.records = append(a.records, rr)
			a.size += dns.Len(rr)
			a.lower(h.Ttl)
		}
	}
	return alias
}

func (a *answer) lower(ttl uint32) {
	if d := time.Duration(ttl) * time.Second; a.ttl < 0 || d < a.ttl {
		a.ttl = d
	}
}

// negativeTTL is that of RFC 2308 section 5: the lesser of the SOA's own TTL and its MINIMUM.
func (a *answer) negativeTTL(reply *dns.Msg) {
	for _, rr := range reply.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			a.lower(min(soa.Hdr.Ttl, soa.Minttl))
			return
		}
	}
	a.lower(60)
}

// flights holds the questions under way, so that each is asked once.
type flights struct {
	mu    sync.Mutex
	calls map[question]*call
}

type call struct {
	finished chan struct{}
	answer   answer
	err      error
}

// join gives the call for a question and whether the caller must make it; nil if too many are under way.
func (f *flights) join(q question) (*call, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.calls[q]; c != nil {
		return c, false
	}
	if len(f.calls) >= maxInFlight {
		return nil, false
	}
	c := &call{finished: make(chan struct{})}
	f.calls[q] = c
	return c, true
}

func (f *flights) done(q question, c *call) {
	f.mu.Lock()
	delete(f.calls, q)
	f.mu.Unlock()
	close(c.finished)
}

// wire is the network.
type wire struct{}

func (wire) Exchange(ctx context.Context, query *dns.Msg, server, network string) (*dns.Msg, error) {
	c := dns.Client{Net: network, UDPSize: 1232}
	if deadline, ok := ctx.Deadline(); ok {
		c.Timeout = time.Until(deadline)
	}
	reply, _, err := c.ExchangeContext(ctx, query, server)
	return reply, err
}

func sortMX(hosts []*net.MX) {
	slices.SortStableFunc(hosts, func(a, b *net.MX) int {
		if a.Pref != b.Pref {
			return int(a.Pref) - int(b.Pref)
		}
		return strings.Compare(a.Host, b.Host)
	})
}

// unescape turns the presentation form of a TXT string back into its octets (RFC 1035 section 5.1).
func unescape(text string) string {
	if strings.IndexByte(text, '\\') < 0 {
		return text
	}
	b := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '\\' && i+3 < len(text) && ascii.AllDigits(text[i+1:i+4]) {
			c = (text[i+1]-'0')*100 + (text[i+2]-'0')*10 + text[i+3] - '0'
			i += 3
		} else if c == '\\' && i+1 < len(text) {
			i++
			c = text[i]
		}
		b = append(b, c)
	}
	return string(b)
}
