// Package outbound sends our own users' mail into the world. For now it signs: RFC 6376, RFC 8463.
package outbound

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"postern/internal/mail"
)

// Key is one DKIM key as the settings have it.
type Key struct {
	Domain, Selector string
	// PEM is the private key: PKCS #8, or PKCS #1 for RSA.
	PEM []byte
	// From is when the key comes into use: of several keys of one kind, that with the latest date that has come signs.
	// So a key is published days before its time and an old one goes on being published after it.
	From time.Time
}

// Signer signs mail for the domains that have keys. It serves many goroutines at once.
type Signer struct {
	keys map[string][]key // by domain
	now  func() time.Time
}

type key struct {
	selector string
	kind     string
	from     time.Time
	private  crypto.Signer
}

// minRSA is the least size of an RSA key that we sign with: RFC 8301 section 3.2.
const minRSA = 2048

// NewSigner reads the keys.
func NewSigner(keys []Key, now func() time.Time) (*Signer, error) {
	s := &Signer{keys: map[string][]key{}, now: now}
	for _, k := range keys {
		domain := mail.ASCIIDomain(k.Domain)
		if domain == "" || !mail.ValidDomain(domain) || !mail.ValidDomain(k.Selector) {
			return nil, fmt.Errorf("DKIM key %q of %q: domain and selector must be domain names", k.Selector, k.Domain)
		}
		private, kind, err := parseKey(k.PEM)
		if err != nil {
			return nil, fmt.Errorf("DKIM key %s of %s: %w", k.Selector, domain, err)
		}
		s.keys[domain] = append(s.keys[domain], key{k.Selector, kind, k.From, private})
	}
	return s, nil
}

func parseKey(text []byte) (crypto.Signer, string, error) {
	private, kind, err := parsePEM(text)
	if k, ok := private.(*rsa.PrivateKey); ok && k.N.BitLen() < minRSA {
		return nil, "", fmt.Errorf("an RSA key of %d bits is too short, %d is the least", k.N.BitLen(), minRSA)
	}
	return private, kind, err
}

func parsePEM(text []byte) (crypto.Signer, string, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, "", errors.New("not a PEM file: make one with `postern dkim keygen`")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			return nil, "", errors.New("not a private key in PKCS #8 or PKCS #1: make one with `postern dkim keygen`")
		}
	}
	switch k := parsed.(type) {
	case *rsa.PrivateKey:
		return k, "rsa", nil
	case ed25519.PrivateKey:
		return k, "ed25519", nil
	}
	return nil, "", errors.New("neither an RSA nor an Ed25519 key")
}

// inUse gives the domain that signs for a From domain, the nearest one above it that has keys, and its key of each kind
// that is in use now.
func (s *Signer) inUse(fromDomain string) (domain string, chosen []key) {
	now := s.now()
	for domain = mail.ASCIIDomain(fromDomain); domain != ""; _, domain, _ = strings.Cut(domain, ".") {
		latest := map[string]key{}
		for _, k := range s.keys[domain] {
			best, have := latest[k.kind]
			if !k.from.After(now) && (!have || k.from.After(best.from)) {
				latest[k.kind] = k
			}
		}
		// RFC 8463 section 3: sign with RSA as well, while not all verifiers know Ed25519
		for _, kind := range []string{"rsa", "ed25519"} {
			if k, ok := latest[kind]; ok {
				chosen = append(chosen, k)
			}
		}
		if len(chosen) > 0 {
			return domain, chosen
		}
	}
	return "", nil
}

// Sign gives the DKIM-Signature fields for a copy, each ended by CRLF, to go on top of it; nil if the domain has no key.
func (s *Signer) Sign(ctx context.Context, c mail.Copy, fromDomain string) ([]byte, error) {
	domain, keys := s.inUse(fromDomain)
	if len(keys) == 0 {
		return nil, nil
	}
	names, err := signedNames(c)
	if err != nil {
		return nil, err
	}
	var fields []byte
	for _, k := range keys {
		field, err := signWith(ctx, c, domain, k, names)
		if err != nil {
			return nil, fmt.Errorf("sign for %s with %s: %w", domain, k.selector, err)
		}
		fields = append(fields, field...)
	}
	return fields, nil
}

func signWith(ctx context.Context, c mail.Copy, domain string, k key, names []string) ([]byte, error) {
	signer, err := dkim.NewSigner(&dkim.SignOptions{
		Domain: domain, Selector: k.selector, Signer: k.private, HeaderKeys: names,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
	})
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(signer, contextReader{ctx, c.Open()})
	// Close ends the signer's own goroutine whatever happened
	if err = errors.Join(err, signer.Close()); err != nil {
		return nil, err
	}
	field := signer.Signature()
	return []byte(strings.TrimRight(field, "\r\n") + "\r\n"), nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx  context.Context
	from io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.from.Read(p)
}

// signable are the fields that say what a message is, in the order of RFC 6376 section 5.4.1.
func signable() []string {
	return []string{"From", "Reply-To", "Subject", "Date", "To", "Cc", "Message-ID", "In-Reply-To", "References",
		"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Sender", "List-Id", "List-Unsubscribe", "List-Unsubscribe-Post"}
}

// signedNames lists the fields to sign, each once more than it is there: so nobody can add one (RFC 6376 section 8.15).
func signedNames(c mail.Copy) ([]string, error) {
	top := mail.ParseHeader(append(slices.Clip(slices.Clone(c.Top)), '\r', '\n'))
	var names []string
	for _, name := range signable() {
		n := top.Count(name)
		for _, f := range c.Message.Header().Fields {
			if f.Is(name) && !omitted(c.Omit, f.Offset) {
				n++
			}
		}
		if n > 20 {
			return nil, fmt.Errorf("%d %s fields: nobody can sign that", n, name)
		}
		for range n + 1 {
			names = append(names, name)
		}
	}
	return names, nil
}

func omitted(spans []mail.Span, offset int) bool {
	for _, s := range spans {
		if s.From <= int64(offset) && int64(offset) < s.To {
			return true
		}
	}
	return false
}

// Keygen makes a key of the kind "rsa" (2048 bits), "rsa4096" or "ed25519": the private key as PEM, and the text of the
// TXT record that publishes it at SELECTOR._domainkey.DOMAIN.
func Keygen(kind string) (privatePEM, dnsTXT string, err error) {
	var private crypto.Signer
	switch kind {
	case "rsa", "rsa2048":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "rsa4096":
		private, err = rsa.GenerateKey(rand.Reader, 4096)
	case "ed25519":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("unknown kind of key %q: rsa, rsa4096 or ed25519", kind)
	}
	if err != nil {
		return "", "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", fmt.Errorf("write the key: %w", err)
	}
	privatePEM = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	// RFC 8463 section 4: the public key of Ed25519 stands there as it is, RSA's in its ASN.1 wrapping
	if ed, ok := private.Public().(ed25519.PublicKey); ok {
		return privatePEM, "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(ed), nil
	}
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return "", "", fmt.Errorf("write the key: %w", err)
	}
	return privatePEM, "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(public), nil
}
