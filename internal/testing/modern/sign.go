package modern

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
)

// signer has the key that all domains share. It is made of a fixed seed: it protects nothing, and a message is the same
// at every call.
type signer struct{ key *rsa.PrivateKey }

func newSigner() (*signer, error) {
	random := rand.New(rand.NewPCG(20261102, 2048))
	p, q := prime(random, 1024), prime(random, 1024)
	one := big.NewInt(1)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	e := 65537
	key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: e}, D: new(big.Int).ModInverse(big.NewInt(int64(e)), phi), Primes: []*big.Int{p, q}}
	key.Precompute()
	return &signer{key}, key.Validate()
}

// prime is the first one from a random place upwards.
func prime(random *rand.Rand, bits int) *big.Int {
	octets := make([]byte, bits/8)
	for i := range octets {
		octets[i] = byte(random.Uint32())
	}
	octets[0] |= 0xc0
	octets[len(octets)-1] |= 1
	n := new(big.Int).SetBytes(octets)
	for !n.ProbablyPrime(20) {
		n.Add(n, big.NewInt(2))
	}
	return n
}

// record is the key as DNS has it, in strings of a length that TXT may have.
func (s *signer) record() (string, error) {
	der, err := x509.MarshalPKIXPublicKey(&s.key.PublicKey)
	text := "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
	return `"` + text[:200] + `" "` + text[200:] + `"`, err
}

// signatures are "domain/selector", for none "-".
func (c *composer) signatures() []string {
	if c.keys["sign"] == "-" {
		return nil
	}
	return strings.Fields(c.keys["sign"])
}

func (c *composer) sign(m *Message) error {
	if err := parsed(m.Octets); err != nil {
		return err
	}
	header, body, _ := bytes.Cut(m.Octets, []byte("\r\n\r\n"))
	fields := fieldsOf(string(header) + "\r\n")
	var out strings.Builder
	for _, s := range c.signatures() {
		domain, selector, _ := strings.Cut(s, "/")
		field, err := c.signer.field(domain, selector, Now().Unix()-int64(60+c.number), fields, body)
		if err != nil {
			return err
		}
		out.WriteString(field)
	}
	m.Octets = append([]byte(out.String()), m.Octets...)
	if c.keys["break"] == "yes" {
		m.Octets = append(m.Octets, c.fill(strings.ReplaceAll(c.keys["footer"], `\n`, "\r\n"))+"\r\n"...)
	}
	return nil
}

// field is a DKIM-Signature, relaxed for header and body: RFC 6376 section 3.5.
func (s *signer) field(domain, selector string, at int64, fields []string, body []byte) (string, error) {
	var names []string
	var signed strings.Builder
	for _, name := range []string{"from", "to", "reply-to", "subject", "date", "message-id", "mime-version", "content-type", "list-unsubscribe", "list-unsubscribe-post"} {
		for _, f := range fields {
			if n, _, _ := strings.Cut(f, ":"); strings.EqualFold(strings.TrimSpace(n), name) {
				names = append(names, name)
				signed.WriteString(relaxed(f) + "\r\n")
				break
			}
		}
	}
	hash := sha256.Sum256(relaxedBody(body))
	bare := fmt.Sprintf("DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=%s; s=%s;\r\n\tt=%d; h=%s;\r\n\tbh=%s;\r\n\tb=",
		domain, selector, at, strings.Join(names, ":"), base64.StdEncoding.EncodeToString(hash[:]))
	digest := sha256.Sum256([]byte(signed.String() + relaxed(bare)))
	signature, err := rsa.SignPKCS1v15(nil, s.key, crypto.SHA256, digest[:])
	text := base64.StdEncoding.EncodeToString(signature)
	for len(text) > 70 {
		bare, text = bare+text[:70]+"\r\n\t ", text[70:]
	}
	return bare + text + "\r\n", err
}

func fieldsOf(header string) (fields []string) {
	for line := range strings.Lines(header) {
		if len(fields) > 0 && (line[0] == ' ' || line[0] == '\t') {
			fields[len(fields)-1] += line
		} else {
			fields = append(fields, line)
		}
	}
	return fields
}

// relaxed is a field in canonical form: RFC 6376 section 3.4.2.
func relaxed(field string) string {
	name, value, _ := strings.Cut(strings.ReplaceAll(field, "\r\n", ""), ":")
	return strings.ToLower(strings.TrimSpace(name)) + ":" + strings.Trim(squeezed(value), " ")
}

// squeezed has one space for each run of white space.
func squeezed(text string) string {
	var b strings.Builder
	blank := false
	for i := range len(text) {
		if text[i] == ' ' || text[i] == '\t' {
			blank = true
			continue
		}
		if blank {
			b.WriteByte(' ')
			blank = false
		}
		b.WriteByte(text[i])
	}
	if blank {
		b.WriteByte(' ')
	}
	return b.String()
}

// relaxedBody: RFC 6376 section 3.4.4.
func relaxedBody(body []byte) []byte {
	lines := strings.Split(strings.TrimSuffix(string(body), "\r\n"), "\r\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(squeezed(line), " ")
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	if len(lines) == 0 {
		return nil
	}
	return []byte(strings.Join(lines, "\r\n") + "\r\n")
}
