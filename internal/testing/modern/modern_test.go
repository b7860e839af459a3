package modern

import (
	"bytes"
	"crypto/sha256"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"postern/internal/dns"
)

// Two calls give the same octets, each message has a name and a client of its own, no line is longer than a server takes
// (RFC 5321 section 4.5.3.1.6), nothing is left to be filled in, and the DNS data is read.
func TestMessages(t *testing.T) {
	all, err := Messages()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Messages()
	if err != nil {
		t.Fatal(err)
	}
	names, clients := map[string]bool{}, map[string]bool{}
	open := regexp.MustCompile(`\{(?:[a-z][a-z0-9.-]*|[a-zA-Z0-9]+ [0-9]+)\}`)
	for i, m := range all {
		if !bytes.Equal(m.Octets, again[i].Octets) {
			t.Errorf("%s is another at the second call", m.Name)
		}
		if names[m.Name] || clients[m.Envelope.Client.String()] {
			t.Errorf("%s or its client occurs twice", m.Name)
		}
		names[m.Name], clients[m.Envelope.Client.String()] = true, true
		if left := open.Find(m.Octets); left != nil {
			t.Errorf("%s: %s is left", m.Name, left)
		}
		for line := range bytes.Lines(m.Octets) {
			if len(line) > 1000 || !bytes.HasSuffix(line, []byte("\r\n")) {
				t.Errorf("%s: a line of %d octets: %.60q", m.Name, len(line), line)
			}
		}
	}
	zone, err := Zone(all)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dns.ParseZone(zone); err != nil {
		t.Error(err)
	}
}

// The addresses that are asked for money have a checksum that is right.
func TestCoin(t *testing.T) {
	b := &builder{}
	if err := b.read(); err != nil {
		t.Fatal(err)
	}
	all, err := b.shapes(Phish, "==== shape\nmailer: bare\nform: text\nfrom: a@a.example\n---- en\nsubject: x\n\n{coin}\n", 0)
	if err != nil {
		t.Fatal(err)
	}
	const letters = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	_, body, _ := strings.Cut(string(all[0].Octets), "\r\n\r\n")
	n := new(big.Int)
	for _, letter := range strings.TrimSpace(body) {
		n.Add(n.Mul(n, big.NewInt(58)), big.NewInt(int64(strings.IndexRune(letters, letter))))
	}
	octets := n.FillBytes(make([]byte, 25))
	once := sha256.Sum256(octets[:21])
	twice := sha256.Sum256(once[:])
	if !bytes.Equal(octets[21:], twice[:4]) {
		t.Errorf("%s", body)
	}
}
