package access

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"postern/proxy/listen"
)

// TLSMode says how the way to a backend is protected.
type TLSMode string

// The modes. With TLSStartTLS and TLSImplicit no password ever goes out in the clear, whatever the backend says.
const (
	TLSNone     TLSMode = "none"
	TLSStartTLS TLSMode = "starttls"
	TLSImplicit TLSMode = "implicit"
)

// Backend is a server behind the gateway at which a user's mailbox is.
type Backend struct {
	// Name is that of the settings: addresses that serve as fallbacks for each other share it.
	Name string
	// Address is HOST:PORT.
	Address string
	TLS     TLSMode
	// Trust says how certificates are checked; nil trusts the system's authorities, for the host in Address.
	Trust *tls.Config
	// Forward tells the backend the client's address: x-originating-ip in IMAP's ID, XCLIENT in POP3.
	Forward bool
	// Source, if valid, is the address that the connection comes from: the client's own, where the machine routes such
	// packets back to us.
	Source netip.Addr
}

// dialTimeout bounds one connection and its handshake.
const dialTimeout = 10 * time.Second

// Dial connects. With TLSImplicit the handshake is done and the certificate checked (RFC 8314 section 3).
func (b *Backend) Dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	d := listen.Dialer(b.Source)
	d.KeepAlive = -1 // the doors' time limits find out; probes cost four system calls a connection
	network := "tcp"
	if strings.HasPrefix(b.Address, "/") {
		network = "unix"
	}
	c, err := d.DialContext(ctx, network, b.Address)
	if err != nil {
		return nil, err
	}
	if b.TLS != TLSImplicit {
		return c, nil
	}
	return b.StartTLS(ctx, c)
}

// StartTLS does the handshake and checks the certificate. The caller has made sure that nothing the backend sent before
// it is kept (RFC 9051 section 6.2.1). The connection is closed if it fails.
func (b *Backend) StartTLS(ctx context.Context, c net.Conn) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	secured := tls.Client(listen.Records(c), b.Config())
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("TLS to %s: %w", b.Address, err), c.Close())
	}
	return secured, nil
}

// Config says how the backend's certificate is checked.
func (b *Backend) Config() *tls.Config {
	trust := b.Trust.Clone()
	if trust == nil {
		trust = &tls.Config{}
	}
	trust.MinVersion = max(trust.MinVersion, tls.VersionTLS12)
	if trust.ServerName == "" {
		trust.ServerName, _, _ = net.SplitHostPort(b.Address)
	}
	return trust
}
