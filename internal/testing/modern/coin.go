package modern

import (
	"crypto/sha256"
	"math/big"
	"strings"
)

// coin is a Bitcoin address (P2PKH) of a made-up key, with its checksum right: base58 of the version, the hash, and the
// first octets of a double SHA-256.
func (c *composer) coin() string {
	const letters = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	octets := append([]byte{0}, c.noise(20)...)
	once := sha256.Sum256(octets)
	twice := sha256.Sum256(once[:])
	n := new(big.Int).SetBytes(append(octets, twice[:4]...))
	var b strings.Builder
	for rest := new(big.Int); n.Sign() > 0; {
		n.DivMod(n, big.NewInt(58), rest)
		b.WriteByte(letters[rest.Int64()])
	}
	b.WriteByte('1') // the zero octet in front
	reversed := []byte(b.String())
	for i, j := 0, len(reversed)-1; i < j; i, j = i+1, j-1 {
		reversed[i], reversed[j] = reversed[j], reversed[i]
	}
	return string(reversed)
}
