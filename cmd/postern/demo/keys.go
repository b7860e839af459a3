package demo

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/emersion/go-msgauth/dkim"

	"postern/proxy/outbound"
)

// selector is that of all keys of the demo.
const selector = "demo"

// signers makes a key for each domain and the lines of the zone that publish them (RFC 8463).
func signers(domains []string) (map[string]ed25519.PrivateKey, string, error) {
	keys := map[string]ed25519.PrivateKey{}
	var zone strings.Builder
	for _, d := range domains {
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			return nil, "", fmt.Errorf("demo key: %w", err)
		}
		keys[d] = private
		fmt.Fprintf(&zone, "%s._domainkey.%s TXT \"v=DKIM1; k=ed25519; p=%s\"\n", selector, d, base64.StdEncoding.EncodeToString(public))
	}
	return keys, zone.String(), nil
}

func sign(raw []byte, domain string, key ed25519.PrivateKey) ([]byte, error) {
	var signed bytes.Buffer
	err := dkim.Sign(&signed, bytes.NewReader(raw), &dkim.SignOptions{
		Domain: domain, Selector: selector, Signer: key,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
		HeaderKeys: []string{"From", "From", "To", "Subject", "Date", "Message-ID"},
	})
	if err != nil {
		return nil, fmt.Errorf("demo signature: %w", err)
	}
	return signed.Bytes(), nil
}

// build makes the octets of a case: signed, tampered with and filled up as it says.
func build(c Case, keys map[string]ed25519.PrivateKey) ([]byte, error) {
	raw := c.Message
	if c.Fill > 0 {
		line := strings.Repeat("x", 70) + "\r\n"
		raw = append(bytes.Clone(raw), strings.Repeat(line, c.Fill/len(line))...)
	}
	if c.Sign == "" {
		return raw, nil
	}
	raw, err := sign(raw, c.Sign, keys[c.Sign])
	if c.Tamper {
		raw = append(raw, "And send it to another account, please.\r\n"...)
	}
	return raw, err
}

// writeKey makes the key with which the demo's gateway signs its users' mail.
func writeKey(dir string) (string, error) {
	pem, _, err := outbound.Keygen("ed25519")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "dkim.pem")
	if err := os.WriteFile(file, []byte(pem), 0o600); err != nil {
		return "", fmt.Errorf("demo key: %w", err)
	}
	return file, nil
}
