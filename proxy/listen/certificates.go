// Package listen is what connections need below any protocol: certificates, sockets of transparent doors, TLS records in
// little memory, and bans of those who guess passwords.
package listen

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Pair is a certificate and its key, in PEM; both may be the same file.
type Pair struct{ Cert, Key string }

// CertificateOptions say where certificates come from.
type CertificateOptions struct {
	// Pairs are chosen by the name the client asks for; the first is for all others. Without any, a self-signed one is
	// made for HostName and kept in Dir.
	Pairs    []Pair
	Dir      string
	HostName string
	// ACME, if set, is asked first.
	ACME *ACME
	Log  *slog.Logger
}

// recheck is how often files are looked at for a change.
const recheck = 5 * time.Second

// Certificates are those of all doors. Files that change are read again; if that fails the old ones stay.
type Certificates struct {
	o CertificateOptions

	mu      sync.Mutex
	certs   []*tls.Certificate
	stamps  []time.Time
	checked time.Time
	lastErr string
}

// NewCertificates loads the certificates, or makes one.
func NewCertificates(o CertificateOptions) (*Certificates, error) {
	o.Pairs = slices.Clone(o.Pairs)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if len(o.Pairs) == 0 {
		file := filepath.Join(o.Dir, "self-signed.pem")
		if err := selfSigned(file, o.HostName); err != nil {
			return nil, fmt.Errorf("make a certificate: %w", err)
		}
		o.Pairs = []Pair{{file, file}}
	}
	c := &Certificates{o: o}
	return c, c.Reload()
}

// Reload reads all files again.
func (c *Certificates) Reload() error {
	stamps := c.modified()
	certs := make([]*tls.Certificate, 0, len(c.o.Pairs))
	for _, p := range c.o.Pairs {
		one, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			return fmt.Errorf("certificate %s: %w", p.Cert, err)
		}
		certs = append(certs, &one)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.certs, c.stamps, c.lastErr = certs, stamps, ""
	return nil
}

// Expiry is when the first of the certificates from files ends.
func (c *Certificates) Expiry() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.certs[0].Leaf.NotAfter
	for _, cert := range c.certs {
		if cert.Leaf.NotAfter.Before(first) {
			first = cert.Leaf.NotAfter
		}
	}
	return first
}

func (c *Certificates) modified() []time.Time {
	var all []time.Time
	for _, p := range c.o.Pairs {
		for _, name := range []string{p.Cert, p.Key} {
			var t time.Time
			if info, err := os.Stat(name); err == nil {
				t = info.ModTime()
			}
			all = append(all, t)
		}
	}
	return all
}

// refresh reads the files again if one of them changed. While a certificate is new and its key still old this fails, and
// is tried again at the next look.
func (c *Certificates) refresh(now time.Time) {
	c.mu.Lock()
	if now.Sub(c.checked) < recheck {
		c.mu.Unlock()
		return
	}
	c.checked = now
	old := c.stamps
	c.mu.Unlock()
	if slices.EqualFunc(c.modified(), old, time.Time.Equal) {
		return
	}
	err := c.Reload()
	if err == nil {
		c.o.Log.Info("certificates read again")
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lastErr != err.Error() {
		c.lastErr = err.Error()
		c.o.Log.Error("changed certificate can't be used, the old one stays", "error", err)
	}
}

func (c *Certificates) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.o.ACME != nil {
		if cert, err := c.o.ACME.certificate(hello); err == nil {
			return cert, nil
		}
	}
	c.refresh(time.Now())
	c.mu.Lock()
	defer c.mu.Unlock()
	var named *tls.Certificate
	for _, cert := range c.certs {
		if hello.ServerName == "" || cert.Leaf.VerifyHostname(hello.ServerName) != nil {
			continue
		}
		// Two kinds of key for one name: the one this client can read.
		if hello.SupportsCertificate(cert) == nil {
			return cert, nil
		}
		named = cmp.Or(named, cert)
	}
	return cmp.Or(named, c.certs[0]), nil
}

// Config makes the settings for one door. Each has ticket keys of its own, so a session of one door can't be resumed at
// another (RFC 8446 section 8.1 leaves that to us; ALPACA, USENIX Security 2021, shows why).
func (c *Certificates) Config() *tls.Config {
	// RFC 8996: nothing below TLS 1.2.
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.choose}
	// RFC 7301 section 3.2: a client that wants nothing but the web's protocols gets the alert that we have none of them.
	// A config with a name that no client uses makes crypto/tls send that alert.
	refuse := config.Clone()
	refuse.NextProtos = []string{"postern-speaks-no-http"}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if len(hello.SupportedProtos) > 0 && !slices.ContainsFunc(hello.SupportedProtos, notOfTheWeb) {
			return refuse, nil
		}
		return nil, nil
	}
	return config
}

func notOfTheWeb(proto string) bool {
	return !strings.HasPrefix(proto, "http/") && proto != "h2" && proto != "h3" && proto != "h2c" && !strings.HasPrefix(proto, "spdy/")
}

// selfSigned makes a certificate for ten years, unless there is one. STARTTLS without a known authority is still better
// than clear text, and no mail server checks.
func selfSigned(file, host string) error {
	if _, err := os.Stat(file); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	host = cmp.Or(host, "localhost")
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: host}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		template.IPAddresses = append(template.IPAddresses, ip.AsSlice())
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...)
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
