package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// ACMEOptions say how certificates are got by ACME (RFC 8555).
type ACMEOptions struct {
	// Names are the host names; the first is for clients that name none.
	Names []string
	Email string
	// CA is the URL of the directory; empty is Let's Encrypt.
	CA string
	// Dir keeps account, keys and certificates.
	Dir string
	// HTTP (HTTP-01, RFC 8555 section 8.3) and TLSALPN (RFC 8737) are where challenges are answered, as HOST:PORT; an
	// empty one is not used. The authority comes to ports 80 and 443.
	HTTP, TLSALPN string
	Log           *slog.Logger
}

// ACME gets certificates and renews them.
type ACME struct {
	config *certmagic.Config
	cache  *certmagic.Cache
}

// NewACME begins to get the certificates in the background; until they are there others are shown. Close ends it.
func NewACME(ctx context.Context, o ACMEOptions) (*ACME, error) {
	if len(o.Names) == 0 || o.HTTP == "" && o.TLSALPN == "" {
		return nil, errors.New("acme: want names, and an address for http or tls_alpn")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	issuer := certmagic.ACMEIssuer{
		CA: o.CA, Email: o.Email, Agreed: true, DisableHTTPChallenge: o.HTTP == "", DisableTLSALPNChallenge: o.TLSALPN == "", Logger: zap.NewNop(),
	}
	for _, one := range []struct {
		address string
		port    *int
	}{{o.HTTP, &issuer.AltHTTPPort}, {o.TLSALPN, &issuer.AltTLSALPNPort}} {
		if one.address == "" {
			continue
		}
		host, port, err := net.SplitHostPort(one.address)
		if err == nil {
			*one.port, err = strconv.Atoi(port)
		}
		if err != nil {
			return nil, fmt.Errorf("acme: address %q: %w", one.address, err)
		}
		issuer.ListenHost = host
	}
	a := &ACME{}
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return a.config, nil },
		Logger:           zap.NewNop(),
	})
	a.config = certmagic.New(a.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: o.Dir}, DefaultServerName: o.Names[0], Logger: zap.NewNop(),
		OnEvent: func(_ context.Context, event string, facts map[string]any) error {
			switch event {
			case "cert_failed":
				o.Log.Error("certificate could not be got", "name", facts["identifier"], "error", facts["error"])
			case "cert_obtained":
				o.Log.Info("certificate got", "name", facts["identifier"])
			}
			return nil
		},
	})
	a.config.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(a.config, issuer)}
	if err := a.config.ManageAsync(ctx, o.Names); err != nil {
		a.cache.Stop()
		return nil, fmt.Errorf("acme: %w", err)
	}
	return a, nil
}

func (a *ACME) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return a.config.GetCertificate(hello)
}

// Close ends renewal.
func (a *ACME) Close() { a.cache.Stop() }
