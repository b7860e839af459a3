package recipients

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"postern/internal/mail"
)

// BoundLDAP bounds what an LDAP server can make the whole program read at once, in octets. It is called before the first
// question, by whoever starts the program.
func BoundLDAP() { ber.MaxPacketLengthBytes = 1 << 20 }

// LDAP is a Directory that speaks LDAP: RFC 4511. It keeps one connection and makes a new one when that is lost.
type LDAP struct {
	// URL is ldap://HOST[:PORT] or ldaps://; StartTLS asks for TLS on the former (RFC 4511 section 4.14), with TLS.
	URL      string
	StartTLS bool
	TLS      *tls.Config
	// BindDN and Password log in, "" is an anonymous bind.
	BindDN, Password string
	// BaseDN is where to look, Filter for what: {address} in it is the address that is asked for.
	BaseDN, Filter string
	// Timeout bounds one question, a new connection included.
	Timeout time.Duration

	mu   sync.Mutex
	conn *ldap.Conn
	// failed is when the server was last found to be away: it is not asked again at once.
	failed time.Time
}

// rest is how long a directory that does not answer is left alone.
const rest = 5 * time.Second

// errResting is the error while a directory is left alone.
var errResting = errors.New("it did not answer a moment ago")

// Has implements Directory.
func (l *LDAP) Has(ctx context.Context, a mail.Address) (bool, error) {
	// RFC 4511 section 4.5.1.8: "1.1" asks for no attributes. One entry is all we want to know of.
	found, err := l.askWider(ctx, a, "1.1")
	return found.entries > 0, err
}

// Attribute gives the values of an attribute of the one entry that fits an address; none if there is no such entry, or
// more than one.
func (l *LDAP) Attribute(ctx context.Context, a mail.Address, name string) ([]string, error) {
	found, err := l.askWider(ctx, a, name)
	if found.entries != 1 {
		return nil, err
	}
	return found.values, err
}

// result is how many entries fit, 2 for several, and what one has in the attribute.
type result struct {
	entries int
	values  []string
}

// askWider asks for an address and, if it is unknown, for the one without its detail: "ben+news@" is a mailbox of
// ben's.
func (l *LDAP) askWider(ctx context.Context, a mail.Address, attribute string) (result, error) {
	found, err := l.ask(ctx, a, attribute)
	if plain, detailed := a.WithoutDetail(); detailed && err == nil && found.entries == 0 {
		return l.ask(ctx, plain, attribute)
	}
	return found, err
}

func (l *LDAP) ask(ctx context.Context, a mail.Address, attribute string) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	type answer struct {
		result
		err error
	}
	// the library knows no contexts: who asks waits no longer than it may
	done := make(chan answer, 1)
	go func() {
		found, err := l.search(a, attribute)
		done <- answer{found, err}
	}()
	select {
	case got := <-done:
		return got.result, got.err
	case <-ctx.Done():
		return result{}, ctx.Err()
	}
}

// search puts the question, once more over a new connection if the old one is dead. Questions wait for each other: a
// directory answers in a millisecond, and what it said is remembered.
func (l *LDAP) search(a mail.Address, attribute string) (result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.failed) < rest {
		return result{}, errResting
	}
	for try := 0; ; try++ {
		had := l.conn != nil
		found, err := l.searchOnce(a, attribute)
		if err == nil {
			return found, nil
		}
		l.drop()
		if !had || try > 0 || !ldap.IsErrorWithCode(err, ldap.ErrorNetwork) {
			l.failed = time.Now()
			return result{}, err
		}
	}
}

func (l *LDAP) searchOnce(a mail.Address, attribute string) (result, error) {
	if l.conn == nil {
		if err := l.connect(); err != nil {
			return result{}, err
		}
	}
	// RFC 4515 section 3: what is special in a filter is escaped, so that an address stays an address.
	filter := strings.ReplaceAll(l.Filter, "{address}", ldap.EscapeFilter(a.String()))
	r := ldap.NewSearchRequest(l.BaseDN, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 1, int(l.Timeout.Seconds())+1, false, filter, []string{attribute}, nil)
	found, err := l.conn.Search(r)
	if ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) { // more than one has it
		return result{entries: 2}, nil
	}
	if err != nil {
		return result{}, fmt.Errorf("search: %w", err)
	}
	if len(found.Entries) == 0 {
		return result{}, nil
	}
	return result{len(found.Entries), found.Entries[0].GetAttributeValues(attribute)}, nil
}

func (l *LDAP) connect() error {
	u, err := url.Parse(l.URL)
	if err != nil {
		return err
	}
	config := l.TLS.Clone()
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	config.ServerName = u.Hostname()
	conn, err := ldap.DialURL(l.URL, ldap.DialWithDialer(&net.Dialer{Timeout: l.Timeout}), ldap.DialWithTLSConfig(config))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	conn.SetTimeout(l.Timeout)
	if l.StartTLS {
		if err := conn.StartTLS(config); err != nil {
			return errors.Join(fmt.Errorf("starttls: %w", err), conn.Close())
		}
	}
	if l.BindDN != "" {
		if err := conn.Bind(l.BindDN, l.Password); err != nil {
			return errors.Join(fmt.Errorf("bind: %w", err), conn.Close())
		}
	}
	l.conn = conn
	return nil
}

// Ping asks, over a connection of its own, whether the server is there and lets us in.
func (l *LDAP) Ping(ctx context.Context) error {
	one := &LDAP{URL: l.URL, StartTLS: l.StartTLS, TLS: l.TLS, BindDN: l.BindDN, Password: l.Password, Timeout: l.Timeout}
	if end, ok := ctx.Deadline(); ok { // what is later than a question waits is of no use
		one.Timeout = min(l.Timeout, time.Until(end))
	}
	done := make(chan error, 1)
	go func() { done <- one.hello() }() // the library knows no contexts; it ends with the timeout at the latest
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hello asks for the root entry. RFC 4512 section 5.1: every server has one, and shows it to every client.
func (l *LDAP) hello() error {
	defer l.drop()
	if err := l.connect(); err != nil {
		return err
	}
	_, err := l.conn.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, 0, false, "(objectClass=*)", []string{"1.1"}, nil))
	return err
}

func (l *LDAP) drop() {
	if l.conn != nil {
		_ = l.conn.Close() // it is of no use any more
		l.conn = nil
	}
}

// Close ends the connection.
func (l *LDAP) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop()
	return nil
}
