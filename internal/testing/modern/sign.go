package modern

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"math/rand/v2"
	"strings"

	"github.com/emersion/go-msgauth/dkim"
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
	for _, s := range c.signatures() {
		domain, selector, _ := strings.Cut(s, "/")
		var out bytes.Buffer
		o := &dkim.SignOptions{Domain: domain, Selector: selector, Signer: c.signer.key, Hash: crypto.SHA256, HeaderCanonicalization: dkim.CanonicalizationRelaxed,
			BodyCanonicalization: dkim.CanonicalizationRelaxed, HeaderKeys: []string{"From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "Reply-To", "List-Unsubscribe"}}
		if err := dkim.Sign(&out, bytes.NewReader(m.Octets), o); err != nil {
			return err
		}
		m.Octets = out.Bytes()
	}
	if c.keys["break"] == "yes" {
		m.Octets = append(m.Octets, c.fill(strings.ReplaceAll(c.keys["footer"], `\n`, "\r\n"))+"\r\n"...)
	}
	return nil
}
