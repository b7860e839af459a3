package signature

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// Key is a public key from DNS: RFC 6376 section 3.6.1.
type Key struct {
	public crypto.PublicKey
	Bits   int
	// Testing is t=y, Strict t=s: i= must have exactly the domain of d=.
	Testing, Strict bool
}

// TXT looks up TXT records; its errors are *net.DNSError.
type TXT interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// maxKeys is how many records at one selector are tried. RFC 6376 section 3.6.2.2 wants one; domains that change from
// one algorithm to another are seen with two.
const maxKeys = 4

// LookupKeys gives the keys at a selector. Of several records those that can't be read are left out; the error is that
// of the first if no record can be read.
func LookupKeys(ctx context.Context, r TXT, selector, domain string) ([]*Key, error) {
	texts, err := r.LookupTXT(ctx, selector+"._domainkey."+domain)
	if err != nil {
		return nil, err
	}
	var keys []*Key
	first := errors.New("no key record")
	for i, text := range texts {
		if i == maxKeys {
			break
		}
		k, err := ParseKey(text)
		if err == nil {
			keys = append(keys, k)
		} else if i == 0 {
			first = err
		}
	}
	if len(keys) > 0 {
		return keys, nil
	}
	return nil, first
}

// ParseKey reads a key record.
func ParseKey(text string) (*Key, error) {
	tags, err := ParseTags(text)
	if err != nil {
		return nil, fmt.Errorf("key record: %w", err)
	}
	if err := usable(tags); err != nil {
		return nil, err
	}
	der, err := decodeBase64(tags["p"])
	if err != nil {
		return nil, errors.New("the key is not base64")
	}

	k := &Key{Testing: listHas(tags["t"], "y"), Strict: listHas(tags["t"], "s")}
	switch kind, given := tags["k"]; {
	case !given || strings.EqualFold(kind, "rsa"):
		return k, k.setRSA(der)
	case strings.EqualFold(kind, "ed25519"):
		return k, k.setEd25519(der)
	}

	return nil, errors.New("unknown kind of key")
}

// usable says why a record's key is not for signatures of mail, if it isn't.
func usable(tags map[string]string) error {
	// RFC 6376 section 3.6.1: if there is a v=, it is DKIM1
	if v, ok := tags["v"]; ok && v != "DKIM1" {
		return errors.New("key record is of another version")
	}

	if err := present(tags); err != nil {
		return err
	}
	if h, ok := tags["h"]; ok && !listHas(h, "sha256") {
		return errors.New("the key does not allow sha256")
	}
	if s, ok := tags["s"]; ok && !listHas(s, "*") && !listHas(s, "email") {
		return errors.New("the key is not for mail")
	}

	return nil
}

// present says why there is no key in the record, if there is none.
func present(tags map[string]string) error {
	p, ok := tags["p"]
	switch {
	case !ok:
		return errors.New("key record without p=")
	case p == "": // RFC 6376 section 3.6.1
		return errors.New("the key is revoked")
	case len(p) > 16<<10:
		return errors.New("the key is too long")
	}
	return nil
}

func listHas(list, word string) bool {
	for item := range strings.SplitSeq(list, ":") {
		if strings.EqualFold(strings.Trim(item, " \t\r\n"), word) {
			return true
		}
	}
	return false
}

func (k *Key) setRSA(der []byte) error {
	var public *rsa.PublicKey
	if any, err := x509.ParsePKIXPublicKey(der); err == nil {
		public, _ = any.(*rsa.PublicKey)
	} else {
		// RFC 6376 section 3.6.1 says RSAPublicKey; its errata and all the world say SubjectPublicKeyInfo
		public, _ = x509.ParsePKCS1PublicKey(der)
	}
	if public == nil {
		return errors.New("the key is not an RSA key")
	}
	k.public, k.Bits = public, public.N.BitLen()
	switch {
	case k.Bits < MinKeyBits:
		return fmt.Errorf("an RSA key of %d bits is too short", k.Bits)
	case k.Bits > MaxKeyBits:
		return fmt.Errorf("an RSA key of %d bits is too long", k.Bits)
	}
	return nil
}

func (k *Key) setEd25519(der []byte) error {
	// RFC 8463 section 4: the 32 octets as they are
	if len(der) != ed25519.PublicKeySize {
		return errors.New("the key is not an Ed25519 key")
	}
	k.public, k.Bits = ed25519.PublicKey(der), 256
	return nil
}

var errKind = errors.New("the key is of another kind than the signature")

// Check says whether the signature of this hash is the key's. errKind-like errors mean that it can't be.
func (k *Key) Check(algorithm string, hash, sig []byte) error {
	bad := errors.New("the signature does not verify")
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		if algorithm != "rsa-sha256" {
			return errKind
		}
		if rsa.VerifyPKCS1v15(public, crypto.SHA256, hash, sig) != nil {
			return bad
		}
	case ed25519.PublicKey:
		if algorithm != "ed25519-sha256" {
			return errKind
		}
		if !ed25519.Verify(public, hash, sig) {
			return bad
		}
	}
	return nil
}
